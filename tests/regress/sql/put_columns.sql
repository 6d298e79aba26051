-- Each member goes to its column: the least grant and a full one.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET IntervalStyle = 'postgres';
\pset null '-'
SELECT code_put('least', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
SELECT code_put('full', '{"client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["openid", "a,b"],
  "resource": ["https://api.example"], "code_challenge": "ch", "code_challenge_method": "S256", "dpop_jkt": "thumb",
  "nonce": "n", "family_id": "f", "claims": {"acr": 1}, "prompt": null, "future": {"restriction": [true]}}', 1800000000);
SELECT code_put('no method', '{"client_id": "c", "subject": "s", "redirect_uri": "r", "code_challenge": "ch"}', 1800000000);
SELECT code_put('no challenge', '{"client_id": "c", "subject": "s", "redirect_uri": "r", "code_challenge_method": "S256"}', 1800000000);
\x on
SELECT code_hash, client_id, subject, redirect_uri, scope, resource, code_challenge, code_challenge_method, cnf, nonce,
  family_id, claims, extra, expires_at, consumed_at, consumed_success, consumed_meta
FROM authorizations WHERE code_hash IN ('least', 'full') ORDER BY code_hash DESC;
\x off
SELECT code_hash, code_challenge, code_challenge_method FROM authorizations WHERE code_hash LIKE 'no %' ORDER BY code_hash;

-- inserted_at is the time of the call.
BEGIN;
SELECT clock_timestamp() AS before \gset
SELECT code_put('now', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
SELECT inserted_at BETWEEN :'before' AND clock_timestamp() AS now FROM authorizations WHERE code_hash = 'now';
ROLLBACK;
TRUNCATE authorizations;
