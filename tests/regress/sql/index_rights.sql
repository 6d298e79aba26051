-- The functions in an index run with the rights of the table's owner, also when a worker writes, which connects as a superuser.
\set SHOW_CONTEXT never
SELECT current_user AS superuser \gset
CREATE ROLE regress_owner;
CREATE ROLE regress_caller LOGIN;
GRANT EXECUTE ON FUNCTION code_put, code_take, code_mark_consumed, code_sweep TO regress_caller;
ALTER TABLE authorizations OWNER TO regress_owner;
GRANT CREATE ON SCHEMA public TO regress_owner;
CREATE SCHEMA hostile AUTHORIZATION regress_owner;
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE hostile.log (who name, super boolean);
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
GRANT ALL ON hostile.log TO PUBLIC;
CREATE FUNCTION hostile.note() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO hostile.log SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user;
  RETURN true;
END $$;
CREATE FUNCTION hostile.indexed(timestamptz) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN hostile.note(); END $$;
CREATE INDEX by_expression ON authorizations (hostile.indexed(consumed_at), retain_from);
CREATE INDEX by_predicate ON authorizations (consumed_at) WHERE hostile.indexed(retain_from);

\c - regress_caller
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', extract(epoch FROM now())::bigint - 60)) FROM unnest('{inside,redeemed}'::text[]) h;
SELECT status FROM code_take('redeemed');
SELECT code_mark_consumed('redeemed');
TRUNCATE hostile.log;
-- By a worker: a take inside a transaction, and a sweep.
BEGIN;
SELECT status FROM code_take('inside');
ROLLBACK;
\c - :superuser
SELECT DISTINCT who = 'regress_owner' AS owner, super FROM hostile.log;
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'inside';
TRUNCATE hostile.log;
\c - regress_caller
SELECT code_sweep();
\c - :superuser
SELECT DISTINCT who = 'regress_owner' AS owner, super FROM hostile.log;
SELECT code_hash, retain_from = expires_at AS retained FROM authorizations;

\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION attesto_codes;
DROP OWNED BY regress_owner CASCADE;
DROP ROLE regress_owner, regress_caller;
CREATE EXTENSION attesto_codes;
