-- Within one transaction each call sees what the earlier ones did; what put and mark wrote goes with a ROLLBACK.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
BEGIN;
SELECT code_put('h', :'grant', 1800000000);
SELECT expires_at FROM code_get('h');
SELECT status FROM code_take('h');
SELECT status FROM code_take('h');
SELECT expires_at FROM code_get('h');
SELECT code_mark_consumed('h');
SELECT status FROM code_take('h');
COMMIT;
SELECT status FROM code_take('h');

-- A put that was rolled back was never issued, and its hash is free.
BEGIN;
SELECT code_put('back', :'grant', 1800000000);
ROLLBACK;
SELECT expires_at FROM code_get('back');
SELECT status FROM code_take('back');
SELECT code_put('back', :'grant', 1800000001);
BEGIN;
SAVEPOINT s;
SELECT code_put('savepoint', :'grant', 1800000000);
ROLLBACK TO s;
SELECT status FROM code_take('savepoint');
SELECT code_put('savepoint', :'grant', 1800000001);
COMMIT;
SELECT code_hash, expires_at FROM unnest(ARRAY['back', 'savepoint']) code_hash, code_get(code_hash);

-- A mark that was rolled back leaves the code spent: neither live nor redeemed.
SELECT status FROM code_take('back');
BEGIN;
SELECT code_mark_consumed('back', '{"n": 1}');
ROLLBACK;
SELECT expires_at FROM code_get('back');
SELECT code_mark_consumed('back', '{"n": 2}');
SELECT status, meta FROM code_take('back');
SELECT status FROM code_take('savepoint');
BEGIN;
SELECT code_mark_consumed('savepoint', '{"n": 1}');
SELECT status FROM code_take('savepoint');
ROLLBACK;
SELECT status FROM code_take('savepoint');
SELECT code_mark_consumed('savepoint', '{"n": 2}');
SELECT status, meta FROM code_take('savepoint');
TRUNCATE authorizations;
-- A take is flushed and leaves the settings of the session as they are, also where the function has its own.
SELECT count(code_put('setting-' || i, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000)) FROM generate_series(1, 2) i;
SET synchronous_commit = off;
SELECT status FROM code_take('setting-1');
SHOW synchronous_commit;
ALTER FUNCTION code_take(text) SET synchronous_commit = on;
SELECT pg_current_wal_insert_lsn() AS before \gset
SELECT status FROM code_take('setting-2');
SELECT pg_current_wal_flush_lsn() > :'before' AS flushed;
SHOW synchronous_commit;
ALTER FUNCTION code_take(text) RESET ALL;
RESET synchronous_commit;
TRUNCATE authorizations;
