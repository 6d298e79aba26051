-- code_redeem presents a code with what the client sent: a live code is spent, and the client that proves what its grant asks for gets the entry, once.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "https://client.example/cb", "family_id": "f", "scope": ["b", "a"], "claims": {"acr": "1"}, "later": [null]}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, consumed_meta, reused_at IS NOT NULL AS reused FROM authorizations ORDER BY code_hash;
-- The example of RFC 7636, appendix B.
\set verifier dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk
\set challenge '{"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256"}'
\set key '{"dpop_jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}'
SELECT code_put('plain', :'grant', 4102444800), code_put('challenge', :'grant'::jsonb || :'challenge', 4102444800), code_put('key', :'grant'::jsonb || :'key', 4102444800),
  code_put('both', :'grant'::jsonb || :'challenge' || :'key', 4102444800), code_put('inside', :'grant'::jsonb || :'challenge' || :'key', 4102444800);
CREATE TEMP TABLE issued AS SELECT h, g.* FROM unnest('{plain,challenge,key,both,inside}'::text[]) h, code_get(h) g;

-- As a statement of its own.
SELECT * FROM code_redeem('plain', 'c', 'https://client.example/cb');
SELECT status, reason, data = (SELECT data FROM issued WHERE h = 'challenge') AS whole, expires_at, meta FROM code_redeem('challenge', 'c', 'https://client.example/cb', :'verifier');
SELECT status, reason, data = (SELECT data FROM issued WHERE h = 'key') AS whole, expires_at, meta FROM code_redeem('key', 'c', 'https://client.example/cb', NULL, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I');
SELECT status, reason, expires_at, meta FROM code_redeem('both', 'c', code_verifier => :'verifier', dpop_jkt => '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I');
-- In a transaction that does not commit: it stays spent.
BEGIN;
SELECT status, reason, expires_at, meta FROM code_redeem(dpop_jkt => '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I', code_verifier => :'verifier', client_id => 'c', code_hash => 'inside');
ROLLBACK;
SELECT * FROM state;
SELECT count(*) FROM unnest('{plain,challenge,key,both,inside}'::text[]) h, code_get(h);

-- Marked by code_complete, or by code_mark_consumed; then it is redeemed, and whoever proves the same again reuses it.
SELECT code_complete('plain', meta => '{"n": 1}'), code_complete('challenge'), code_mark_consumed('key', '{"n": 2}');
SELECT * FROM code_redeem('plain', 'c', 'https://client.example/cb');
SELECT * FROM code_redeem('challenge', 'c', 'https://client.example/cb', :'verifier');
SELECT * FROM code_redeem('key', 'c', 'https://client.example/cb', NULL, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I');
-- Spent and not redeemed; and never issued.
SELECT * FROM code_redeem('both', 'c', NULL, :'verifier', '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I');
SELECT * FROM code_redeem('unknown', 'c');
SELECT * FROM state;

-- code_take sees what code_redeem did, and the other way round.
SELECT status FROM code_take('plain');
SELECT status FROM code_take('both');
SELECT code_put('taken', :'grant'::jsonb || '{"family_id": "g"}', 4102444800);
SELECT status FROM code_take('taken');
SELECT * FROM code_redeem('taken', 'c', 'https://client.example/cb');
SELECT code_mark_consumed('taken');
SELECT * FROM code_redeem('taken', 'c', 'https://client.example/cb');

-- With code_issue: three calls make the whole protocol.
SELECT code_issue(:'grant'::jsonb - 'family_id' || :'challenge') AS code \gset
SELECT status, reason FROM code_redeem(code_hash(:'code'), 'c', code_verifier => :'verifier');
SELECT code_complete(code_hash(:'code'), 'jti', 4102444800);
SELECT status, reason, meta - 'family_id' AS meta FROM code_redeem(code_hash(:'code'), 'c', code_verifier => :'verifier');
SELECT code_access_token_revoked('jti'), bool_and(code_family_revoked(name)) AS both_names FROM authorizations, unnest(ARRAY[family_id, code_hash]) name WHERE code_hash = code_hash(:'code');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
