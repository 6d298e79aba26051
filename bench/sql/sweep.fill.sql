-- :rows codes that no sweep has anything to do with: live and not expired, or evidence that earlier
-- sweeps have retained (of 50 one is live there, of 1000 one of a family that was revoked; of 100 one
-- has an access token that has not expired).
INSERT INTO authorizations
  (code_hash, client_id, subject, redirect_uri, scope, resource, code_challenge, code_challenge_method, nonce, claims, family_id,
   inserted_at, expires_at, consumed_at, consumed_success, consumed_meta, retain_from)
SELECT substr(md5(i::text), 1, 19) || :'key_tail', :'client', :'subject', :'redirect_uri', :'scope', :'resource',
  :'challenge', 'S256', :'nonce', :'claims', substr(md5(i::text), 1, 19) || :'family_tail',
  put, put + interval '1 minute', CASE WHEN NOT is_live THEN put + interval '2 seconds' END, NOT is_live,
  CASE WHEN NOT is_live THEN '{}'::jsonb END, CASE WHEN NOT is_live THEN put + interval '1 minute' END
FROM generate_series(1, :rows) AS i,
  LATERAL (SELECT :'mixture' = 'live' OR i % 50 = 0) AS kind (is_live),
  -- In the order in which they were put: the live ones in an hour from now, the others in the last 29 days.
  LATERAL (SELECT date_trunc('second', now()) + CASE WHEN is_live THEN interval '1 hour' + interval '1 minute' * i / :rows
                                                     ELSE interval '-29 days' * (:rows - i + 1) / :rows - interval '2 minutes' END) AS time (put);
INSERT INTO authorization_access_tokens (expires_at, jti, family_id)
SELECT now() + interval '1 hour', 'jti-' || md5(i::text), substr(md5(i::text), 1, 19) || :'family_tail'
FROM generate_series(1, :rows, 100) AS i WHERE :'mixture' = 'evidence';
INSERT INTO authorization_revoked_families (revoked_at, family_id)
SELECT now() - interval '1 day', substr(md5(i::text), 1, 19) || :'family_tail'
FROM generate_series(1, :rows, 1000) AS i WHERE :'mixture' = 'evidence';
