-- code_redeem in the transaction that put or marked the code: everything shares its fate. A savepoint between the two takes nothing back.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
-- Rolled back, nothing remains; committed, everything does.
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SELECT status, reason FROM code_redeem('own', 'c', 'r');
SELECT code_complete('own', 'j', 4102444800);
SELECT status, reason FROM code_redeem('own', 'c', 'r');
SELECT * FROM state;
SELECT code_access_token_revoked('j');
ROLLBACK;
SELECT count(*) FROM authorizations;
SELECT count(*) FROM authorization_revoked_families;
BEGIN;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{own,own closed,own replayed,own with meta}'::text[]) h;
SELECT status, reason FROM code_redeem('own', 'c', 'r');
SELECT code_complete('own', 'j', 4102444800);
SELECT status, reason FROM code_redeem('own closed', 'd', 'r');
SELECT status, reason FROM code_redeem('own closed', 'c', 'r');
SELECT status, reason FROM code_redeem('own replayed', 'c', 'r');
SELECT status, reason FROM code_redeem('own replayed', 'c', 'r');
SELECT status, reason FROM code_redeem('own with meta', 'c', 'r', meta => '{"family_id": "m"}');
SELECT status, reason FROM code_redeem('own with meta', 'c', 'r', meta => '{"family_id": "n"}');
COMMIT;
SELECT * FROM state;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- What was rolled back to a savepoint counts, for the transaction and after it: a wrong presentation and then a right one,
BEGIN;
SELECT code_put('wrong right', :'grant', 4102444800);
SAVEPOINT a;
SELECT status, reason FROM code_redeem('wrong right', 'd', 'r');
ROLLBACK TO a;
SELECT status, reason FROM code_redeem('wrong right', 'c', 'r');
COMMIT;
-- by code_take,
BEGIN;
SELECT code_put('wrong taken', :'grant', 4102444800);
SAVEPOINT a;
SELECT status, reason FROM code_redeem('wrong taken', 'd', 'r');
ROLLBACK TO a;
SELECT status FROM code_take('wrong taken');
COMMIT;
-- nothing at all, a mark, and a completion;
BEGIN;
SELECT code_put('wrong', :'grant', 4102444800), code_put('wrong marked', :'grant', 4102444800), code_put('wrong completed', :'grant', 4102444800);
SAVEPOINT a;
SELECT h, status, reason FROM unnest('{wrong,wrong marked,wrong completed}'::text[]) h, code_redeem(h, 'd', 'r');
ROLLBACK TO a;
SELECT h, status FROM unnest('{wrong,wrong marked,wrong completed}'::text[]) h, code_inspect(h);
SELECT code_mark_consumed('wrong marked');
SAVEPOINT b;
SELECT code_complete('wrong completed');
ROLLBACK TO b;
COMMIT;
-- a right one and then a wrong one, another right one, a mark, a completion;
BEGIN;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{right,right wrong,right right,right marked,right completed,right with meta,right with meta completed}'::text[]) h;
SAVEPOINT a;
SELECT h, status, reason FROM unnest('{right,right wrong,right right,right marked,right completed}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT h, status, reason FROM unnest('{right with meta,right with meta completed}'::text[]) h, code_redeem(h, 'c', 'r', meta => '{"family_id": "m"}');
ROLLBACK TO a;
SELECT h, status, meta FROM unnest('{right,right with meta}'::text[]) h, code_inspect(h);
SELECT status, reason FROM code_redeem('right wrong', 'd', 'r');
SELECT status, reason FROM code_redeem('right right', 'c', 'r');
SELECT code_mark_consumed('right marked'), code_complete('right completed', 'j1', 4102444800), code_complete('right with meta completed', 'j2', 4102444800);
COMMIT;
-- a replay and a reuse.
BEGIN;
SELECT code_put('replay', :'grant', 4102444800), code_put('replay completed', :'grant', 4102444800), code_put('reuse', :'grant', 4102444800);
SELECT h, status, reason FROM unnest('{replay,replay completed,reuse}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT code_complete('reuse', 'j3', 4102444800);
SAVEPOINT a;
SELECT h, status, reason FROM unnest('{replay,replay completed,reuse}'::text[]) h, code_redeem(h, 'c', 'r');
ROLLBACK TO a;
SAVEPOINT b;
SELECT code_complete('replay completed');
ROLLBACK TO b;
SELECT count(*) AS revocations_so_far FROM authorization_revoked_families;
COMMIT;
SELECT * FROM state;
SELECT code_hash, consumed_meta FROM authorizations WHERE consumed_meta IS NOT NULL ORDER BY 1;
SELECT jti, family_id, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;
-- None of them is live, nor answered ok again.
SELECT count(*) FROM state, code_get(code_hash);
SELECT code_hash, status, reason FROM state, code_redeem(code_hash, 'c', 'r') WHERE status = 'ok';
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- The transaction that marked a code of another: a reuse and its revocations go with the mark.
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{undone,done,released}'::text[]) h;
SELECT h, status FROM unnest('{undone,done,released}'::text[]) h, code_redeem(h, 'c', 'r');
BEGIN;
SELECT code_complete('undone', 'j1', 4102444800);
SELECT status, reason FROM code_redeem('undone', 'c', 'r');
SELECT * FROM state WHERE code_hash = 'undone';
ROLLBACK;
BEGIN;
SELECT code_complete('done', 'j2', 4102444800);
SELECT status, reason FROM code_redeem('done', 'c', 'r');
COMMIT;
BEGIN;
SELECT code_complete('released', 'j3', 4102444800);
SAVEPOINT a;
SELECT status, reason FROM code_redeem('released', 'c', 'r');
ROLLBACK TO a;
COMMIT;
-- So where the code was redeemed before, and the transaction has completed it.
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{redeemed undone,redeemed done}'::text[]) h;
SELECT status, count(*) FROM unnest('{redeemed undone,redeemed done}'::text[]) h, code_redeem(h, 'c', 'r', meta => '{"n": 1}') GROUP BY 1;
BEGIN;
SELECT code_complete('redeemed undone', 'j5', 4102444800);
SELECT status, reason FROM code_redeem('redeemed undone', 'c', 'r');
ROLLBACK;
BEGIN;
SELECT code_complete('redeemed done', 'j6', 4102444800);
SELECT status, reason FROM code_redeem('redeemed done', 'c', 'r');
COMMIT;
-- The savepoint was before the mark: the code is not redeemed, and its reuse has revoked it.
SELECT code_put('mark undone', :'grant', 4102444800);
SELECT status FROM code_redeem('mark undone', 'c', 'r');
BEGIN;
SAVEPOINT a;
SELECT code_complete('mark undone', 'j4', 4102444800);
SELECT status, reason FROM code_redeem('mark undone', 'c', 'r');
ROLLBACK TO a;
SAVEPOINT b;
SELECT code_complete('mark undone', 'j4', 4102444800);
ROLLBACK TO b;
COMMIT;
SELECT code_complete('mark undone', 'j4', 4102444800);
-- By code_take as well, and in the transaction that put the code: the code keeps the note of its replay.
SELECT code_put('mark undone taken', :'grant', 4102444800);
SELECT status FROM code_take('mark undone taken');
BEGIN;
SAVEPOINT a;
SELECT code_complete('mark undone taken', 'j7', 4102444800);
SELECT status FROM code_take('mark undone taken');
ROLLBACK TO a;
COMMIT;
SELECT code_mark_consumed('mark undone taken');
BEGIN;
SELECT code_put('own mark undone', :'grant', 4102444800);
SAVEPOINT a;
SELECT status FROM code_redeem('own mark undone', 'c', 'r');
SELECT code_complete('own mark undone', 'j8', 4102444800);
SELECT status FROM code_redeem('own mark undone', 'c', 'r');
ROLLBACK TO a;
COMMIT;
SELECT * FROM state;
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;
SELECT code_complete('undone', 'j1', 4102444800);
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
