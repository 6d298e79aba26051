-- code_access_token_revoked and code_family_revoked write nothing, whatever they answer: no transaction id, no row lock, the readers' lock only. A token that is not stored
-- is looked for twice, and its family is looked for once where the token is valid and not stored revoked.
SELECT code_record_access_token('f', 'revoked', 4102444800), code_record_access_token('g', 'valid', 4102444800), code_record_access_token('f', 'expired', 1);
SELECT code_revoke_family('f');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, t.* FROM authorization_access_tokens t;
CREATE TEMP VIEW scans AS
  SELECT idx_scan AS keys, (SELECT sum(idx_scan) FROM pg_stat_xact_user_tables WHERE relname ~ '^authorization') AS index, seq_scan AS seq
  FROM pg_stat_xact_user_tables WHERE relid = 'authorization_access_tokens'::regclass;
BEGIN;
SELECT keys, index, seq FROM scans \gset
SELECT jti, code_access_token_revoked(jti) FROM unnest(ARRAY['revoked', 'valid', 'expired', 'never recorded']) jti;
SELECT keys - :keys AS probes_of_the_table, index - :index AS probes, seq - :seq AS sequential FROM scans;
SELECT keys AS keys, index AS index FROM scans \gset
SELECT family_id, code_family_revoked(family_id) FROM unnest(ARRAY['f', 'g', 'never revoked']) family_id;
SELECT keys - :keys AS probes_of_the_table, index - :index AS probes, seq - :seq AS sequential FROM scans;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND relation::regclass::text ~ '^authorization_' ORDER BY relation::regclass::text COLLATE "C";
COMMIT;
SELECT jti, b.* IS NOT DISTINCT FROM (t.ctid, t.xmin, t.xmax, t.*)::before AS untouched
FROM before b FULL JOIN authorization_access_tokens t USING (jti) ORDER BY jti;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
