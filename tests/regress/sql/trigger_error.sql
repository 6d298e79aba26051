-- An error that a trigger raises reaches the caller with its SQLSTATE and message, wherever the trigger runs; the code is as it was, and the next call works.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{live,spent,redeemed}'::text[]) h;
SELECT h, status FROM unnest('{spent,redeemed}'::text[]) h, code_take(h);
SELECT code_mark_consumed('redeemed');
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = TG_ARGV[0], MESSAGE = 'not on 100 % of the days: ' || lower(TG_OP) || ', é', DETAIL = '%s of a détail', HINT = 'Try %d days later.';
END $$;

-- A spend, a replay and a reuse; a put, a mark.
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION fail('AB123');
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT 1 AS before;
SAVEPOINT s;
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT expires_at FROM code_get('live');
COMMIT;
\set VERBOSITY sqlstate
SELECT status FROM code_take('spent');
SELECT status FROM code_take('redeemed');
\set VERBOSITY default
SELECT code_put('new', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('spent');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON authorizations;
SELECT code_hash, consumed_at IS NULL AS live, consumed_success AS redeemed, replayed_at IS NULL AND reused_at IS NULL AS unseen FROM authorizations ORDER BY 1;

-- Each time at which a trigger can fail, and SQLSTATEs with and without a name.
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
CREATE FUNCTION answer(call text, OUT code text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
  SELECT a INTO message FROM dblink('other', call) r(a text);
EXCEPTION WHEN OTHERS OR query_canceled THEN
  code := SQLSTATE;
  message := SQLERRM;
END $$;
CREATE TEMP TABLE attempts (n int GENERATED ALWAYS AS IDENTITY, trigger text, raised text, put text, alone text, inside text, mark text, told boolean);
CREATE PROCEDURE attempt(event text, VARIADIC codes text[]) LANGUAGE plpgsql AS $$
DECLARE code text; put record; alone record; inside record; mark record;
BEGIN
  FOREACH code IN ARRAY codes LOOP
    EXECUTE format('CREATE %s EXECUTE FUNCTION fail(%L)', event, code);
    COMMIT;
    put := answer($q$SELECT code_put('new', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)::text$q$);
    alone := answer($q$SELECT status FROM code_take('live')$q$);
    PERFORM dblink_exec('other', 'BEGIN');
    inside := answer($q$SELECT status FROM code_take('live')$q$);
    PERFORM dblink_exec('other', 'COMMIT');
    mark := answer($q$SELECT code_mark_consumed('spent')$q$);
    DROP TRIGGER t ON authorizations;
    INSERT INTO attempts (trigger, raised, put, alone, inside, mark, told) VALUES (regexp_replace(event, ' t| ON authorizations', '', 'g'), code, put.code, alone.code, inside.code, mark.code,
      (SELECT bool_and(message LIKE 'not on 100 %% of the days: %date, é' OR message = 'not on 100 % of the days: insert, é') FROM unnest(ARRAY[put.message, alone.message, inside.message, mark.message]) message));
    COMMIT;
  END LOOP;
END $$;
CALL attempt('TRIGGER t BEFORE INSERT OR UPDATE ON authorizations', 'AB123');
CALL attempt('TRIGGER t AFTER INSERT OR UPDATE ON authorizations', 'AB123');
CALL attempt('TRIGGER t BEFORE INSERT OR UPDATE ON authorizations FOR EACH ROW', 'AB123');
CALL attempt('TRIGGER t AFTER INSERT OR UPDATE ON authorizations FOR EACH ROW', 'AB123', 'ZZ999', 'P0001', 'XX000', '40001', '22012', '57014', '55P03', '23514', '23505', '01000');
CALL attempt('CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW', 'AB123', 'P0001', '23514');
SELECT trigger, raised, put, alone, inside, mark, told FROM attempts ORDER BY n;
SELECT dblink_disconnect('other');

-- In a transaction a deferred one fails at its COMMIT, also where the transaction writes a spend again there.
CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail('AB123');
BEGIN;
SELECT code_put('new', :'grant', 4102444800);
COMMIT;
BEGIN;
SELECT code_mark_consumed('spent');
COMMIT;
DROP TRIGGER t ON authorizations;
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SAVEPOINT s;
SELECT status FROM code_take('own');
ROLLBACK TO s;
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION fail('AB123');
COMMIT;
SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = 'authorizations'::regclass;

-- A key that a trigger finds in a table of the same name is not ours.
CREATE SCHEMA history
  CREATE TABLE authorizations (code_hash text PRIMARY KEY);
CREATE FUNCTION history() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO history.authorizations VALUES (NEW.code_hash); RETURN NEW; END $$;
INSERT INTO history.authorizations VALUES ('live'), ('new'), ('spent');
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION history();
SELECT code_put('new', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('spent');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON authorizations;
DROP SCHEMA history CASCADE;

-- A trigger that waits gets the rest of the second that a worker has, and can be cancelled.
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(12, 12); RETURN NEW; END $$;
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION wait();
SELECT pg_advisory_lock(12, 12);
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
SET statement_timeout = '500ms';
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT pg_advisory_unlock(12, 12);
DROP TRIGGER t ON authorizations;

SELECT code_hash, consumed_at IS NULL AS live, consumed_success AS redeemed, replayed_at IS NULL AND reused_at IS NULL AS unseen FROM authorizations ORDER BY 1;
SELECT code_put('new', :'grant', 4102444800), code_mark_consumed('spent');
SELECT status FROM code_take('live');
DROP FUNCTION fail, answer, history, wait;
DROP PROCEDURE attempt;
DROP EXTENSION dblink;
TRUNCATE authorizations;
