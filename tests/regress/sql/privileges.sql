-- Nobody may do anything unless it was granted; EXECUTE on just the functions a role uses is enough.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
CREATE ROLE regress_nobody;
CREATE ROLE regress_issuer;
CREATE ROLE regress_token;
CREATE ROLE regress_taker;
CREATE ROLE regress_protocol;
GRANT EXECUTE ON FUNCTION code_put TO regress_issuer;
GRANT EXECUTE ON FUNCTION code_get, code_take, code_mark_consumed TO regress_token;
GRANT EXECUTE ON FUNCTION code_take TO regress_taker;
GRANT EXECUTE ON FUNCTION code_redeem, code_complete TO regress_protocol;
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
SELECT * FROM code_redeem('h', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h');
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

-- A token endpoint of the protocol: its two calls do all that they have to, also the revocation, and give no way to the rest.
RESET ROLE;
SELECT code_put('p', :'grant'::jsonb || '{"family_id": "p"}', 4102444800);
SET ROLE regress_protocol;
SELECT status, reason, data->>'subject' AS subject FROM code_redeem('p', 'c', 'r');
SELECT code_complete('p', 'k', 4102444800);
SELECT status, reason, meta FROM code_redeem('p', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('p', 'c', 'r');
ROLLBACK;
SELECT status, reason FROM code_redeem('never issued', 'c', 'r');
SELECT code_complete('p');
\echo :LAST_ERROR_SQLSTATE
SELECT code_take('p');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('p');
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'l', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family('f');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_inspect('p');
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
SET attesto_codes.revoke_on_reuse = off;
\echo :LAST_ERROR_SQLSTATE
SET attesto_codes.replay_grace = 60;
\echo :LAST_ERROR_SQLSTATE

RESET ROLE;
SELECT code_hash, consumed_success FROM authorizations ORDER BY code_hash;
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY jti;
SELECT family_id FROM authorization_revoked_families ORDER BY 1;
REVOKE ALL ON FUNCTION code_put, code_get, code_take, code_mark_consumed, code_redeem, code_complete FROM regress_issuer, regress_token, regress_taker, regress_protocol;
DROP ROLE regress_nobody, regress_issuer, regress_token, regress_taker, regress_protocol;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
