-- code_inspect shows any stored code, and its state, without presenting it.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f", "later": [null]}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{live,spent,replayed,redeemed,reused,named,revoked,expired}'::text[]) h;
UPDATE authorizations SET expires_at = '2000-01-01' WHERE code_hash = 'expired';
SELECT status, count(*) FROM unnest('{spent,replayed,redeemed,reused,named}'::text[]) h, code_take(h) GROUP BY 1;
SELECT status FROM code_take('replayed');
SELECT code_mark_consumed('redeemed'), code_mark_consumed('reused', '{"n": 1}'), code_mark_consumed('named', '{"family_id": null, "subject": "other", "n": 2}');
SELECT status FROM code_take('reused');
SELECT code_revoke_family('f');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
SELECT * FROM code_inspect('live');
SELECT h, status, data = :'grant'::jsonb || '{"scope": [], "claims": {}, "resource": [], "nonce": null, "dpop_jkt": null, "code_challenge": null, "code_challenge_method": null}' AS whole,
  expires_at, i.meta FROM unnest('{live,spent,replayed,redeemed,reused,named,revoked,expired}'::text[]) WITH ORDINALITY codes(h, n), code_inspect(h) i ORDER BY n;
SELECT count(*) FROM code_inspect('unknown');
-- The same meta as a take tells.
SELECT h, i.meta = t.meta AS same FROM unnest('{reused,named,redeemed}'::text[]) h, code_inspect(h) i, code_take(h) t;

-- Nothing is written, locked or counted, in a READ ONLY transaction either.
BEGIN READ ONLY;
SELECT h, status FROM unnest('{live,spent,reused}'::text[]) h, code_inspect(h);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT relation::regclass, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text ~ '^authorization' ORDER BY relation::regclass::text COLLATE "C";
COMMIT;
SELECT code_hash, b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before AS untouched
FROM before b FULL JOIN authorizations a USING (code_hash) WHERE code_hash NOT IN ('redeemed', 'named') ORDER BY code_hash;

-- What this transaction has done counts: its own put, take and mark, and a take that was rolled back to a savepoint.
TRUNCATE authorizations, authorization_revoked_families;
SELECT code_put('h', :'grant', 4102444800);
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SELECT h, status FROM unnest('{h,own}'::text[]) h, code_inspect(h);
SAVEPOINT a;
SELECT h, status FROM unnest('{h,own}'::text[]) h, code_take(h);
SELECT h, status FROM unnest('{h,own}'::text[]) h, code_inspect(h);
SELECT code_mark_consumed(h) FROM unnest('{h,own}'::text[]) h;
SELECT h, status, i.meta FROM unnest('{h,own}'::text[]) h, code_inspect(h) i;
ROLLBACK TO a;
SELECT h, status, i.meta FROM unnest('{h,own}'::text[]) h, code_inspect(h) i;
COMMIT;
SELECT h, status FROM unnest('{h,own}'::text[]) h, code_inspect(h);
SET attesto_codes.take_in_transaction = join;
SELECT code_put('joined', :'grant', 4102444800);
BEGIN;
SELECT status FROM code_take('joined');
SELECT status FROM code_inspect('joined');
ROLLBACK;
SELECT status FROM code_inspect('joined');
RESET attesto_codes.take_in_transaction;
-- Whatever snapshot the transaction holds.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM authorizations;
SELECT status FROM code_take('joined');
SELECT status FROM code_inspect('joined');
COMMIT;

-- A code that a crash has spent.
SET attesto_codes.codes_survive_crash = off;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{of a run,redeemed of a run}'::text[]) h;
RESET attesto_codes.codes_survive_crash;
SELECT status FROM code_take('redeemed of a run');
SELECT code_mark_consumed('redeemed of a run');
SELECT status FROM code_inspect('of a run');
TRUNCATE authorization_runs;
SELECT h, status FROM unnest('{of a run,redeemed of a run}'::text[]) h, code_inspect(h);
SELECT consumed_at IS NULL AS not_written FROM authorizations WHERE code_hash = 'of a run';

-- Arguments, and a row that the extension would never write.
SELECT * FROM code_inspect(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_inspect('');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_inspect(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
UPDATE authorizations SET cnf = '[]' WHERE code_hash = 'h';
SELECT * FROM code_inspect('h');
\echo :LAST_ERROR_SQLSTATE

-- The function, and no right on the table, is what a role needs; code_get is not enough.
CREATE ROLE regress_reader;
GRANT EXECUTE ON FUNCTION code_get TO regress_reader;
SET ROLE regress_reader;
SELECT status FROM code_inspect('own');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT EXECUTE ON FUNCTION code_inspect TO regress_reader;
SET ROLE regress_reader;
SELECT status FROM code_inspect('own');
SELECT count(*) FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE ALL ON FUNCTION code_get, code_inspect FROM regress_reader;
DROP ROLE regress_reader;
TRUNCATE authorizations;
