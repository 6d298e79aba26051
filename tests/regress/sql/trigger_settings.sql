-- No search_path and no temporary object of a caller changes what a trigger does, and what it sets in a worker does not reach the next take.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT current_user AS superuser \gset
CREATE ROLE regress_owner;
CREATE ROLE regress_caller LOGIN;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO regress_caller;
GRANT EXECUTE ON FUNCTION code_put, code_take, code_mark_consumed, code_record_access_token TO regress_caller;
ALTER TABLE authorizations OWNER TO regress_owner;
ALTER TABLE authorization_access_tokens OWNER TO regress_owner;
CREATE SCHEMA audit AUTHORIZATION regress_owner;
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE audit.log (who name, write text, path text, lower text, same boolean, type regtype, classes boolean);
-- What it does not qualify is meant to be PostgreSQL's own.
CREATE FUNCTION audit.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.log SELECT current_user, TG_OP || ' ' || TG_TABLE_NAME, current_setting('search_path'), lower('A'), 1 = 1, pg_typeof('1'::text), count(*) > 100 FROM pg_class;
  RETURN NEW;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON public.authorizations FOR EACH ROW EXECUTE FUNCTION audit.see();
CREATE TRIGGER b AFTER INSERT OR UPDATE ON public.authorizations FOR EACH STATEMENT EXECUTE FUNCTION audit.see();
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON public.authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION audit.see();

\c - regress_caller
CREATE SCHEMA evil;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'trapped' $$;
CREATE FUNCTION evil.eq(integer, integer) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.eq);
CREATE FUNCTION evil.pg_typeof(text) RETURNS regtype LANGUAGE sql AS $$ SELECT 'money'::regtype $$;
CREATE TEMP TABLE pg_class ();
CREATE TEMP TABLE authorizations ();
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (VALUE = 'trapped');
SET search_path = pg_temp, evil, pg_catalog;
-- The traps do work.
SELECT lower('A'), 1 = 1, pg_typeof('1'::pg_catalog.text), (SELECT count(*) FROM pg_class);
SELECT public.code_put(h, :'grant', 4102444800) FROM pg_catalog.unnest('{alone,inside}'::pg_catalog.text[]) h;
SELECT status FROM public.code_take('alone');
BEGIN;
SELECT status FROM public.code_take('inside');
ROLLBACK;
SELECT public.code_mark_consumed('alone'), public.code_record_access_token('f', 'j', 4102444800);
SHOW search_path;
-- Also where an error ends the call.
SELECT public.code_put('alone', :'grant', 4102444800);
SHOW search_path;
SELECT current_user OPERATOR(pg_catalog.=) 'regress_caller' AS caller;
\c - :superuser
SELECT *, count(*) FROM audit.log GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY write;

-- What a trigger sets, and is left behind.
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE audit.settings (of text, found text, set text);
CREATE FUNCTION audit.set() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE setting audit.settings;
BEGIN
  FOR setting IN VALUES ('attesto_test.own', '', 'x'), ('work_mem', '', '123kB'), ('search_path', '', 'evil'), ('statement_timeout', '', '99s'), ('enable_tidscan', '', 'off'),
    ('default_transaction_read_only', '', 'on'), ('default_transaction_isolation', '', 'serializable'), ('synchronous_commit', '', 'off') LOOP
    setting.found := coalesce(current_setting(setting.of, true), '');
    INSERT INTO audit.settings VALUES (setting.*);
    PERFORM set_config(setting.of, setting.set, false);
  END LOOP;
  RETURN NULL;
END $$;
CREATE TRIGGER c AFTER UPDATE ON public.authorizations FOR EACH ROW EXECUTE FUNCTION audit.set();
\c - regress_caller
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{x1,x2,x3,x4}'::text[]) h;
SELECT status FROM code_take('x1');
BEGIN;
SELECT status FROM code_take('x2');
SELECT status FROM code_take('x3');
ROLLBACK;
SELECT status FROM code_take('x4');
\c - :superuser
SELECT of, count(*), count(DISTINCT found) AS different, bool_or(found = set) AS left_behind FROM audit.settings GROUP BY of ORDER BY of COLLATE "C";

\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION attesto_codes;
DROP OWNED BY regress_owner, regress_caller CASCADE;
DROP ROLE regress_owner, regress_caller;
CREATE EXTENSION attesto_codes;
