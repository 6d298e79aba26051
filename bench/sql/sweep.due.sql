-- Codes :first to :last, all due: of four one was never taken, one is spent, and two are evidence whose
-- time is over.
INSERT INTO authorizations
  (code_hash, client_id, subject, redirect_uri, scope, resource, code_challenge, code_challenge_method, nonce, claims, family_id,
   inserted_at, expires_at, consumed_at, consumed_success, consumed_meta, retain_from)
SELECT substr(md5(i::text), 1, 19) || :'key_tail', :'client', :'subject', :'redirect_uri', :'scope', :'resource',
  :'challenge', 'S256', :'nonce', :'claims', substr(md5(i::text), 1, 19) || :'family_tail',
  put, put + interval '1 minute', CASE WHEN i % 4 > 0 THEN put + interval '2 seconds' END, i % 4 > 1,
  CASE WHEN i % 4 > 1 THEN '{}'::jsonb END, CASE WHEN i % 4 > 1 THEN put + interval '1 minute' END
FROM generate_series(:first::bigint, :last::bigint) AS i,
  LATERAL (SELECT now() - CASE WHEN i % 4 > 1 THEN interval '31 days' ELSE interval '15 minutes' END
             + interval '1 minute' * (i - :first) / (:last - :first + 1)) AS time (put);
