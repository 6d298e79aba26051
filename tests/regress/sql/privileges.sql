-- Nobody may do anything unless it was granted; EXECUTE on just the functions a role uses is enough.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
CREATE ROLE regress_nobody;
CREATE ROLE regress_issuer;
CREATE ROLE regress_token;
CREATE ROLE regress_taker;
GRANT EXECUTE ON FUNCTION code_put TO regress_issuer;
GRANT EXECUTE ON FUNCTION code_get, code_take, code_mark_consumed TO regress_token;
GRANT EXECUTE ON FUNCTION code_take TO regress_taker;
SELECT code_record_access_token('f', 'j', 4102444800);
SELECT code_put('h', :'grant', 1800000000);

-- A fresh role: nothing.
SET ROLE regress_nobody;
SELECT code_put('i', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_get('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_take('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash('x');
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'k', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family('f');
\echo :LAST_ERROR_SQLSTATE
SELECT code_access_token_revoked('j');
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked('f');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_inspect('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'grant');
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep();
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_stats();
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO authorizations (code_hash) VALUES ('i');
\echo :LAST_ERROR_SQLSTATE
UPDATE authorizations SET consumed_at = NULL;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE authorizations;
\echo :LAST_ERROR_SQLSTATE
SELECT jti FROM authorization_access_tokens;
\echo :LAST_ERROR_SQLSTATE
UPDATE authorization_access_tokens SET revoked_at = NULL;
\echo :LAST_ERROR_SQLSTATE
SELECT family_id FROM authorization_revoked_families;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO authorization_revoked_families VALUES (now(), 'f');
\echo :LAST_ERROR_SQLSTATE

-- An issuer: put.
SET ROLE regress_issuer;
SELECT code_put('i', :'grant', 1800000000);
SELECT code_put('i', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_take('i');
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash FROM authorizations;
\echo :LAST_ERROR_SQLSTATE

-- A token endpoint: a whole cycle.
SET ROLE regress_token;
SELECT expires_at FROM code_get('i');
SELECT status, expires_at FROM code_take('i');
SELECT code_mark_consumed('i');
SELECT status, meta FROM code_take('i');
SELECT status FROM code_take('never issued');
SELECT code_put('j', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash FROM authorizations;
\echo :LAST_ERROR_SQLSTATE

-- A role that may only take: every status, and nothing else.
SET ROLE regress_taker;
SELECT status, expires_at FROM code_take('h');
SELECT status FROM code_take('h');
SELECT status, meta FROM code_take('i');
SELECT code_get('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('h');
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('j', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE

RESET ROLE;
SELECT code_hash, consumed_success FROM authorizations ORDER BY code_hash;
SELECT jti, revoked_at FROM authorization_access_tokens;
SELECT family_id FROM authorization_revoked_families;
REVOKE ALL ON FUNCTION code_put, code_get, code_take, code_mark_consumed FROM regress_issuer, regress_token, regress_taker;
DROP ROLE regress_nobody, regress_issuer, regress_token, regress_taker;
TRUNCATE authorizations, authorization_access_tokens;
