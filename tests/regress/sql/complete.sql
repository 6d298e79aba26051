-- code_complete records the access token in the family of the code and marks the code, in the transaction of its caller.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
CREATE TABLE tokens (jti text);
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "f"}', 4102444800)) FROM unnest('{with token,without,undone,by take,both,large}'::text[]) h;
SELECT h, status FROM unnest('{with token,without,undone,both}'::text[]) WITH ORDINALITY codes(h, n), code_redeem(h, 'c', 'r', meta => CASE h WHEN 'both' THEN '{"n": 0}'::jsonb END) ORDER BY n;
SELECT status FROM code_take('by take');
BEGIN;
INSERT INTO tokens VALUES ('j1');
SELECT code_complete('with token', 'j1', 4102444800, '{"n": 1}');
COMMIT;
SELECT code_complete('without'), code_complete('by take', 'j2', 1, '{}');
BEGIN;
INSERT INTO tokens VALUES ('j3');
SELECT code_complete('undone', 'j3', 4102444800, '{"n": 3}');
SELECT * FROM state WHERE code_hash = 'undone';
ROLLBACK;
-- A code that code_redeem has marked: the token is recorded, and the first meta stays.
SELECT code_complete('both', 'j4', 4102444800, '{"n": 4, "family_id": "other"}');
SELECT * FROM state;
SELECT code_hash, consumed_meta FROM authorizations WHERE consumed_meta IS NOT NULL ORDER BY 1;
SELECT jti, family_id, extract(epoch FROM expires_at)::bigint AS expires_at, revoked_at FROM authorization_access_tokens ORDER BY 1;
SELECT * FROM tokens;
-- Undone, it can be done again.
SELECT code_complete('undone', 'j3', 4102444800, '{"n": 3}');
SELECT status, meta FROM code_inspect('undone');
-- At the other isolation levels.
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{repeatable,serializable}'::text[]) h;
SELECT status FROM code_redeem('repeatable', 'c', 'r');
SELECT status FROM code_redeem('serializable', 'c', 'r');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT code_complete('repeatable', 'j5', 4102444800);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT code_complete('serializable', 'j6', 4102444800);
COMMIT;
-- Also where the same transaction has redeemed the code.
SELECT code_put('inside', :'grant', 4102444800);
BEGIN;
SELECT status FROM code_redeem('inside', 'c', 'r');
SELECT code_complete('inside', 'j7', 4102444800);
COMMIT;
SELECT * FROM state WHERE code_hash IN ('repeatable', 'serializable', 'inside', 'undone');
-- Meta may be large here.
SELECT status FROM code_redeem('large', 'c', 'r');
SELECT code_complete('large', meta => jsonb_build_object('x', repeat('x', 1000000)));
SELECT length(consumed_meta->>'x') FROM authorizations WHERE code_hash = 'large';

-- A role needs no other right.
CREATE ROLE regress_endpoint;
SELECT code_put('of a role', :'grant', 4102444800);
SET ROLE regress_endpoint;
SELECT status FROM code_redeem('of a role', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('of a role');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT EXECUTE ON FUNCTION code_redeem, code_complete TO regress_endpoint;
SET ROLE regress_endpoint;
SELECT status FROM code_redeem('of a role', 'c', 'r');
SELECT code_complete('of a role', 'j8', 4102444800);
SELECT status, reason FROM code_redeem('of a role', 'c', 'r');
SELECT count(*) FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT * FROM state WHERE code_hash = 'of a role';
SELECT code_access_token_revoked('j8');
REVOKE ALL ON FUNCTION code_redeem, code_complete FROM regress_endpoint;
DROP ROLE regress_endpoint;
DROP TABLE tokens;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
