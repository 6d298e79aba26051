-- Where no tokens may be sent code_complete raises an error, and its transaction cannot commit. A savepoint before it keeps the rest.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
CREATE TABLE tokens (jti text);
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{live,expired,closed,closed and marked,replayed,taken again,reused,revoked by take,family revoked,hash revoked,redeemed and revoked}'::text[]) h;
SET attesto_codes.codes_survive_crash = off;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{spent by a crash,spent before a crash}'::text[]) h;
RESET attesto_codes.codes_survive_crash;
SELECT status, count(*) FROM unnest('{replayed,taken again,reused,family revoked,hash revoked,redeemed and revoked,spent before a crash}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT status, reason, count(*) FROM unnest('{closed,closed and marked}'::text[]) h, code_redeem(h, 'd', 'r') GROUP BY 1, 2;
SELECT code_mark_consumed('closed and marked'), code_complete('reused'), code_complete('redeemed and revoked');
SELECT status, reason FROM code_redeem('replayed', 'c', 'r');
SELECT status FROM code_take('taken again');
SELECT status FROM code_take('reused');
SELECT code_revoke_family(f) FROM unnest('{f of revoked by take,f of family revoked,hash revoked,redeemed and revoked}'::text[]) f;
SELECT status FROM code_take('revoked by take');
UPDATE authorizations SET expires_at = '2000-01-01' WHERE code_hash = 'expired';
TRUNCATE authorization_runs;
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
CREATE TEMP TABLE state_before AS TABLE state;
CREATE FUNCTION pg_temp.complete(h text, jti text, OUT code text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
  message := code_complete(h, jti, 4102444800, '{"n": 1}');
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END $$;
SELECT h, c.* FROM (SELECT code_hash AS h FROM authorizations UNION ALL SELECT 'unknown' ORDER BY 1) codes, pg_temp.complete(h, 'j of ' || h) c;
-- Without a token, too.
SELECT h, c.code FROM (SELECT code_hash AS h FROM authorizations UNION ALL SELECT 'unknown' ORDER BY 1) codes, pg_temp.complete(h, NULL) c;
-- Nothing is left of them.
SELECT count(*) FROM authorization_access_tokens;
SELECT * FROM state EXCEPT TABLE state_before;
SELECT count(*), bool_and(b.place = a.ctid AND b.writer = a.xmin) AS same_version FROM before b JOIN authorizations a USING (code_hash);

-- As a client sees them.
SELECT code_complete('live');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('closed');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('replayed');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('family revoked', 'j', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('unknown');
\echo :LAST_ERROR_SQLSTATE
-- The live one is still live, and can be redeemed.
SELECT count(*) AS live FROM code_get('live');

-- The transaction that stores the tokens does not commit.
BEGIN;
INSERT INTO tokens VALUES ('lost');
SELECT code_complete('replayed', 'j', 4102444800);
COMMIT;
SELECT count(*) FROM tokens;
-- A savepoint before both keeps what came before; it takes the tokens back.
BEGIN;
INSERT INTO tokens VALUES ('kept');
SAVEPOINT a;
INSERT INTO tokens VALUES ('lost');
SELECT code_complete('family revoked', 'j', 4102444800);
ROLLBACK TO a;
COMMIT;
SELECT * FROM tokens;
SELECT count(*) FROM authorization_access_tokens;

-- A code of the transaction itself: put and not presented, closed, replayed, of a family that it revokes.
BEGIN;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'own f'), 4102444800)) FROM unnest('{own live,own closed,own replayed}'::text[]) h;
SELECT code_put('own revoked', :'grant'::jsonb || '{"family_id": "own g"}', 4102444800);
SELECT status FROM code_redeem('own closed', 'd', 'r');
SELECT status FROM code_redeem('own replayed', 'c', 'r');
SELECT status FROM code_redeem('own replayed', 'c', 'r', meta => '{}');
SELECT status FROM code_redeem('own revoked', 'c', 'r');
SELECT code_revoke_family('own g');
SELECT h, c.code, c.detail FROM unnest('{own live,own closed,own replayed,own revoked}'::text[]) h, pg_temp.complete(h, 'j of ' || h) c;
ROLLBACK;
-- A revocation that is rolled back does not count.
SELECT code_put('not revoked', :'grant', 4102444800);
SELECT status FROM code_redeem('not revoked', 'c', 'r');
BEGIN;
SELECT code_revoke_family('not revoked');
ROLLBACK;
SELECT code_complete('not revoked', 'j', 4102444800);
DROP TABLE tokens;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
