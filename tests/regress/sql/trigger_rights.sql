-- A trigger has the rights of its table's owner and cannot get more, whichever role calls and whichever process writes.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT current_user AS superuser \gset
CREATE ROLE regress_super SUPERUSER;
CREATE ROLE regress_owner;
CREATE ROLE regress_caller LOGIN;
GRANT EXECUTE ON FUNCTION code_put, code_take, code_mark_consumed, code_record_access_token, code_revoke_family, code_sweep TO regress_caller;
ALTER TABLE authorizations OWNER TO regress_owner;
ALTER TABLE authorization_access_tokens OWNER TO regress_owner;
ALTER TABLE authorization_revoked_families OWNER TO regress_owner;
ALTER TABLE authorization_runs OWNER TO regress_owner;
CREATE SCHEMA hostile AUTHORIZATION regress_owner;

SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE hostile.log (moment text, who name, super boolean, statement text, answer text);
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
GRANT INSERT ON hostile.log TO PUBLIC;
CREATE FUNCTION hostile.escape(moment text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE statement text; answer text;
BEGIN
  FOREACH statement IN ARRAY ARRAY['SET ROLE regress_super', 'SET LOCAL ROLE regress_super', 'SET ROLE NONE', 'RESET ROLE', 'SET SESSION AUTHORIZATION regress_super',
    'SET SESSION AUTHORIZATION DEFAULT', 'RESET SESSION AUTHORIZATION', $q$SELECT set_config('role', 'regress_super', false)$q$, $q$SELECT set_config('role', 'none', true)$q$,
    $q$SELECT set_config('session_authorization', 'default', false)$q$, 'ALTER ROLE regress_owner SUPERUSER', 'SET session_replication_role = replica',
    $q$SET attesto_codes.take_in_transaction = 'join'$q$, $q$COPY (SELECT 1) TO PROGRAM 'true'$q$, 'SELECT FROM pg_authid'] LOOP
    BEGIN
      EXECUTE statement;
      answer := 'done';
    EXCEPTION WHEN OTHERS THEN
      answer := SQLSTATE;
    END;
    INSERT INTO hostile.log SELECT moment, current_user, rolsuper, statement, answer FROM pg_roles WHERE rolname = current_user;
  END LOOP;
  RETURN true;
END $$;
CREATE FUNCTION hostile.trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM hostile.escape(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END $$;
-- In a worker: what is left to the commit, by a deferred trigger of another table, and by a cursor.
CREATE TABLE hostile.other ();
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON hostile.other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hostile.trigger('commit');
CREATE FUNCTION hostile.later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF session_user = TG_ARGV[0] THEN
    PERFORM hostile.escape('deferred');
    SET CONSTRAINTS ALL DEFERRED;
    INSERT INTO hostile.other DEFAULT VALUES;
    EXECUTE format('DECLARE %I CURSOR WITH HOLD FOR SELECT hostile.escape(''cursor'')', 'held' || random());
  END IF;
  RETURN NULL;
END $$;
CREATE PROCEDURE hostile.add_triggers(bootstrap name) LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY '{authorizations,authorization_access_tokens,authorization_revoked_families,authorization_runs}'::text[] LOOP
    EXECUTE format('CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON public.%1$I FOR EACH ROW EXECUTE FUNCTION hostile.trigger(''before'');
      CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON public.%1$I FOR EACH STATEMENT EXECUTE FUNCTION hostile.trigger(''after'');
      CREATE CONSTRAINT TRIGGER c AFTER INSERT OR UPDATE OR DELETE ON public.%1$I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hostile.later(%2$L)', name, bootstrap);
  END LOOP;
END $$;
CALL hostile.add_triggers(:'superuser');
-- The attempts since the last look, and their results.
CREATE FUNCTION hostile.tried(OUT moment text, OUT who name, OUT super boolean, OUT answers text[], OUT done text) RETURNS SETOF record SECURITY DEFINER LANGUAGE sql AS $$
  WITH tried AS (DELETE FROM hostile.log RETURNING *)
  SELECT moment, who, super, array_agg(DISTINCT answer ORDER BY answer), string_agg(DISTINCT statement, '; ') FILTER (WHERE answer = 'done') FROM tried GROUP BY 1, 2, 3 ORDER BY 1, 2 $$;

-- In the transaction of a superuser: the immediate ones.
SET SESSION AUTHORIZATION :superuser;
SET SESSION AUTHORIZATION regress_super;
SET attesto_codes.codes_survive_crash = off;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{a,b,c}'::text[]) h;
RESET attesto_codes.codes_survive_crash;
SELECT code_record_access_token('g', 'j', 4102444800), code_revoke_family('g'), code_record_access_token('g', 'k', 4102444800);
BEGIN;
SELECT status FROM code_take('a');
SELECT code_mark_consumed('a');
COMMIT;
SELECT current_user;
SELECT * FROM hostile.tried();
-- A take as a statement of its own, by each role.
SELECT status FROM code_take('b');
SELECT * FROM hostile.tried();
SET SESSION AUTHORIZATION :superuser;
SET SESSION AUTHORIZATION regress_caller;
SELECT status FROM code_take('c');
BEGIN;
SELECT status FROM code_take('c');
ROLLBACK;
SELECT * FROM hostile.tried();
SELECT code_put('d', :'grant', 4102444800);
SELECT code_mark_consumed('b');
SELECT current_user;
SELECT * FROM hostile.tried();
-- A sweep.
RESET SESSION AUTHORIZATION;
ALTER TABLE authorizations DISABLE TRIGGER USER;
UPDATE authorizations SET expires_at = now() - interval '1 minute', consumed_at = consumed_at - interval '11 minutes';
ALTER TABLE authorizations ENABLE TRIGGER USER;
SET SESSION AUTHORIZATION regress_caller;
SELECT code_sweep();
SELECT * FROM hostile.tried();

-- A deferred trigger in the caller's own transaction. Before PostgreSQL 18 it runs as the role that commits, and so with no more rights than the owner or the caller has.
\c - :superuser
DROP TRIGGER a ON authorizations;
DROP TRIGGER b ON authorizations;
DROP TRIGGER c ON authorizations;
CREATE CONSTRAINT TRIGGER a AFTER INSERT ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hostile.trigger('at commit');
\c - regress_caller
SELECT code_put('e', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
SELECT current_user;
\c - :superuser
SELECT DISTINCT moment, who IN ('regress_caller', 'regress_owner') AS one_of_them, super, answer FROM hostile.log WHERE statement = 'ALTER ROLE regress_owner SUPERUSER';
SELECT rolname, rolsuper FROM pg_roles WHERE rolname IN ('regress_caller', 'regress_owner', 'regress_super') ORDER BY 1;

\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION attesto_codes;
DROP OWNED BY regress_owner CASCADE;
DROP ROLE regress_owner, regress_super, regress_caller;
CREATE EXTENSION attesto_codes;
