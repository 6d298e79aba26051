CREATE EXTENSION attesto_codes;

-- The authorization endpoint issues a code, and sends it to the browser. Only its hash is stored.
SELECT code_issue(
  '{"client_id": "s6BhdRkqt3", "subject": "alice", "redirect_uri": "https://client.example/cb",
    "scope": ["openid", "profile"], "family_id": "fam-1",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}') AS code \gset
\echo :code
SELECT code_hash FROM authorizations;

-- The client sends the code and its verifier. The token endpoint hashes the code (a program does it by itself),
SELECT code_hash(:'code') AS hash \gset
\set client_id s6BhdRkqt3
\set redirect_uri https://client.example/cb
\set verifier dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk

-- and redeems it: this call, and no other ever, gets the grant.
\x on
SELECT status, jsonb_pretty(data) AS data, to_timestamp(expires_at) AS expires
FROM code_redeem(:'hash', :'client_id', :'redirect_uri', :'verifier');
\x off

-- It stores its tokens, and completes the redemption in the same transaction.
CREATE TABLE tokens (subject text NOT NULL, jti text NOT NULL);
BEGIN;
INSERT INTO tokens VALUES ('alice', 'token-1');
SELECT code_complete(:'hash', 'token-1', extract(epoch FROM now())::bigint + 300);
COMMIT;
SELECT code_access_token_revoked('token-1');

-- Who presents the code without the verifier gets nothing, and does no harm.
SELECT status, reason FROM code_redeem(:'hash', :'client_id', :'redirect_uri');
SELECT code_access_token_revoked('token-1');

-- Who presents it with the verifier is a second party. Nobody gets anything, and the token is revoked in the same write,
SELECT status, meta FROM code_redeem(:'hash', :'client_id', :'redirect_uri', :'verifier');
SELECT code_access_token_revoked('token-1');

-- and so is the family, so that nobody refreshes it.
SELECT code_family_revoked('fam-1');

-- Another code is stolen before its client redeems it. The thief has no verifier, but his try spends the code.
SELECT code_hash(code_issue(
  '{"client_id": "s6BhdRkqt3", "subject": "bob", "redirect_uri": "https://client.example/cb",
    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}')) AS hash \gset
SELECT status, reason FROM code_redeem(:'hash', :'client_id', :'redirect_uri', 'guessed');

-- The client comes too late, and logs in again. For this code no tokens can be stored any more.
SELECT status, reason FROM code_redeem(:'hash', :'client_id', :'redirect_uri', :'verifier');
\set ON_ERROR_STOP off
BEGIN;
INSERT INTO tokens VALUES ('bob', 'token-2');
SELECT code_complete(:'hash', 'token-2', extract(epoch FROM now())::bigint + 300);
COMMIT;
\set ON_ERROR_STOP on
SELECT * FROM tokens;
