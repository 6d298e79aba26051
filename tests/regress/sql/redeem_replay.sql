-- A replay and a reuse by code_redeem are noted and revoke the names of the code, where the presenter proves what the grant asks for. code_take notes, and leaves the revocation to its caller; a later code_redeem makes up for it.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f' || h), 4102444800)) FROM unnest('{1,2,3,4,5,6}'::text[]) h;
SELECT status, count(*) FROM unnest('{1,2,3,4,5,6}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT code_complete(h, 'j' || h, 4102444800), count(*) FROM unnest('{4,5,6}'::text[]) h GROUP BY 1;
-- Who fails a check leaves no trace: of a spent code, of a redeemed one.
CREATE TEMP TABLE before AS SELECT * FROM version;
SELECT h, status, reason FROM unnest('{1,4}'::text[]) h, unnest('{r,R}'::text[]) redirect_uri, code_redeem(h, 'd', redirect_uri);
SELECT status, reason FROM code_redeem('1', 'c');
SELECT status, reason FROM code_redeem('4', 'c', 'r', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk');
BEGIN;
SELECT status, reason FROM code_redeem('4', 'c', 'R');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT bool_and(v.* IS NOT DISTINCT FROM b.*) AS untouched, count(*) FROM version v JOIN before b USING (code_hash);
SELECT count(*) FROM authorization_revoked_families;
SELECT code_complete('1', 'j1', 4102444800), code_complete('4');

-- Who proves it: noted, and all names revoked, as a statement of its own and in a transaction that does not commit.
SELECT status, reason FROM code_redeem('2', 'c', 'r');
SELECT status, reason, meta FROM code_redeem('4', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('3', 'c', 'r');
SELECT status, reason, meta FROM code_redeem('5', 'c', 'r');
ROLLBACK;
SELECT * FROM state;
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;
SELECT code_complete('2', 'j2', 4102444800);
SELECT code_mark_consumed('3');

-- Noted by code_take: its caller revokes, or the next code_redeem that proves it.
SELECT status FROM code_take('1');
SELECT status FROM code_take('6');
SELECT code_put('7', :'grant'::jsonb || '{"family_id": "f7"}', 4102444800);
SELECT status FROM generate_series(1, 2) i, code_take(left('7', 100 + i));
SELECT * FROM state WHERE code_hash IN ('1', '6', '7');
SELECT status, reason FROM code_redeem('1', 'd', 'r');
SELECT status, reason FROM code_redeem('7', 'd', 'r');
SELECT * FROM state WHERE code_hash IN ('1', '6', '7');
SELECT status, reason FROM code_redeem('1', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('6', 'c', 'r');
SELECT status, reason FROM code_redeem('7', 'c', 'r');
ROLLBACK;
SELECT * FROM state WHERE code_hash IN ('1', '6', '7');
-- A name whose revocation is gone is revoked again; and one that is there is not.
DELETE FROM authorization_revoked_families WHERE family_id = 'f6';
SELECT status, reason FROM code_redeem('6', 'c', 'r');
SELECT family_id, count(*) FROM authorization_revoked_families WHERE family_id ~ '6' GROUP BY 1 ORDER BY 1;
-- A revocation of the caller's own transaction, which is undone, does not stand in for it.
SELECT code_put('8', :'grant'::jsonb || '{"family_id": "f8"}', 4102444800);
SELECT status FROM generate_series(1, 2) i, code_take(left('8', 100 + i));
BEGIN;
SELECT code_revoke_family('f8'), code_revoke_family('8');
SELECT status, reason FROM code_redeem('8', 'c', 'r');
ROLLBACK;
SELECT * FROM state WHERE code_hash = '8';
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
