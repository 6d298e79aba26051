-- What the function of an index leaves for the commit of a worker has the rights of the table's owner, and nothing stays for the next take.
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
SELECT current_user AS superuser \gset
CREATE ROLE regress_owner;
ALTER TABLE authorizations OWNER TO regress_owner;
GRANT CREATE ON SCHEMA public TO regress_owner;
CREATE SCHEMA hostile AUTHORIZATION regress_owner;
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE hostile.log (setting text, late boolean);
CREATE FUNCTION hostile.late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE hostile.log SET late = rolsuper FROM pg_roles WHERE rolname = current_user;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON hostile.log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hostile.late();
CREATE FUNCTION hostile.note() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO hostile.log VALUES (current_setting('work_mem'));
  PERFORM set_config('work_mem', '77MB', false);
  RETURN true;
END $$;
CREATE FUNCTION hostile.indexed(timestamptz) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1 IS NULL OR hostile.note(); END $$;
CREATE INDEX by_spend ON authorizations (hostile.indexed(consumed_at));
CREATE INDEX by_retention ON authorizations (hostile.indexed(retain_from));
RESET SESSION AUTHORIZATION;
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', extract(epoch FROM now())::bigint - 60)) FROM unnest('{one,two,redeemed}'::text[]) h;
SELECT status FROM code_take('redeemed');
SELECT code_mark_consumed('redeemed');
TRUNCATE hostile.log;
BEGIN;
SELECT status FROM code_take('one');
SELECT status FROM code_take('two');
COMMIT;
SELECT setting <> '77MB' AS fresh, late AS super FROM hostile.log;
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash <> 'redeemed';
TRUNCATE hostile.log;
SELECT code_sweep();
SELECT DISTINCT late AS super FROM hostile.log;
SET client_min_messages = warning;
DROP EXTENSION attesto_codes;
DROP OWNED BY regress_owner CASCADE;
DROP ROLE regress_owner;
CREATE EXTENSION attesto_codes;
