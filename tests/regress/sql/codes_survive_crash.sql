-- attesto_codes.codes_survive_crash = off: codes belong to the run of the server in which they are put, and live no longer.
CREATE EXTENSION IF NOT EXISTS attesto_codes;
SELECT current_user AS superuser \gset
CREATE FUNCTION pg_temp.put(name text) RETURNS void LANGUAGE sql AS $$
  SELECT code_put(name, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}', 1800000000) $$;

-- By default they survive, and there is no run.
SELECT pg_temp.put('survives');
SHOW attesto_codes.codes_survive_crash;
SELECT run FROM authorizations WHERE code_hash = 'survives';
SELECT count(*) FROM authorization_runs;

-- A run that was rolled back is none.
SET attesto_codes.codes_survive_crash = off;
BEGIN;
SELECT pg_temp.put('crash-undone');
SELECT status FROM code_take('crash-undone');
ROLLBACK;
BEGIN;
SAVEPOINT one;
SELECT pg_temp.put('crash-undone');
ROLLBACK TO one;
SELECT pg_temp.put('crash-1');
COMMIT;

-- All codes of a run have one, in other sessions and transactions, too.
SELECT pg_temp.put('crash-' || i) FROM generate_series(2, 7) i;
\c -
SET attesto_codes.codes_survive_crash = off;
CREATE FUNCTION pg_temp.put(name text) RETURNS void LANGUAGE sql AS $$
  SELECT code_put(name, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}', 1800000000) $$;
SELECT pg_temp.put('crash-8');
SELECT count(*) AS codes, count(DISTINCT run) AS runs, bool_and(length(run) = 11) AS named FROM authorizations WHERE code_hash LIKE 'crash-%';
SELECT count(*) AS runs, bool_and(run IN (SELECT a.run FROM authorizations a)) AS theirs FROM authorization_runs;

-- While it lasts they are codes like any other.
SELECT data ->> 'subject' AS subject FROM code_get('crash-1');
SELECT status, data ->> 'family_id' AS family_id FROM code_take('crash-1');
SELECT code_mark_consumed('crash-1');
SELECT status, meta FROM code_take('crash-1');
BEGIN;
SELECT status FROM code_take('crash-2');
ROLLBACK;
SELECT status FROM code_take('crash-2');
SELECT code_mark_consumed('crash-2');
SELECT code_mark_consumed('crash-3');
SELECT status FROM code_take('crash-4');

-- When it is over, as after a crash, which empties the table, none of them is live.
DELETE FROM authorization_runs;
\c -
SELECT code_hash, status FROM generate_series(1, 7) i, concat('crash-', i) code_hash, code_take(code_hash) ORDER BY 1;
SELECT count(*) FROM generate_series(1, 8) i, code_get('crash-' || i);
-- A take that was lost, and so perhaps a replay. What was redeemed before stays as it was.
SELECT name, code_mark_consumed('crash-' || name) FROM unnest('{1,2,4,5,5,6}'::text[]) name;
SELECT code_hash, status FROM generate_series(1, 6) i, concat('crash-', i) code_hash, code_take(code_hash) ORDER BY 1;
SELECT code_hash, consumed_at IS NOT NULL AS spent, consumed_success AS redeemed, replayed_at IS NOT NULL AS replayed
FROM authorizations WHERE code_hash LIKE 'crash-%' ORDER BY 1;
SELECT status FROM code_take('survives');

-- The next code begins the next run.
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('crash-9', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
SELECT count(DISTINCT run) AS runs FROM authorizations WHERE code_hash IN ('crash-7', 'crash-9');
SELECT status FROM code_take('crash-9');

-- A table that a crash would not empty is not used.
\c -
SET attesto_codes.codes_survive_crash = off;
ALTER TABLE authorization_runs SET LOGGED;
SELECT code_put('crash-10', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
\echo :LAST_ERROR_SQLSTATE
ALTER TABLE authorization_runs SET UNLOGGED;

-- It takes a superuser to change it.
CREATE ROLE regress_issuer LOGIN;
GRANT EXECUTE ON FUNCTION code_put(text, jsonb, bigint) TO regress_issuer;
SET SESSION AUTHORIZATION regress_issuer;
SET attesto_codes.codes_survive_crash = on;
RESET SESSION AUTHORIZATION;
-- For a role it is set by one, and the role needs no right on the tables.
ALTER ROLE regress_issuer SET attesto_codes.codes_survive_crash = off;
\c - regress_issuer
SELECT code_put('crash-11', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
TABLE authorization_runs;
\c - :superuser
SELECT run IS NOT NULL AS of_a_run FROM authorizations WHERE code_hash = 'crash-11';
REVOKE EXECUTE ON FUNCTION code_put(text, jsonb, bigint) FROM regress_issuer;
DROP ROLE regress_issuer;
DELETE FROM authorizations WHERE code_hash LIKE 'crash-%' OR code_hash = 'survives';
