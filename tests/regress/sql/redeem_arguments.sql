-- Which arguments of code_redeem and code_complete may be NULL, and which values are refused, with nothing written.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
SELECT code_put('h', :'grant', 4102444800);
SELECT * FROM code_redeem(NULL, 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem('h', NULL, 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem(NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem('', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem(repeat('x', 256), 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT status, reason FROM code_redeem(repeat('x', 255), 'c', 'r');
\set VERBOSITY sqlstate
SELECT * FROM code_redeem('h');
SELECT * FROM code_redeem('h', 'c', 'r', NULL, NULL, 'no json');
SELECT * FROM code_redeem('h', 'c', 'r', no_such => 1);
\set VERBOSITY default
SELECT count(*) AS live FROM code_get('h');
-- All the others may be.
SELECT status FROM code_redeem('h', 'c', 'r', NULL, NULL, NULL);

SELECT code_complete(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', NULL, NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', 4102444800, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', '', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', repeat('x', 1025), 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', 253402300800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('h', 'j', -210866803201);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT code_complete();
SELECT code_complete('h', 'j', 'soon');
\set VERBOSITY default
SELECT consumed_success AS redeemed, (SELECT count(*) FROM authorization_access_tokens) AS tokens FROM authorizations;
-- Without a jti there is no token, and expires_at is ignored, whatever it is.
SELECT code_complete('h', NULL, 253402300800);
SELECT code_complete('h', NULL, -1), code_complete('h', NULL, 9223372036854775807), code_complete('h', expires_at => -9223372036854775808);
SELECT count(*) FROM authorization_access_tokens;
SELECT code_complete('h', repeat('x', 1024), 253402300799);
SELECT length(jti), family_id, extract(epoch FROM expires_at)::bigint AS expires_at, revoked_at FROM authorization_access_tokens;

-- Writes are refused in a READ ONLY transaction, whether there is such a code or not.
SELECT code_put('live', :'grant', 4102444800);
BEGIN READ ONLY;
SELECT * FROM code_redeem('live', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_redeem('unknown', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('h');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('unknown');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) AS live FROM code_get('live');
-- A row that the extension would never write.
UPDATE authorizations SET cnf = '[]' WHERE code_hash = 'live';
SELECT * FROM code_redeem('live', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
SELECT consumed_at IS NULL AS live FROM authorizations WHERE code_hash = 'live';
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
