INSERT INTO attesto_authorization_codes
  (code_hash, client_id, subject, scope, resource, redirect_uri, code_challenge,
   code_challenge_method, nonce, claims, family_id, expires_at, inserted_at)
SELECT substr(md5(i::text), 1, 19) || :'key_tail', :'client', :'subject', :'scope', :'resource',
       :'redirect_uri', :'challenge', 'S256', :'nonce', :'claims',
       substr(md5(i::text), 1, 19) || :'family_tail', :'expires_at', :'now'
FROM generate_series(1, :rows) AS i;
