-- Above 4096 blocks code_stats counts a part of the table, and says so; it reads no more of a larger one.
ALTER TABLE authorizations SET (fillfactor = 10, autovacuum_enabled = off);
CREATE TEMP VIEW blocks AS SELECT pg_relation_size('authorizations') / current_setting('block_size')::bigint AS blocks;
CREATE PROCEDURE pg_temp.fill(first integer, last integer) LANGUAGE sql AS $$
  INSERT INTO authorizations (expires_at, inserted_at, consumed_at, consumed_success, code_hash, client_id, subject, redirect_uri, scope, resource, claims, consumed_meta)
  SELECT CASE WHEN i % 5 = 0 THEN now() - interval '1 hour' ELSE '2100-01-01' END, now(), CASE WHEN i % 2 = 0 THEN now() - interval '2 hours' END, i % 4 = 0, i, 'c', 's', 'r', '{}', '{}', '{}',
    CASE WHEN i % 4 = 0 THEN '{}'::jsonb END
  FROM generate_series(first, last) i $$;
CALL pg_temp.fill(1, 10000);
SELECT blocks < 4096 AS small FROM blocks;
SELECT live, spent, redeemed, due, round(oldest_due_age / 3600) AS hours, sampled FROM code_stats();
CALL pg_temp.fill(10001, 60000);
SELECT blocks > 2 * 4096 AS large FROM blocks;
SELECT sampled, abs(live - 30000) < 3000 AS live, abs(spent - 15000) < 1500 AS spent, abs(redeemed - 15000) < 1500 AS redeemed, abs(due - 12000) < 1200 AS due,
  round(oldest_due_age / 3600) AS hours FROM code_stats();
-- Blocks that were read, of all that it asked for; and at most one for each of the first 10000 that are due.
CREATE TEMP VIEW read AS SELECT pg_stat_get_xact_blocks_fetched('authorizations'::regclass) AS blocks;
BEGIN;
SELECT blocks AS before FROM read \gset
SELECT sampled FROM code_stats();
SELECT blocks - :before BETWEEN 3700 AND 4500 + 10100 AS bounded FROM read;
COMMIT;
ALTER TABLE authorizations RESET (fillfactor, autovacuum_enabled);
TRUNCATE authorizations;
