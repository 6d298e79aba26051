-- A sweep is committed whatever becomes of its caller, sees what is committed, and waits for nothing that is held.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
-- Where it waited after all, this test would hang.
SET statement_timeout = '30s';
CREATE PROCEDURE pg_temp.fill() LANGUAGE sql AS $$
  TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
  SELECT count(code_put('code ' || i, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1)) FROM generate_series(1, 3) i;
  SELECT count(code_record_access_token('f', 'token ' || i, 1)) FROM generate_series(1, 2) i;
  INSERT INTO authorization_revoked_families VALUES ('2000-01-01', 'f');
$$;
CREATE TEMP VIEW left_over AS SELECT (SELECT count(*) FROM authorizations) AS codes, (SELECT count(*) FROM authorization_access_tokens) AS tokens,
  (SELECT count(*) FROM authorization_revoked_families) AS families;

CALL pg_temp.fill();
BEGIN;
SELECT code_sweep(4);
ROLLBACK;
SELECT * FROM left_over;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM left_over;
SELECT code_sweep();
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;
SELECT * FROM left_over;
CALL pg_temp.fill();
DO $$
BEGIN
  PERFORM code_sweep();
  RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SELECT * FROM left_over;

-- What the caller wrote itself is not committed: put, deleted, spent, and locked.
CALL pg_temp.fill();
BEGIN;
SELECT code_put('code 4', :'grant', 1);
SELECT code_record_access_token('g', 'token 3', 1);
DELETE FROM authorizations WHERE code_hash = 'code 1';
SELECT status FROM code_take('code 4');
SELECT code_hash FROM authorizations WHERE code_hash = 'code 2' FOR UPDATE;
SELECT jti FROM authorization_access_tokens WHERE jti = 'token 1' FOR KEY SHARE;
SELECT code_sweep();
COMMIT;
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
SELECT code_hash FROM authorizations ORDER BY 1;
SELECT jti FROM authorization_access_tokens ORDER BY 1;
SELECT code_sweep();
SELECT * FROM left_over;

-- A table that is locked is left to the next sweep.
CALL pg_temp.fill();
BEGIN;
LOCK TABLE authorizations IN SHARE MODE;
SELECT code_sweep();
COMMIT;
SELECT * FROM left_over;
BEGIN;
LOCK TABLE authorization_access_tokens IN ACCESS EXCLUSIVE MODE;
SELECT code_sweep();
COMMIT;
SELECT code_sweep();
SELECT * FROM left_over;
RESET statement_timeout;
