-- A NULL argument of any function is 22004 and never skipped.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put(NULL, :'least', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h', NULL, 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h', :'least', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put(NULL, NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_get(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_take(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('h', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_hash(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token(NULL, 'j', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', NULL, 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'j', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_access_token_revoked(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_inspect(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'least', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem(NULL, 'c');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem('h', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem(NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', 1800000000, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', meta => NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep(NULL);
\echo :LAST_ERROR_SQLSTATE
-- These may be NULL: the client sent nothing, nothing is to be marked, there is no token.
SELECT code_put('h', :'least', 4102444800);
SELECT status, reason FROM code_redeem('h', 'c', 'r', NULL, NULL, NULL);
SELECT code_complete('h', NULL, NULL);
DELETE FROM authorizations;
SELECT count(*) FROM authorizations;
SELECT count(*) FROM authorization_access_tokens;
SELECT count(*) FROM authorization_revoked_families;
