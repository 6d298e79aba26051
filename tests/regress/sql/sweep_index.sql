-- A sweep goes by its indexes, whatever the planner is told; without one it leaves the table alone.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE PROCEDURE pg_temp.fill() LANGUAGE sql AS $$
  TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
  SELECT count(code_put('code ' || i, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}', extract(epoch FROM now())::bigint - 60)) FROM generate_series(1, 30) i;
  UPDATE authorizations SET consumed_at = now(), consumed_success = true, consumed_meta = '{}' WHERE code_hash LIKE '% 1_';
  SELECT count(code_record_access_token('f', 'token ' || i, i)) FROM generate_series(1, 20) i;
  INSERT INTO authorization_revoked_families SELECT '2000-01-01', 'family ' || i FROM generate_series(1, 10) i;
$$;
SELECT format('ALTER DATABASE %I SET %s', current_database(), setting) FROM unnest(ARRAY['enable_indexscan = off', 'enable_bitmapscan = off', 'search_path = pg_temp']) setting \gexec
CALL pg_temp.fill();
-- Counters are those of transactions that were reported, of a process at the latest when it ends.
-- (Major 14 has no way to ask for it. There a session reports when it is idle, and is told
-- what was reported, but neither within half a second of the last time.)
CREATE PROCEDURE pg_temp.report() LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('server_version_num')::int < 150000 THEN PERFORM pg_sleep(0.6);
  ELSE EXECUTE 'SELECT pg_stat_force_next_flush()';
  END IF;
END $$;
CREATE TEMP VIEW scans AS SELECT (SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname ~ '_sweep$') AS by_index,
  (SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname ~ '^authorization') AS sequential;
CALL pg_temp.report();
SELECT by_index, sequential FROM scans \gset before_
SELECT code_sweep();
DO $$
BEGIN
  WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'attesto_codes_sweeper') LOOP
    PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
  END LOOP;
END $$;
CALL pg_temp.report();
SELECT by_index > :before_by_index AS by_index, sequential - :before_sequential AS sequential FROM scans;
-- The measure does move.
SELECT count(*) FROM authorizations;
CALL pg_temp.report();
SELECT sequential - :before_sequential AS sequential FROM scans;
SELECT format('ALTER DATABASE %I RESET %I', current_database(), setting) FROM unnest(ARRAY['enable_indexscan', 'enable_bitmapscan', 'search_path']) setting \gexec

-- Missing, one by one, and back again.
CALL pg_temp.fill();
DROP INDEX authorizations_sweep;
SELECT code_sweep();
SELECT live, redeemed, due FROM code_stats();
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('code 1');
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'code 1';
CREATE INDEX authorizations_sweep ON authorizations (retain_from, expires_at);
-- Without this one nobody knows how long the evidence is needed.
DROP INDEX authorization_access_tokens_family;
SELECT code_sweep();
SELECT count(*) AS redeemed FROM authorizations WHERE consumed_success;
SELECT code_revoke_family('f');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorization_revoked_families;
CREATE INDEX authorization_access_tokens_family ON authorization_access_tokens (family_id, expires_at);
SELECT code_sweep() >= 0 AS answered;
SELECT count(*) AS codes, count(*) FILTER (WHERE consumed_success) AS redeemed FROM authorizations;
SELECT code_revoke_family('f');
-- Without this one nobody knows whether a family is revoked.
DROP INDEX authorization_revoked_families_family;
SELECT code_put('new', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
SELECT status FROM code_take('new');
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked('f');
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'new', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_inspect('new');
SELECT code_sweep();
CREATE INDEX authorization_revoked_families_family ON authorization_revoked_families (family_id);
SELECT status FROM code_take('new');

-- An index of that name that is another one is not trusted.
CREATE PROCEDURE pg_temp.replaces(index text, definition text, call text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER INDEX %I RENAME TO aside', index);
  EXECUTE format('CREATE INDEX %I ON %s', index, definition);
  BEGIN
    EXECUTE 'SELECT ' || call;
    RAISE NOTICE '% trusts %', call, definition;
  EXCEPTION WHEN undefined_table THEN
    RAISE NOTICE '% does not trust %', call, definition;
  END;
  EXECUTE format('DROP INDEX %I', index);
  EXECUTE format('ALTER INDEX aside RENAME TO %I', index);
END $$;
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens (family_id, expires_at)', 'code_revoke_family(''family of 1'')');
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens (expires_at)', 'code_revoke_family(''family of 2'')');
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens (family_id, revoked_at)', 'code_revoke_family(''family of 3'')');
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens (family_id, expires_at, jti)', 'code_revoke_family(''family of 4'')');
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens USING hash (family_id)', 'code_revoke_family(''family of 5'')');
CALL pg_temp.replaces('authorization_access_tokens_family', 'authorization_access_tokens (family_id, expires_at) WHERE revoked_at IS NULL', 'code_revoke_family(''family of 6'')');
CALL pg_temp.replaces('authorization_revoked_families_family', 'authorization_revoked_families (family_id)', 'code_family_revoked(''f'')');
CALL pg_temp.replaces('authorization_revoked_families_family', 'authorization_revoked_families (revoked_at)', 'code_family_revoked(''f'')');
CALL pg_temp.replaces('authorization_revoked_families_family', 'authorization_revoked_families (family_id, revoked_at)', 'code_family_revoked(''f'')');
CALL pg_temp.replaces('authorization_revoked_families_family', 'authorization_revoked_families (family_id) WHERE revoked_at > ''2000-01-01''', 'code_family_revoked(''f'')');
CALL pg_temp.replaces('authorizations_sweep', 'authorizations (code_hash, subject)', '* FROM code_stats()');
CREATE INDEX other ON authorizations (code_hash, subject);
ALTER INDEX authorizations_sweep RENAME TO aside;
ALTER INDEX other RENAME TO authorizations_sweep;
SELECT code_sweep();
\echo :LAST_ERROR_SQLSTATE
DROP INDEX authorizations_sweep;
ALTER INDEX aside RENAME TO authorizations_sweep;
COMMENT ON INDEX authorizations_sweep IS 'Leads code_sweep to the codes that are due.';
COMMENT ON INDEX authorization_revoked_families_family IS 'Leads to the revocations of a family.';
COMMENT ON INDEX authorization_access_tokens_family IS 'Leads code_revoke_family to the tokens of a family, and a sweep to the last of them to expire.';
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
