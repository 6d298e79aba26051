-- take_in_transaction = join gives up what a ROLLBACK undoes. A statement of its own is as safe as without it, also where a table has triggers.
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{raised,undone,good,joined}'::text[]) h;
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.code_hash = 'raised' THEN
    RAISE EXCEPTION 'no' USING ERRCODE = 'AB123';
  ELSIF NEW.code_hash = 'undone' AND NEW.consumed_at IS NOT NULL THEN
    UPDATE public.authorizations SET consumed_at = NULL WHERE code_hash = NEW.code_hash;
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();
CREATE TABLE who (code text, session name);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.who VALUES (NEW.code_hash, (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()));
  RETURN NULL;
END $$;
CREATE TRIGGER n AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION note();
SET attesto_codes.take_in_transaction = join;
SELECT status FROM code_take('raised');
SELECT status FROM code_take('undone');
SELECT status FROM code_take('good');
-- It is a worker that commits them, and flushes.
SELECT code, session LIKE 'attesto_codes_%' AS by_worker FROM who ORDER BY 1;
BEGIN;
SELECT status FROM code_take('joined');
ROLLBACK;
SELECT status FROM code_take('joined');
RESET attesto_codes.take_in_transaction;
SELECT code_hash, consumed_at IS NOT NULL AS spent FROM authorizations ORDER BY 1;
DROP FUNCTION late, note CASCADE;
DROP TABLE who;
TRUNCATE authorizations;
