-- Sweeps beside each other, and a take beside a sweep that is stopped in the middle of a row: it waits for that row, and is told what is true then.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE EXTENSION dblink;
-- Where something waited that should not, this test would hang.
SET statement_timeout = '30s';
SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user))
FROM unnest(ARRAY['sweep', 'other sweep', 'take']) name;
CREATE FUNCTION pg_temp.answer(name text) RETURNS text LANGUAGE sql AS $$ SELECT answer FROM dblink_get_result(name) r(answer text) $$;
-- Returns when somebody waits for a lock of this type.
CREATE PROCEDURE pg_temp.until_waiting(type text) LANGUAGE plpgsql AS $$
BEGIN
  WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = type AND NOT granted) LOOP
    PERFORM pg_sleep(0.01);
  END LOOP;
END $$;
-- Makes what writes a code anew wait for this connection where it has stopped it.
CREATE FUNCTION stop(h text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1, hashtext(h)); RETURN h; END $$;
CREATE INDEX by_stop ON authorizations (stop(code_hash));

-- In the order of their expiry: two redeemed codes, one that was never taken, a third redeemed one; and one that has not expired.
SELECT count(code_put(h, :'grant', extract(epoch FROM now())::bigint - ago)) FROM (VALUES ('first', 4000), ('second', 3000), ('never taken', 2000), ('third', 1000), ('fresh', -1000)) codes(h, ago);
SELECT count(code_mark_consumed(h)) FROM unnest(ARRAY['first', 'second', 'third']) h, code_take(h);
SELECT pg_advisory_lock(1, hashtext(h)) FROM unnest(ARRAY['second', 'third']) h;
SELECT dblink_send_query('sweep', 'SELECT code_sweep()');
CALL pg_temp.until_waiting('advisory');

-- Another sweep goes on behind it, and waits for nothing.
SELECT dblink_send_query('other sweep', 'SELECT code_sweep(1)');
SELECT pg_temp.answer('other sweep') AS removed;
-- So does a take of another code.
SELECT status FROM code_take('fresh');

-- A take of a code that the sweep has written anew waits for the row that it is at, not for the next one.
SELECT dblink_send_query('take', 'SELECT status FROM code_take(''first'')');
CALL pg_temp.until_waiting('transactionid');
SELECT pg_advisory_unlock(1, hashtext('second'));
SELECT pg_temp.answer('take') AS status;
CALL pg_temp.until_waiting('advisory');
SELECT dblink_is_busy('sweep') AS sweep_is_busy;
SELECT pg_advisory_unlock(1, hashtext('third'));
SELECT pg_temp.answer('sweep') AS removed;
SELECT code_hash, retain_from = expires_at AS retained, reused_at IS NOT NULL AS reused FROM authorizations ORDER BY expires_at;

SELECT dblink_disconnect(name) FROM unnest(ARRAY['sweep', 'other sweep', 'take']) name;
DROP INDEX by_stop;
DROP FUNCTION stop;
DROP FUNCTION pg_temp.answer;
DROP EXTENSION dblink;
TRUNCATE authorizations;
RESET statement_timeout;
