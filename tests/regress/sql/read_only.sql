-- In a READ ONLY transaction code_get works and the functions that write are 25006.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put(h, :'grant', 1800000000) FROM unnest(ARRAY['live', 'spent']) h;
SELECT status FROM code_take('spent');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;

BEGIN READ ONLY;
SELECT data->>'subject' AS subject FROM code_get('live');
SELECT count(*) FROM code_get('spent');
COMMIT;

BEGIN READ ONLY;
SELECT code_put('new', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT code_put('live', :'grant', 1800000000);
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

SET default_transaction_read_only = on;
SELECT status FROM code_take('live');
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;

SELECT code_hash, b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before AS untouched
FROM before b FULL JOIN authorizations a USING (code_hash) ORDER BY code_hash;
SELECT status FROM code_take('live');
TRUNCATE authorizations;
