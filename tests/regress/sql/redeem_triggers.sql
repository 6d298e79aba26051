-- Triggers and constraints on the revocations: code_redeem writes its note and all its revocations with them, or nothing, and tells the error.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
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
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{live,failed,spent,noted,redeemed,reused,live inside,completed}'::text[]) h;
SELECT status, count(*) FROM unnest('{spent,noted,redeemed,reused,completed}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT code_complete('redeemed'), code_complete('reused', 'j', 4102444800);
SELECT h, status FROM unnest('{noted,reused}'::text[]) h, code_take(h);
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();
CREATE TEMP VIEW written AS SELECT ctid AS place, xmin AS writer, a.* FROM authorizations a;
CREATE TEMP TABLE before AS TABLE written;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', 'before its error'); RAISE EXCEPTION 'no' USING ERRCODE = 'AB123'; END $$;
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', 'skipped'); RETURN NULL; END $$;
CREATE FUNCTION rename() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.family_id := 'another'; RETURN NEW; END $$;
CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.authorization_revoked_families WHERE family_id = NEW.family_id; RETURN NULL; END $$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('of_the_trigger', NEW.family_id); RETURN NULL; END $$;
-- Each of them, as a statement of its own, inside a transaction and under join. What revokes nothing goes on.
CREATE FUNCTION pg_temp.code(h text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM * FROM code_redeem(h, 'c', 'r');
  RETURN 'none';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
CREATE TEMP VIEW codes AS SELECT h, pg_temp.code(h) FROM unnest('{spent,noted,redeemed,reused}'::text[]) h;
CREATE TEMP VIEW untouched AS SELECT bool_and(b.* IS NOT DISTINCT FROM w.*) AS untouched, count(*), (SELECT count(*) FROM authorization_revoked_families) AS revocations FROM before b JOIN written w USING (code_hash);
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH STATEMENT EXECUTE FUNCTION fail();
SELECT status FROM code_redeem('spent', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_redeem('redeemed', 'c', 'r');
SELECT status FROM code_redeem('noted', 'c', 'r');
BEGIN;
SELECT status FROM code_redeem('redeemed', 'c', 'r');
COMMIT;
SELECT * FROM codes;
SET attesto_codes.take_in_transaction = join;
SELECT * FROM codes;
RESET attesto_codes.take_in_transaction;
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM untouched;
\set VERBOSITY sqlstate
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorization_revoked_families DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail();
SELECT status FROM code_redeem('spent', 'c', 'r');
SELECT status FROM code_redeem('redeemed', 'c', 'r');
SELECT * FROM codes;
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM untouched;
\set VERBOSITY default
CREATE TRIGGER t BEFORE INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION skip();
SELECT status FROM code_redeem('spent', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT status FROM code_redeem('redeemed', 'c', 'r');
SELECT * FROM codes;
SET attesto_codes.take_in_transaction = join;
SELECT * FROM codes;
RESET attesto_codes.take_in_transaction;
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM untouched;
CREATE TRIGGER t BEFORE INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION rename();
SELECT * FROM codes;
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM untouched;
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION undo();
SELECT * FROM codes;
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM untouched;
-- A check, a foreign key, a unique index.
ALTER TABLE authorization_revoked_families ADD CONSTRAINT short CHECK (length(family_id) < 5);
SELECT * FROM codes;
ALTER TABLE authorization_revoked_families DROP CONSTRAINT short;
CREATE TABLE families (id text PRIMARY KEY);
INSERT INTO families SELECT unnest('{spent,noted,redeemed,reused}'::text[]);
ALTER TABLE authorization_revoked_families ADD CONSTRAINT a_family FOREIGN KEY (family_id) REFERENCES families;
SELECT * FROM codes;
ALTER TABLE authorization_revoked_families ALTER CONSTRAINT a_family DEFERRABLE INITIALLY DEFERRED;
SELECT * FROM codes;
ALTER TABLE authorization_revoked_families DROP CONSTRAINT a_family;
SELECT * FROM untouched;
CREATE UNIQUE INDEX one ON authorization_revoked_families ((true));
SELECT * FROM codes;
DROP INDEX one;
SELECT * FROM untouched;
-- What cannot be honoured.
ALTER TABLE authorization_revoked_families ADD COLUMN added text;
SELECT * FROM codes;
ALTER TABLE authorization_revoked_families DROP COLUMN added;
SELECT * FROM untouched;
\set VERBOSITY default
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told() told ORDER BY told;

-- What writes no revocation does not meet the trigger: a spend, a close, a presentation that fails a check, a completion, a note with the setting off.
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH STATEMENT EXECUTE FUNCTION fail();
SELECT status, reason FROM code_redeem('live', 'c', 'r');
SELECT status, reason FROM code_redeem('failed', 'd', 'r');
SELECT status, reason FROM code_redeem('failed', 'c', 'r');
SELECT status, reason FROM code_redeem('redeemed', 'd', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('live inside', 'c', 'r');
COMMIT;
SELECT code_complete('completed', 'j2', 4102444800);
SET attesto_codes.revoke_on_reuse = off;
SELECT status, reason FROM code_redeem('spent', 'c', 'r');
RESET attesto_codes.revoke_on_reuse;
SELECT status, reason FROM code_redeem('spent', 'c', 'r');
DROP TRIGGER t ON authorization_revoked_families;
SELECT * FROM state;

-- A trigger that lets it through sees each revocation, once, whatever becomes of the presenter.
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION tell();
SELECT status, reason FROM code_redeem('spent', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('redeemed', 'c', 'r');
SELECT status, reason FROM code_redeem('noted', 'c', 'r');
ROLLBACK;
SELECT status, reason FROM code_redeem('redeemed', 'c', 'r');
SELECT status, reason FROM code_redeem('reused', 'c', 'r');
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told() told ORDER BY told;
SELECT * FROM state;
DROP TRIGGER t ON authorization_revoked_families;
SELECT dblink_disconnect('listener');
DROP TABLE families;
DROP FUNCTION fail, skip, rename, undo, tell;
DROP FUNCTION pg_temp.told;
DROP EXTENSION dblink;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
