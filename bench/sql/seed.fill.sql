INSERT INTO attesto_authorization_codes
  (code_hash, client_id, subject, scope, resource, redirect_uri, code_challenge,
   code_challenge_method, nonce, claims, family_id, expires_at, inserted_at)
SELECT :key || :'key_tail', :'client', :'subject', :'scope', :'resource',
       :'redirect_uri', :'challenge', 'S256', :'nonce', :'claims',
       :key || :'family_tail', :'expires_at', :'now'
FROM generate_series(1, :rows) AS i;
