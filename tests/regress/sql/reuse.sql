-- The first presentation of a redeemed code is announced and noted, whatever becomes of the presenter; the later ones are not.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
CREATE EXTENSION dblink;
SELECT dblink_connect('listener', format('host=%s port=%s dbname=%s user=%s',
  split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT dblink_exec('listener', 'LISTEN attesto_codes_reuse');
-- The notifications that the listener got, up to the word "end", which is sent last.
CREATE FUNCTION pg_temp.told() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE notice text;
BEGIN
  FOR i IN 1 .. 1000 LOOP
    FOR notice IN SELECT extra FROM dblink_get_notify('listener') LOOP
      IF notice = 'end' THEN RETURN; END IF;
      RETURN NEXT notice;
    END LOOP;
    PERFORM pg_sleep(0.01);
  END LOOP;
  RAISE EXCEPTION 'the listener waits in vain';
END $$;
SELECT count(code_put(i::text, :'grant'::jsonb || jsonb_build_object('subject', 's' || i), 4102444800)) FROM generate_series(1, 9) i;
SELECT status, count(*) FROM generate_series(1, 9) i, code_take(i::text) GROUP BY 1;

-- Neither a take, nor a replay, nor a mark is a reuse.
SELECT status FROM code_take('9');
SELECT code_mark_consumed(i::text), count(*) FROM generate_series(1, 9) i GROUP BY 1 ORDER BY 1;
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();

-- As a statement of its own, in a transaction that commits, in transactions that do not, and twice in one statement.
SELECT floor(extract(epoch FROM clock_timestamp())) AS since \gset
SELECT status FROM code_take('1');
BEGIN;
SELECT status FROM code_take('2');
COMMIT;
BEGIN;
SELECT status FROM code_take('3');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status FROM code_take('4');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT status FROM code_take('5');
ROLLBACK TO a;
SELECT status FROM code_take('5');
COMMIT;
DO $$
BEGIN
  PERFORM code_take('6');
  RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SELECT status FROM generate_series(7, 8) i, code_take(left('7', i));
NOTIFY attesto_codes_reuse, 'end';
SELECT notice::jsonb - 'when' AS notice, (notice::jsonb->>'when')::bigint BETWEEN :since AND extract(epoch FROM clock_timestamp()) AS now
FROM pg_temp.told() notice;
SELECT code_hash, reused_at IS NOT NULL AS reused, replayed_at IS NOT NULL AS replayed FROM authorizations ORDER BY 1;

-- Later ones are answered, and neither announced nor written.
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a WHERE reused_at IS NOT NULL;
CREATE TEMP TABLE before AS SELECT * FROM version;
SELECT status, count(*) FROM generate_series(1, 7) i, code_take(i::text) GROUP BY 1;
SELECT status FROM code_take('3');
BEGIN;
SELECT status FROM code_take('3');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();
SELECT count(*), bool_and(v.* IS NOT DISTINCT FROM b.*) AS unchanged FROM before b JOIN version v USING (code_hash);
TRUNCATE authorizations;

-- The redeemer's meta says whose it was; what is too long for NOTIFY is left out, the subject first.
CREATE TEMP TABLE said (h text, data jsonb, meta jsonb);
INSERT INTO said VALUES
  ('1 no family', '{"family_id": null}', '{}'),
  ('2 another', '{}', '{"family_id": "g", "subject": "t", "client_id": "d", "n": 1}'),
  ('3 none of it', '{}', '{"family_id": null, "subject": null}'),
  ('4 an object', '{}', '{"family_id": {"a": ["ü", 1.50]}}'),
  ('5 quotes', '{"subject": "\"ü\\\n''", "client_id": "🦀\"", "family_id": "漢\u0001"}', '{}'),
  ('6 long subject', jsonb_build_object('subject', repeat('s', 8000)), '{}'),
  ('7 long client', jsonb_build_object('client_id', repeat('c', 8000)), '{}'),
  ('8 long family', '{}', jsonb_build_object('family_id', repeat('f', 8000)));
SELECT count(code_put(h, :'grant'::jsonb || data, 4102444800)) FROM said;
SELECT count(*) FROM said, code_take(h) WHERE status = 'ok';
SELECT h, code_mark_consumed(h, meta) FROM said ORDER BY h;
SELECT h, status FROM (SELECT * FROM said ORDER BY h OFFSET 0) said, code_take(h);
NOTIFY attesto_codes_reuse, 'end';
-- How wide a sign is depends on psql.
\pset format unaligned
SELECT notice::jsonb - 'when' AS notice FROM pg_temp.told() notice;
\pset format aligned

-- A redemption of the presenter's own transaction: announced with it, once, or not at all.
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('subject', h), 4102444800)) FROM unnest(ARRAY['committed', 'rolled back', 'savepoint']) h;
SELECT status FROM unnest(ARRAY['committed', 'rolled back', 'savepoint']) h, code_take(h);
BEGIN;
SELECT code_mark_consumed('committed');
SELECT status FROM generate_series(10, 11) i, code_take(left('committed', i));
COMMIT;
BEGIN;
SELECT code_mark_consumed('rolled back');
SELECT status FROM code_take('rolled back');
ROLLBACK;
BEGIN;
SELECT code_mark_consumed('savepoint');
SAVEPOINT a;
SELECT status FROM code_take('savepoint');
ROLLBACK TO a;
COMMIT;
NOTIFY attesto_codes_reuse, 'end';
SELECT notice::jsonb->'subject' AS subject FROM pg_temp.told() notice;
SELECT code_hash, reused_at IS NOT NULL AS reused FROM authorizations WHERE consumed_success AND code_hash ~ '^[a-z]' ORDER BY 1;

-- What is so large that its text could not be built is told to the caller, and left out of the notice.
SELECT code_put('large', :'grant', 1800000000);
SELECT status FROM code_take('large');
SELECT code_mark_consumed('large', jsonb_build_object('family_id', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 10000))));
SELECT status, jsonb_array_length(meta -> 'family_id') FROM code_take('large');
NOTIFY attesto_codes_reuse, 'end';
SELECT notice::jsonb - 'when' AS notice FROM pg_temp.told() notice;

SELECT dblink_disconnect('listener');
DROP FUNCTION pg_temp.told();
DROP EXTENSION dblink;
TRUNCATE authorizations;
