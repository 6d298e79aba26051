-- Where there are triggers a reuse is announced once, as everywhere; and not by a presentation that a trigger did not let through.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
CREATE EXTENSION dblink;
SELECT dblink_connect('listener', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT dblink_exec('listener', 'LISTEN attesto_codes_reuse');
SELECT dblink_exec('listener', 'LISTEN of_the_trigger');
-- The notifications that the listener got, up to the word "end", which is sent last.
CREATE FUNCTION pg_temp.told() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE channel text; told text;
BEGIN
  FOR i IN 1 .. 1000 LOOP
    FOR channel, told IN SELECT notify_name, regexp_replace(extra, '"when": \d+', '"when": 0') FROM dblink_get_notify('listener') LOOP
      IF told = 'end' THEN RETURN; END IF;
      RETURN NEXT channel || ' ' || told;
    END LOOP;
    PERFORM pg_sleep(0.01);
  END LOOP;
  RAISE EXCEPTION 'the listener waits in vain';
END $$;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{a,b,c}'::text[]) h;
SELECT count(*) FROM unnest('{a,b,c}'::text[]) h, code_take(h), code_mark_consumed(h);
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', 'before its error'); RAISE EXCEPTION 'no' USING ERRCODE = 'AB123'; END $$;
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', 'skipped'); RETURN NULL; END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', NEW.code_hash); RETURN NULL; END $$;
\set VERBOSITY sqlstate
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH STATEMENT EXECUTE FUNCTION fail();
SELECT status FROM code_take('a');
BEGIN;
SELECT status FROM code_take('a');
COMMIT;
DROP TRIGGER t ON authorizations;
CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail();
SELECT status FROM code_take('a');
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION skip();
SELECT status FROM code_take('a');
DROP TRIGGER t ON authorizations;
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told() told ORDER BY told;

-- Alone, rolled back, and a second time; what the trigger says beside it is heard, too.
\set VERBOSITY default
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION tell();
SELECT status, meta FROM code_take('a');
BEGIN;
SELECT status, meta FROM code_take('b');
ROLLBACK;
SELECT h, status FROM unnest('{a,b}'::text[]) h, code_take(h);
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told() told ORDER BY told;
SELECT code_hash, reused_at IS NOT NULL AS reused FROM authorizations ORDER BY 1;
SELECT dblink_disconnect('listener');
DROP TRIGGER t ON authorizations;
DROP FUNCTION fail, skip, tell;
DROP FUNCTION pg_temp.told;
DROP EXTENSION dblink;
TRUNCATE authorizations;
