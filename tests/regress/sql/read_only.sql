-- In a READ ONLY transaction the functions that read work, and those that write are 25006.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put(h, :'grant', 4102444800) FROM unnest(ARRAY['live', 'spent']) h;
SELECT status FROM code_take('spent');
SELECT code_record_access_token('f', 'revoked', 4102444800), code_record_access_token('g', 'valid', 4102444800);
SELECT code_revoke_family('f');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;

BEGIN READ ONLY;
SELECT data->>'subject' AS subject FROM code_get('live');
SELECT count(*) FROM code_get('spent');
SELECT status, data->>'subject' AS subject FROM unnest(ARRAY['live', 'spent', 'never issued']) h, code_inspect(h);
SELECT jti, code_access_token_revoked(jti) FROM unnest(ARRAY['revoked', 'valid', 'never issued']) jti;
SELECT f, code_family_revoked(f) FROM unnest(ARRAY['f', 'g', 'h']) f;
SELECT live, spent, families_revoked FROM code_stats();
SELECT length(code_hash('x'));
COMMIT;

BEGIN READ ONLY;
SELECT code_put('new', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_put('live', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_issue(:'grant');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_take('spent');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_take('never issued');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_mark_consumed('spent');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_redeem('live', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_redeem('live', 'another');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_redeem('spent', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM code_redeem('never issued', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('spent');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('spent', 'new', 4102444800);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('live');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_complete('never issued');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

BEGIN READ ONLY;
SELECT code_record_access_token('f', 'new', 4102444800);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_revoke_family('g');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_sweep();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

SET default_transaction_read_only = on;
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_redeem('live', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;

SELECT code_hash, b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before AS untouched
FROM before b FULL JOIN authorizations a USING (code_hash) ORDER BY code_hash;
SELECT status FROM code_take('live');
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY jti;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
