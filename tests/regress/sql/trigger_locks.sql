-- While a worker writes, the caller holds no lock on the table. A backend that waits for the table would otherwise wait for the caller, and the worker would wait behind that backend.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{alone,inside,marked}'::text[]) h;
SELECT status FROM code_take('marked');
CREATE TABLE held (code text, locks bigint);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
  INSERT INTO held SELECT NEW.code_hash, count(*) FROM pg_locks
  WHERE relation IN ('authorizations'::regclass, 'authorizations_pkey'::regclass) AND pid <> pg_backend_pid();
  RETURN NULL;
END $$;
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION look();
SELECT status FROM code_take('alone');
BEGIN;
SELECT status FROM code_take('inside');
ROLLBACK;
-- What the transaction held before it goes on holding.
BEGIN;
SELECT code_mark_consumed('marked');
SELECT status FROM code_take('alone');
SELECT mode FROM pg_locks WHERE relation = 'authorizations'::regclass AND pid = pg_backend_pid();
ROLLBACK;
SELECT code, locks FROM held ORDER BY code, locks;
DROP TABLE held;
DROP FUNCTION look CASCADE;
TRUNCATE authorizations;
