-- A live code that is revoked: its family is, or its hash, which names the family of a code without one. A take answers error, and spends it.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "f"}', 4102444800)) FROM unnest('{live,inside,joined,marked,taken,redeemed}'::text[]) h;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{none,none of this,f}'::text[]) h;
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "g"}', 4102444800)) FROM unnest('{g,by hash}'::text[]) h;
SELECT code_put('expired', :'grant'::jsonb || '{"family_id": "f"}', 1);
SELECT h, status FROM unnest('{taken,redeemed}'::text[]) h, code_take(h);
SELECT code_mark_consumed('redeemed');
SELECT code_revoke_family(f) FROM unnest('{f,none,by hash}'::text[]) f;
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at IS NOT NULL AS replayed, consumed_success AS redeemed FROM authorizations ORDER BY code_hash;

-- Nothing is written before a presentation: these two do not look at revocations.
SELECT expires_at FROM code_get('live');
SELECT status FROM code_inspect('live');
-- The take spends it, and closes it in the same write: nothing is handed out, later ones write nothing, and a mark answers replayed.
SELECT * FROM code_take('live');
SELECT * FROM state WHERE code_hash = 'live';
SELECT consumed_at = replayed_at AS at_once, ctid AS place FROM authorizations WHERE code_hash = 'live' \gset
SELECT :'at_once' AS at_once, count(*) AS got FROM code_get('live');
SELECT * FROM code_take('live');
SELECT ctid = :'place' AS as_it_was FROM authorizations WHERE code_hash = 'live';
SELECT code_mark_consumed('live');
SELECT status FROM code_take('live');
SELECT status FROM code_take('marked');
SELECT code_mark_consumed('marked');
SELECT * FROM state WHERE code_hash = 'marked';
-- Also inside a transaction that is rolled back, and where the code has expired. Where the take is part of the transaction, it shares its fate.
BEGIN;
SELECT * FROM code_take('inside');
ROLLBACK;
SELECT * FROM code_take('expired');
SET attesto_codes.take_in_transaction = join;
BEGIN;
SELECT * FROM code_take('joined');
ROLLBACK;
RESET attesto_codes.take_in_transaction;
SELECT * FROM state WHERE code_hash IN ('inside', 'expired', 'joined');
SELECT * FROM code_take('joined');
-- By its hash: a code without a family, and one of a family that is not revoked.
SELECT h, status FROM unnest('{none,none of this,by hash}'::text[]) WITH ORDINALITY codes(h, n), code_take(h) ORDER BY n;
-- A code whose hash is the name of a revoked family is named by it; one of another family is not revoked.
SELECT h, status FROM unnest('{f,g}'::text[]) h, code_take(h);
-- Codes that are spent or redeemed go on as they were.
SELECT code_mark_consumed('taken');
SELECT h, status, meta FROM unnest('{taken,redeemed}'::text[]) h, code_take(h);

-- The code of the transaction that revokes it, and a revocation that is rolled back.
BEGIN;
SELECT code_put('own', :'grant'::jsonb || '{"family_id": "own"}', 4102444800), code_revoke_family('own');
SELECT status FROM code_take('own');
COMMIT;
SELECT * FROM state WHERE code_hash = 'own';
BEGIN;
SELECT code_put('own, undone', :'grant'::jsonb || '{"family_id": "own"}', 4102444800), code_put('own, marked', :'grant'::jsonb || '{"family_id": "own"}', 4102444800);
SAVEPOINT a;
SELECT h, status FROM unnest('{"own, undone","own, marked"}'::text[]) h, code_take(h);
ROLLBACK TO a;
SELECT h, status FROM unnest('{"own, undone","own, marked"}'::text[]) h, code_inspect(h);
SELECT code_mark_consumed('own, marked');
COMMIT;
SELECT * FROM state WHERE code_hash LIKE 'own, %';
SELECT code_put('later', :'grant'::jsonb || '{"family_id": "later"}', 4102444800);
BEGIN;
SELECT code_revoke_family('later');
ROLLBACK;
SELECT status FROM code_take('later');
-- A code that is put for a revoked family is revoked, too.
SELECT code_put('late', :'grant'::jsonb || '{"family_id": "f"}', 4102444800);
SELECT status FROM code_take('late');
-- A crash has spent it before: nothing is written.
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('of a run', :'grant'::jsonb || '{"family_id": "f"}', 4102444800);
RESET attesto_codes.codes_survive_crash;
TRUNCATE authorization_runs;
SELECT status FROM code_take('of a run');
SELECT * FROM state WHERE code_hash = 'of a run';
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
