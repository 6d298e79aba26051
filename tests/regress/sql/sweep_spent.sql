-- A spent code is kept for ten minutes after it was spent, since its completion may come after its expiry.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE FUNCTION pg_temp.ago(seconds integer) RETURNS bigint LANGUAGE sql AS $$ SELECT extract(epoch FROM clock_timestamp())::bigint - seconds $$;
-- One that nobody presented, spent ones by each kind of presentation, and redeemed ones; all have expired a minute ago.
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'of ' || h), pg_temp.ago(-60)))
FROM unnest('{live,taken,redeemable,closed,replayed,marked,completed}'::text[]) h;
SELECT h, status FROM unnest('{taken,marked}'::text[]) h, code_take(h);
SELECT h, status, reason FROM unnest('{redeemable,replayed,completed}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT status, reason FROM code_redeem('closed', 'another');
SELECT status, reason FROM code_redeem('replayed', 'c', 'r');
SELECT code_mark_consumed('marked'), code_complete('completed', 'of completed', pg_temp.ago(60));
UPDATE authorizations SET expires_at = expires_at - interval '2 minutes';
-- Only those that a sweep would touch are due: the one that was not presented, and the redeemed ones.
SELECT live, spent, redeemed, due, oldest_due_age BETWEEN 59 AND 200 AS since_its_expiry FROM code_stats();
SELECT code_sweep();
SELECT code_hash, retain_from = expires_at AS retained FROM authorizations ORDER BY 1;
SELECT live, spent, redeemed, due, oldest_due_age FROM code_stats();
-- Each answers as before it expired: who redeemed it completes it, and nobody else.
SELECT status, reason FROM code_redeem('redeemable', 'another');
SELECT code_complete('redeemable', 'j', 4102444800);
SELECT code_complete('closed');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('replayed');
\echo :LAST_ERROR_SQLSTATE
SELECT status, reason FROM code_redeem('taken', 'c', 'r');
SELECT code_mark_consumed('taken');
SELECT status, reason FROM code_redeem('redeemable', 'c', 'r');
SELECT code_access_token_revoked('j');
-- What was completed late is retained by the next sweep, like any redeemed code.
SELECT code_sweep();
SELECT code_hash, retain_from = expires_at AS retained FROM authorizations ORDER BY 1;
-- The ten minutes are over.
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes', replayed_at = replayed_at - interval '11 minutes';
SELECT spent, redeemed, due, oldest_due_age BETWEEN 59 AND 200 AS since_they_were_over FROM code_stats();
SELECT code_sweep();
SELECT array_agg(code_hash ORDER BY code_hash) AS stored FROM authorizations;
SELECT due, oldest_due_age FROM code_stats();
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- To the microsecond, counted from the start of the second in which the sweep runs. Tried again if a second ends during the test.
CREATE PROCEDURE pg_temp.spent(h text, spent_at timestamptz, expires_at timestamptz) LANGUAGE sql AS $$
  INSERT INTO authorizations (expires_at, inserted_at, consumed_at, consumed_success, code_hash, client_id, subject, redirect_uri, scope, resource, claims)
  VALUES (expires_at, spent_at, spent_at, false, h, 'c', 's', 'r', '{}', '{}', '{}') $$;
DO $$
DECLARE
  second timestamptz; removed bigint; due bigint; age double precision;
BEGIN
  FOR try IN 1 .. 100 LOOP
    DELETE FROM authorizations;
    second := date_trunc('second', clock_timestamp());
    CALL pg_temp.spent('at the border', second - interval '10 minutes', second - interval '1 second');
    CALL pg_temp.spent('before the border', second - interval '10 minutes 1 microsecond', second - interval '1 second');
    CALL pg_temp.spent('after the border', second - interval '10 minutes' + interval '1 microsecond', second - interval '1 second');
    CALL pg_temp.spent('not expired', second - interval '1 hour', second);
    COMMIT;
    SELECT s.due, s.oldest_due_age INTO due, age FROM code_stats() s;
    removed := code_sweep();
    IF second = date_trunc('second', clock_timestamp()) THEN
      RAISE NOTICE 'due %, younger than a second: %, removed %', due, age < 1.000001, removed;
      EXIT;
    END IF;
  END LOOP;
END $$;
SELECT code_hash FROM authorizations ORDER BY 1;
-- In the next second they go.
SELECT pg_sleep_until(date_trunc('second', clock_timestamp()) + interval '1 second');
SELECT code_sweep();
SELECT count(*) FROM authorizations;

-- oldest_due_age is that of the code that has been due for the longest time, not of the one that expired first.
CALL pg_temp.spent('spent after its expiry', now() - interval '700 seconds', now() - interval '2 hours');
SELECT code_put('expired later', :'grant', pg_temp.ago(3600));
SELECT due, round(oldest_due_age / 60) AS minutes FROM code_stats();
SELECT code_sweep();

-- A name that lives keeps a redeemed code, also where the mark has taken the family away: the tokens may be of the grant's family, or of the hash.
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', f), pg_temp.ago(31 * 86400)))
FROM (VALUES ('family', 'f'), ('hash', 'g'), ('hash alone', NULL), ('of meta', 'g'), ('beside meta', 'b'), ('none', 'g')) codes(h, f);
SELECT count(*) FROM unnest('{family,hash,hash alone,of meta,beside meta,none}'::text[]) h, code_take(h);
SELECT count(code_mark_consumed(h, jsonb_build_object('family_id', f)))
FROM (VALUES ('family', NULL), ('hash', NULL), ('hash alone', NULL), ('of meta', 'm'), ('beside meta', 'without tokens'), ('none', NULL)) marks(h, f);
SELECT count(code_record_access_token(f, f, pg_temp.ago(-86400))) FROM unnest('{f,hash,hash alone,m,b}'::text[]) f;
SELECT code_record_access_token('g', 'g', pg_temp.ago(40 * 86400));
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
SELECT code_sweep();
SELECT code_hash, retain_from < now() - interval '28 days' AS retained FROM authorizations ORDER BY 1;
UPDATE authorizations SET expires_at = expires_at - interval '31 days', retain_from = retain_from - interval '31 days';
UPDATE authorization_access_tokens SET expires_at = expires_at - interval '31 days';
SELECT code_sweep();
SELECT count(*) FROM authorizations;

-- A redeemed code is kept for its ten minutes, too, however short the retention is: its token may be recorded late.
SET attesto_codes.reuse_retention = 60;
SELECT count(code_put(h, :'grant', pg_temp.ago(-60))) FROM unnest('{redeemed,marked}'::text[]) h;
SELECT status FROM code_take('marked');
SELECT status FROM code_redeem('redeemed', 'c', 'r', meta => '{}');
SELECT code_mark_consumed('marked');
UPDATE authorizations SET expires_at = now() - interval '5 minutes';
SELECT code_sweep();
SELECT code_hash, retain_from = consumed_at + interval '9 minutes' AS retained FROM authorizations ORDER BY 1;
SELECT code_sweep(), (SELECT due FROM code_stats());
SELECT code_complete('redeemed', 'late', 4102444800);
DELETE FROM authorization_access_tokens;
UPDATE authorizations SET consumed_at = consumed_at - interval '10 minutes 1 second', retain_from = retain_from - interval '10 minutes 1 second';
SELECT due, round(oldest_due_age) BETWEEN 0 AND 100 AS since_they_were_over FROM code_stats();
SELECT code_sweep();
SELECT count(*) FROM authorizations;
RESET attesto_codes.reuse_retention;

-- Young ones do not keep what expired after them, however many they are.
-- (No autovacuum: where it has the table locked, to give back its end, a sweep leaves the table alone.)
ALTER TABLE authorizations SET (autovacuum_enabled = off);
CREATE PROCEDURE pg_temp.fill(kind text, n integer, expires_at timestamptz, spent_at timestamptz) LANGUAGE sql AS $$
  INSERT INTO authorizations (expires_at, inserted_at, consumed_at, consumed_success, code_hash, client_id, subject, redirect_uri, scope, resource, claims)
  SELECT expires_at, now(), spent_at, false, kind || ' ' || i, 'c', 's', 'r', '{}', '{}', '{}' FROM generate_series(1, n) i $$;
CREATE TEMP VIEW stored AS SELECT regexp_replace(code_hash, ' \d+$', '') AS kind, count(*) FROM authorizations GROUP BY 1 ORDER BY 1;
CALL pg_temp.fill('before', 5, now() - interval '4 minutes', NULL);
CALL pg_temp.fill('young', 30000, now() - interval '3 minutes', now());
CALL pg_temp.fill('behind', 5, now() - interval '2 minutes', NULL);
SELECT due, round(oldest_due_age / 60) AS minutes FROM code_stats();
SELECT code_sweep();
CALL pg_temp.fill('later', 5, now() - interval '1 minute', NULL);
SELECT due, round(oldest_due_age / 60) AS minutes FROM code_stats();
SELECT code_sweep(3), code_sweep(3);
SELECT due, oldest_due_age FROM code_stats();
SELECT * FROM stored;
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
SELECT due, round(oldest_due_age / 60) AS minutes FROM code_stats();
SELECT code_sweep(30001);
SELECT * FROM stored;
ALTER TABLE authorizations RESET (autovacuum_enabled);
DROP VIEW stored;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
