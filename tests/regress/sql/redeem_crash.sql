-- Codes that belong to a run of the server: code_redeem and code_complete while it lasts, and after the crash that ends it.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SET attesto_codes.codes_survive_crash = off;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{live,live completed,spent,spent completed,redeemed,reused,closed,replayed,expired,wrong,inside}'::text[]) h;
RESET attesto_codes.codes_survive_crash;
SELECT h, status FROM unnest('{spent,spent completed,redeemed,reused,replayed}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT status, reason FROM code_redeem('closed', 'd', 'r');
SELECT status, reason FROM code_redeem('replayed', 'c', 'r');
SELECT code_complete('redeemed', 'j1', 4102444800), code_complete('reused', 'j2', 4102444800);
-- The revocation is flushed, though the spend need not be.
SET synchronous_commit = off;
SELECT pg_current_wal_insert_lsn() AS before \gset
SELECT status, reason FROM code_redeem('reused', 'c', 'r');
SELECT pg_current_wal_flush_lsn() > :'before' AS flushed;
RESET synchronous_commit;
SELECT * FROM state;

-- After the crash: those that it has spent are closed, and nothing is written or revoked, whoever presents them.
TRUNCATE authorization_runs;
\c -
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
SELECT status, reason FROM code_redeem('live', 'c', 'r');
SELECT status, reason FROM code_redeem('live', 'c', 'r', meta => '{"family_id": "m"}');
SELECT status, reason FROM code_redeem('wrong', 'd', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('inside', 'c', 'r');
ROLLBACK;
SELECT code_complete('live');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('live completed', 'j3', 4102444800);
SELECT count(*), bool_and(b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before) AS untouched FROM before b JOIN authorizations a USING (code_hash) WHERE code_hash IN ('live', 'live completed', 'wrong', 'inside');
-- Nor does the expiry of one matter.
UPDATE authorizations SET expires_at = '2000-01-01' WHERE code_hash = 'expired';
SELECT status, reason FROM code_redeem('expired', 'c', 'r');
-- What was spent before may have been replayed before, and that lost: no tokens.
SELECT code_complete('spent completed', 'j4', 4102444800);
-- What was redeemed before goes on: its completion is repeated, its reuse revokes.
SELECT code_complete('redeemed', 'j1', 4102444800);
SELECT status, reason, meta FROM code_redeem('redeemed', 'c', 'r');
SELECT status, reason FROM code_redeem('closed', 'c', 'r');
SELECT * FROM state;
-- A mark closes a code that a crash has spent, and it stays closed.
SELECT code_mark_consumed('live'), code_mark_consumed('wrong');
SELECT h, status, reason FROM unnest('{live,wrong}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT code_complete('live');
SELECT * FROM state WHERE code_hash IN ('live', 'wrong');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
