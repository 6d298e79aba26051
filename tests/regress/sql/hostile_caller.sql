-- No table, type, operator, function or cast that a caller plants, and no search_path, changes what a function does.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "real", "redirect_uri": "r", "scope": ["a"], "dpop_jkt": "t", "family_id": "f", "x": 1}'
CREATE ROLE regress_evil;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO regress_evil;
GRANT EXECUTE ON FUNCTION code_put, code_get, code_take, code_mark_consumed, code_hash TO regress_evil;
-- The planted tables look like the real one, and hold live rows of the codes below.
CREATE TABLE public.planted AS SELECT * FROM authorizations;
ALTER TABLE public.planted OWNER TO regress_evil;

SET SESSION AUTHORIZATION regress_evil;
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped: %', TG_NAME; END $$;
CREATE FUNCTION evil.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped: %', what; END $$;
CREATE TABLE evil.authorizations (LIKE public.planted, PRIMARY KEY (code_hash));
CREATE TEMP TABLE authorizations (LIKE public.planted, PRIMARY KEY (code_hash));
DROP TABLE public.planted;
INSERT INTO evil.authorizations SELECT now(), now(), NULL, false, h, 'c', 'planted', 'r', '{}', '{}', NULL, NULL, NULL, NULL, NULL, '{}', NULL, NULL
FROM unnest(ARRAY['h', 'new', 'never issued']) h;
INSERT INTO pg_temp.authorizations SELECT * FROM evil.authorizations;
CREATE TRIGGER evil_write BEFORE INSERT OR UPDATE OR DELETE ON evil.authorizations FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER temp_write BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.authorizations FOR EACH ROW EXECUTE FUNCTION evil.trap();

-- Operators and functions that hide those of pg_catalog.
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('= text'); END $$;
CREATE FUNCTION evil.eq(varchar, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('= varchar'); END $$;
CREATE FUNCTION evil.cat(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('|| jsonb'); END $$;
CREATE FUNCTION evil.lt(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('< timestamptz'); END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = evil.cat);
CREATE OPERATOR evil.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.lt);
DO $$
DECLARE signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY['now() RETURNS timestamptz', 'clock_timestamp() RETURNS timestamptz', 'to_timestamp(double precision) RETURNS timestamptz',
    'textin(text) RETURNS text', 'texteq(text, text) RETURNS boolean', 'bttextcmp(text, text) RETURNS integer', 'jsonb_in(text) RETURNS jsonb',
    'jsonb_out(jsonb) RETURNS text', 'array_length(anyarray, integer) RETURNS integer', 'sha256(bytea) RETURNS bytea', 'code_hash(text) RETURNS text',
    'code_put(text, jsonb, bigint) RETURNS void', 'code_get(text) RETURNS SETOF record', 'code_take(text) RETURNS SETOF record',
    'code_mark_consumed(text, jsonb) RETURNS text', 'jsonb_build_object() RETURNS jsonb'] LOOP
    EXECUTE format('CREATE FUNCTION evil.%s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.trap(%L); END $f$', signature, signature);
  END LOOP;
END $$;
-- Types, in the schema that goes first for types also where nobody named it.
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (evil.trap('domain text'));
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (evil.trap('domain jsonb'));
CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (evil.trap('domain timestamptz'));
CREATE TYPE evil.grant_data AS (x integer);
CREATE FUNCTION evil.make(pg_catalog.jsonb) RETURNS evil.grant_data LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('cast'); END $$;
CREATE CAST (pg_catalog.jsonb AS evil.grant_data) WITH FUNCTION evil.make(pg_catalog.jsonb) AS IMPLICIT;

-- A real code, then everything against it.
RESET SESSION AUTHORIZATION;
SELECT public.code_put('h', :'grant', 1800000000);
SET SESSION AUTHORIZATION regress_evil;
SET search_path = pg_temp, evil, pg_catalog, public;

-- The traps do work.
SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text;
SELECT now();
SELECT 'a'::text;
SELECT code_take('h');
SELECT '{}'::pg_catalog.jsonb::evil.grant_data;
SELECT subject FROM authorizations WHERE code_hash LIKE 'h';
UPDATE authorizations SET subject = subject;

-- And are not met.
SELECT * FROM public.code_get('h');
SELECT * FROM public.code_take('h');
SELECT * FROM public.code_take('h');
SELECT public.code_mark_consumed('h');
SELECT * FROM public.code_take('h');
SELECT * FROM public.code_take('never issued');
SELECT public.code_mark_consumed('never issued', '{"n": 1}');
SELECT public.code_put('new', :'grant', 1800000001);
SELECT public.code_put('new', :'grant', 1800000001);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM public.code_get('new');
SELECT public.code_hash('x');
SET search_path = '';
SELECT status FROM public.code_take('new');
SET search_path = pg_temp, evil, pg_catalog, public;
SELECT public.code_mark_consumed('new', '{"n": 1}');

-- The real table holds it all, the planted ones are as they were.
RESET SESSION AUTHORIZATION;
RESET search_path;
SELECT code_hash, subject, consumed_at IS NULL AS live, consumed_success, consumed_meta FROM public.authorizations ORDER BY code_hash;
SELECT code_hash, subject, consumed_at IS NULL AS live FROM evil.authorizations ORDER BY code_hash;
SELECT code_hash, subject, consumed_at IS NULL AS live FROM pg_temp.authorizations ORDER BY code_hash;

\set VERBOSITY terse
SET client_min_messages = warning;
REVOKE ALL ON FUNCTION code_put, code_get, code_take, code_mark_consumed, code_hash FROM regress_evil;
DROP OWNED BY regress_evil CASCADE;
DROP ROLE regress_evil;
TRUNCATE public.authorizations;
