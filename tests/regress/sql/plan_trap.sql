-- An index is used for every call, whatever the planner thinks of an empty table or is told: no sequential scan.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
VACUUM ANALYZE authorizations, authorization_access_tokens, authorization_revoked_families;
CREATE TEMP VIEW scans AS SELECT sum(seq_scan) AS seq_scan, sum(seq_tup_read) AS seq_tup_read, min(idx_scan) AS idx_scan FROM pg_stat_xact_user_tables
WHERE relid IN ('authorizations'::regclass, 'authorization_access_tokens'::regclass, 'authorization_revoked_families'::regclass);
-- Plans are made while the table is empty.
PREPARE put AS SELECT code_put($1, $2, $3);
PREPARE get AS SELECT expires_at FROM code_get($1);
PREPARE take AS SELECT status, expires_at FROM code_take($1);
PREPARE mark AS SELECT code_mark_consumed($1);
PREPARE record AS SELECT code_record_access_token($1, $2, $3);
PREPARE revoke AS SELECT code_revoke_family($1);
PREPARE revoked AS SELECT code_access_token_revoked($1);
PREPARE family_revoked AS SELECT code_family_revoked($1);
PREPARE redeem AS SELECT status, reason, expires_at FROM code_redeem($1, 'c', 'r');
PREPARE complete AS SELECT code_complete($1, $2, 4102444800);
PREPARE inspect AS SELECT status, expires_at FROM code_inspect($1);
EXECUTE get('h');
EXECUTE take('h');
EXECUTE mark('h');
EXECUTE inspect('h');
EXECUTE redeem('h');
EXECUTE revoke('of nobody');
EXECUTE revoked('h');
EXECUTE family_revoked('h');
CREATE FUNCTION pg_temp.cycle(name text, n integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE key text; answer text; good bigint := 0;
BEGIN
  FOR i IN 1 .. n LOOP
    key := name || i;
    PERFORM code_put(key, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
    PERFORM code_get(key), code_inspect(key);
    SELECT status INTO answer FROM code_take(key);
    CONTINUE WHEN answer <> 'ok' OR code_mark_consumed(key) <> 'ok';
    SELECT status INTO answer FROM code_take(key);
    CONTINUE WHEN answer <> 'consumed';
    CONTINUE WHEN NOT code_record_access_token(key, key, 4102444800) OR code_access_token_revoked(key);
    CONTINUE WHEN code_family_revoked(key) OR code_revoke_family(key) <> 1 OR NOT code_family_revoked(key) OR NOT code_access_token_revoked(key);
    CONTINUE WHEN code_record_access_token(key, key || '-2', 4102444800) OR NOT code_access_token_revoked(key || '-2');
    -- The protocol: a token, a reuse that revokes, and a completion with meta that names another family.
    key := key || ' of the protocol';
    PERFORM code_put(key, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
    SELECT status INTO answer FROM code_redeem(key, 'c', 'r');
    CONTINUE WHEN answer <> 'ok' OR code_complete(key, key, 4102444800, jsonb_build_object('family_id', key || ' of meta')) <> 'ok';
    SELECT status INTO answer FROM code_redeem(key, 'c', 'r');
    CONTINUE WHEN answer <> 'consumed' OR NOT code_access_token_revoked(key) OR NOT code_family_revoked(key) OR NOT code_family_revoked(key || ' of meta');
    good := good + 1;
  END LOOP;
  RETURN good;
END $$;
SELECT pg_temp.cycle('first', 1);

SET plan_cache_mode = force_generic_plan;
BEGIN;
SELECT seq_scan AS seq, seq_tup_read AS read, idx_scan AS idx FROM scans \gset
SELECT pg_temp.cycle('generic', 200);
EXECUTE put('h', :'grant', 1800000000);
EXECUTE get('h');
EXECUTE take('h');
EXECUTE mark('h');
EXECUTE record('h', 'h', 4102444800);
EXECUTE revoke('h');
EXECUTE revoked('h');
EXECUTE put('hr', :'grant', 4102444800);
EXECUTE redeem('hr');
EXECUTE complete('hr', 'hr');
EXECUTE redeem('hr');
SELECT seq_scan - :seq AS seq_scan, seq_tup_read - :read AS seq_tup_read, idx_scan - :idx >= 400 AS idx_scan FROM scans;
COMMIT;

SET plan_cache_mode = force_custom_plan;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
BEGIN;
SELECT seq_scan AS seq, seq_tup_read AS read, idx_scan AS idx FROM scans \gset
SELECT pg_temp.cycle('custom', 200);
EXECUTE put('i', :'grant', 1800000000);
EXECUTE get('i');
EXECUTE take('i');
EXECUTE mark('i');
EXECUTE record('i', 'i', 4102444800);
EXECUTE revoke('i');
EXECUTE revoked('i');
EXECUTE put('ir', :'grant', 4102444800);
EXECUTE redeem('ir');
EXECUTE complete('ir', 'ir');
EXECUTE redeem('ir');
SELECT seq_scan - :seq AS seq_scan, seq_tup_read - :read AS seq_tup_read, idx_scan - :idx >= 400 AS idx_scan FROM scans;
-- The measure does move.
SELECT count(*) FROM authorizations WHERE code_hash = 'i';
SELECT seq_scan - :seq AS seq_scan FROM scans;
COMMIT;
RESET ALL;
DEALLOCATE ALL;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
