-- Large families and many families: each token is revoked and counted once.
SELECT code_record_access_token('large', 'l' || i, 4102444800 - i % 7), count(*) FROM generate_series(1, 10000) i GROUP BY 1;
SELECT code_record_access_token('f' || i % 1000, 's' || i, 4102444800), count(*) FROM generate_series(1, 5000) i GROUP BY 1;
SELECT code_revoke_family('large');
SELECT code_revoke_family('large');
SELECT family_id = 'large' AS large, code_access_token_revoked(jti) AS revoked, count(*) FROM authorization_access_tokens GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM generate_series(1, 10000) i WHERE code_access_token_revoked('l' || i);
SELECT sum(code_revoke_family('f' || i)) FROM generate_series(0, 499) i;
SELECT count(*) FROM generate_series(1, 5000) i WHERE code_access_token_revoked('s' || i) <> (i % 1000 < 500);
-- Some of them are stored revoked, the others are revoked by their family.
SELECT code_record_access_token('large', 'm' || i, 4102444800), count(*) FROM generate_series(1, 100) i GROUP BY 1;
SELECT revoked_at IS NOT NULL AS stored, code_access_token_revoked(jti) AS revoked, count(*) FROM authorization_access_tokens WHERE family_id = 'large' GROUP BY 1, 2 ORDER BY 1;
DELETE FROM authorization_revoked_families WHERE family_id = 'large';
SELECT revoked_at IS NOT NULL AS stored, code_access_token_revoked(jti) AS revoked, count(*) FROM authorization_access_tokens WHERE family_id = 'large' GROUP BY 1, 2 ORDER BY 1;
SELECT code_revoke_family('large');
SELECT count(*) FROM authorization_revoked_families;
TRUNCATE authorization_access_tokens, authorization_revoked_families;

-- All in one transaction: it holds neither a lock nor memory for each of them.
BEGIN;
SELECT sum(total_bytes) AS memory FROM pg_backend_memory_contexts \gset
SELECT count(*), count(*) FILTER (WHERE code_record_access_token('f' || i % 10000, 't' || i, 4102444800)) AS valid FROM generate_series(1, 100000) i;
SELECT count(*), sum(code_revoke_family('f' || i)) AS revoked FROM generate_series(0, 9999) i;
SELECT count(*) FILTER (WHERE code_record_access_token('f' || i % 10000, 'u' || i, 4102444800)) AS valid FROM generate_series(1, 10000) i;
SELECT count(*) < 20 AS few_locks FROM pg_locks WHERE pid = pg_backend_pid();
SELECT sum(total_bytes) - :memory < 8000000 AS little_memory FROM pg_backend_memory_contexts;
COMMIT;
SELECT code_access_token_revoked(jti) AS revoked, revoked_at IS NOT NULL AS stored, count(*) FROM authorization_access_tokens GROUP BY 1, 2 ORDER BY 2;
SELECT count(*) FROM authorization_revoked_families;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
