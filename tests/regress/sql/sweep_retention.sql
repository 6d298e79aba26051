-- attesto_codes.reuse_retention: how long a redeemed code is kept past its expiry, and who may change it.
-- (The library defines it, which a call loads.)
SELECT code_sweep();
SHOW attesto_codes.reuse_retention;
SELECT setting, unit, context, min_val, max_val FROM pg_settings WHERE name = 'attesto_codes.reuse_retention';
CREATE FUNCTION pg_temp.minutes_ago(minutes integer) RETURNS bigint LANGUAGE sql AS $$ SELECT extract(epoch FROM now())::bigint - minutes * 60 $$;
SELECT count(code_put(i::text, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', pg_temp.minutes_ago(i))) FROM generate_series(10, 90, 20) i;
SELECT count(*) FROM generate_series(10, 90, 20) i, code_take(i::text), code_mark_consumed(i::text);
-- (The ten minutes that any spent code is kept are over.)
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
INSERT INTO authorization_revoked_families SELECT now() - make_interval(mins => i), i FROM generate_series(10, 90, 20) i;
CREATE TEMP VIEW left_over AS SELECT (SELECT array_agg(code_hash ORDER BY code_hash) FROM authorizations) AS codes,
  (SELECT array_agg(family_id ORDER BY family_id) FROM authorization_revoked_families) AS families;
SELECT code_sweep();
SELECT * FROM left_over;

-- It is the caller's, and counts for what was retained before, too.
SET attesto_codes.reuse_retention = '80min';
SELECT code_sweep();
SELECT * FROM left_over;
BEGIN;
SET LOCAL attesto_codes.reuse_retention = 3600;
SELECT code_sweep();
ROLLBACK;
SELECT code_sweep();
SELECT * FROM left_over;
\set VERBOSITY sqlstate
SET attesto_codes.reuse_retention = -1;
SET attesto_codes.reuse_retention = '1000000d';
\set VERBOSITY default
SET attesto_codes.reuse_retention = 2147483647;
SELECT code_sweep();
RESET attesto_codes.reuse_retention;

-- A role that may sweep may not shorten it: not in a session, not for itself, not in its connection.
SELECT current_user AS superuser \gset
CREATE ROLE regress_sweeper LOGIN;
GRANT EXECUTE ON FUNCTION code_sweep TO regress_sweeper;
\c - regress_sweeper
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
SET attesto_codes.reuse_retention = 0;
ALTER ROLE regress_sweeper SET attesto_codes.reuse_retention = 0;
SELECT count(*) FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
\c "dbname=regression user=regress_sweeper options='-c attesto_codes.reuse_retention=0'"
SELECT code_sweep();
SHOW attesto_codes.reuse_retention;

-- The administrator sets it for a role or a database.
\c "dbname=regression options=''"
\c - :superuser
ALTER ROLE regress_sweeper SET attesto_codes.reuse_retention = '40min';
\c - regress_sweeper
SELECT code_sweep();
SHOW attesto_codes.reuse_retention;
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
\c - :superuser
SELECT array_agg(code_hash ORDER BY code_hash) FROM authorizations;
SELECT array_agg(family_id ORDER BY family_id) FROM authorization_revoked_families;
-- A revocation is kept for an hour at least, since a transaction that records a token may be open for so long.
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
RESET attesto_codes.reuse_retention;
SELECT * FROM (SELECT (SELECT array_agg(code_hash ORDER BY code_hash) FROM authorizations) AS codes, (SELECT array_agg(family_id ORDER BY family_id) FROM authorization_revoked_families) AS families) left_over;
DELETE FROM authorization_revoked_families;
SELECT count(*) FROM authorizations;
REVOKE EXECUTE ON FUNCTION code_sweep FROM regress_sweeper;
DROP ROLE regress_sweeper;

-- The interval of the sweeps that need shared_preload_libraries is the server's.
SELECT boot_val, unit, context, min_val, max_val FROM pg_settings WHERE name = 'attesto_codes.sweep_interval';
SET attesto_codes.sweep_interval = 0;
