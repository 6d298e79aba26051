-- A trigger that does not end is cancelled in the worker after ten seconds: the others need not wait for ever.
\set VERBOSITY sqlstate
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{endless,other}'::text[]) h;
CREATE FUNCTION endless() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.code_hash = 'endless' THEN
    LOOP PERFORM pg_sleep(60); END LOOP;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION endless();
SELECT status FROM code_take('endless');
SELECT status FROM code_take('other');
DROP TRIGGER t ON authorizations;
SELECT status FROM code_take('endless');
DROP FUNCTION endless;
TRUNCATE authorizations;
