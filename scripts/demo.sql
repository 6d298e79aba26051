CREATE EXTENSION attesto_codes;

-- The authorization endpoint issues a code and stores its hash with the grant.
\set code SplxlOBeZQQYbYS6WxSbIA
SELECT code_put(
  code_hash(:'code'),
  '{"client_id": "s6BhdRkqt3", "subject": "alice", "redirect_uri": "https://client.example/cb",
    "scope": ["openid", "profile"], "family_id": "fam-1",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}',
  1798761600);

-- The token endpoint looks without spending it,
SELECT data->>'client_id' AS client_id, to_timestamp(expires_at) AS expires
FROM code_get(code_hash(:'code'));

-- takes it: this call, and no other ever, gets the entry,
\x on
SELECT status, jsonb_pretty(data) AS data, expires_at FROM code_take(code_hash(:'code'));
\x off

-- and records that the redemption succeeded.
SELECT code_mark_consumed(code_hash(:'code'));

-- Whoever presents the code again is seen.
SELECT * FROM code_take(code_hash(:'code'));

-- Only the hash is stored.
SELECT code_hash, consumed_success FROM authorizations;
