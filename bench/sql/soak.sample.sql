-- One line of soak.csv, but for the latencies.
SELECT round(extract(epoch FROM clock_timestamp()), 3) AS time,
  live + spent + redeemed AS rows, live, spent, redeemed, due, round(oldest_due_age) AS oldest_due_age, families_revoked,
  takes_ok, takes_consumed, takes_error, marks_ok, marks_replayed, marks_missing, reuses, sweeps, rows_swept,
  codes.n_dead_tup AS dead, codes.n_tup_upd AS updates, codes.n_tup_hot_upd AS hot_updates, codes.autovacuum_count AS vacuums,
  tokens.n_live_tup AS tokens, tokens.n_dead_tup AS dead_tokens,
  checkpoints_timed + checkpoints_req AS checkpoints,
  pg_relation_size('authorizations') AS codes_size,
  pg_relation_size('authorizations_pkey') AS codes_pkey_size,
  pg_relation_size('authorizations_sweep') AS codes_sweep_size,
  pg_relation_size('authorization_access_tokens') AS tokens_size,
  pg_relation_size('authorization_access_tokens_pkey') AS tokens_pkey_size,
  pg_relation_size('authorization_access_tokens_family') AS tokens_family_size,
  pg_relation_size('authorization_access_tokens_sweep') AS tokens_sweep_size,
  pg_total_relation_size('authorization_revoked_families') AS families_total_size
FROM code_stats(), pg_stat_bgwriter, pg_stat_user_tables AS codes, pg_stat_user_tables AS tokens
WHERE codes.relname = 'authorizations' AND tokens.relname = 'authorization_access_tokens';
