-- CREATE EXTENSION by a superuser uses nothing that others planted in its schema or search_path, and takes over nothing.
\set SHOW_CONTEXT never
DROP EXTENSION attesto_codes;
CREATE ROLE regress_evil;
CREATE SCHEMA shared;
GRANT CREATE, USAGE ON SCHEMA shared TO regress_evil;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO regress_evil;

SET ROLE regress_evil;
CREATE FUNCTION shared.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped: %', what; END $$;
CREATE FUNCTION shared.getdatabaseencoding() RETURNS name LANGUAGE plpgsql AS $$ BEGIN PERFORM shared.trap('encoding'); END $$;
CREATE FUNCTION shared.pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM shared.trap('dump'); END $$;
CREATE FUNCTION shared.pg_extension_config_dump(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM shared.trap('dump'); END $$;
CREATE FUNCTION shared.ne(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN shared.trap('<>'); END $$;
CREATE FUNCTION shared.ne(name, name) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN shared.trap('<>'); END $$;
CREATE OPERATOR shared.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = shared.ne);
CREATE OPERATOR shared.<> (LEFTARG = name, RIGHTARG = name, FUNCTION = shared.ne);
CREATE DOMAIN shared.text AS pg_catalog.text CHECK (shared.trap('text'));
CREATE DOMAIN shared.jsonb AS pg_catalog.jsonb CHECK (shared.trap('jsonb'));
CREATE DOMAIN shared.timestamptz AS pg_catalog.timestamptz CHECK (shared.trap('timestamptz'));
CREATE DOMAIN shared."boolean" AS pg_catalog.bool CHECK (shared.trap('boolean'));
CREATE COLLATION shared."C" FROM "POSIX";
CREATE FUNCTION shared.code_take(varchar) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM shared.trap('code_take'); END $$;
RESET ROLE;

SET search_path = shared, pg_catalog;
CREATE TEMP TABLE authorizations (code_hash pg_catalog.text PRIMARY KEY);
-- The traps do work.
SELECT getdatabaseencoding();
SELECT 'a'::text;
SELECT 'a'::pg_catalog.name <> 'b'::pg_catalog.name;
CREATE EXTENSION attesto_codes SCHEMA shared;
SELECT shared.code_put('h', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
SELECT status FROM shared.code_take('h');
RESET search_path;
-- Every type and collation is PostgreSQL's own.
SELECT DISTINCT t.typnamespace::regnamespace AS types, c.collnamespace::regnamespace AS collations
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid::regclass::text ~ '^shared\.authorization' AND a.attnum > 0 ORDER BY 1, 2;
SELECT proname, proargtypes::regtype[] FROM pg_proc
WHERE pronamespace = 'shared'::regnamespace AND proname ~ '^code_' ORDER BY proname COLLATE "C", 2;
SELECT p.proname, p.proowner::regrole <> 'regress_evil'::regrole AS not_evil
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attesto_codes') ORDER BY 1;
DROP EXTENSION attesto_codes;

-- What stands where the extension's own objects belong is not taken over: the installation fails.
\set VERBOSITY terse
SET ROLE regress_evil;
CREATE TABLE shared.authorizations (code_hash pg_catalog.text PRIMARY KEY);
RESET ROLE;
CREATE EXTENSION attesto_codes SCHEMA shared;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE shared.authorizations;
SET ROLE regress_evil;
CREATE FUNCTION shared.code_put(pg_catalog.text, pg_catalog.jsonb, bigint) RETURNS void LANGUAGE sql AS 'SELECT';
RESET ROLE;
CREATE EXTENSION attesto_codes SCHEMA shared;
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION shared.code_put;
SET ROLE regress_evil;
CREATE TABLE shared.authorization_access_tokens (jti pg_catalog.text PRIMARY KEY);
RESET ROLE;
CREATE EXTENSION attesto_codes SCHEMA shared;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE shared.authorization_access_tokens;
SET ROLE regress_evil;
CREATE TABLE shared.authorization_revoked_families (family_id pg_catalog.text PRIMARY KEY);
RESET ROLE;
CREATE EXTENSION attesto_codes SCHEMA shared;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pg_extension WHERE extname = 'attesto_codes';

SET client_min_messages = warning;
DROP TABLE pg_temp.authorizations;
DROP OWNED BY regress_evil CASCADE;
DROP ROLE regress_evil;
DROP SCHEMA shared;
CREATE EXTENSION attesto_codes;
