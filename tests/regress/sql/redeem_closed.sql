-- A code that was live when a presentation failed is closed by it: nobody gets its tokens, and later presentations write and revoke nothing. Who cannot prove that the code was meant for him can burn a live code, but revokes nothing.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}'
\set verifier dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{alone,inside,savepoint,exception,marked}'::text[]) h;
SELECT * FROM code_redeem('alone', 'd', 'r', :'verifier', NULL, '{"n": 1}');
BEGIN;
SELECT status, reason FROM code_redeem('inside', 'c', 'r', 'wrong');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT status, reason FROM code_redeem('savepoint', 'c', 'R', :'verifier');
ROLLBACK TO a;
SELECT status, reason FROM code_redeem('savepoint', 'c', 'r', :'verifier');
COMMIT;
DO $$
BEGIN
  PERFORM code_redeem('exception', 'c', 'r');
  RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SELECT status, reason FROM code_redeem('marked', 'd');
SELECT * FROM state;

-- Nothing is got, and nothing is completed.
SELECT count(*) FROM state, code_get(code_hash);
SELECT code_hash, status, meta FROM state, code_inspect(code_hash);
SELECT code_complete('alone');
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('alone', 'j', 4102444800, '{"n": 2}');
SELECT count(*) FROM authorization_access_tokens;

-- Later presentations, by the right client, by another, by code_take.
CREATE TEMP TABLE closed AS SELECT * FROM version;
SELECT status, reason FROM code_redeem('alone', 'c', 'r', :'verifier');
SELECT status, reason FROM code_redeem('alone', 'd', 'r', :'verifier');
SELECT * FROM code_take('alone');
BEGIN;
SELECT status, reason FROM code_redeem('inside', 'c', 'r', :'verifier');
SELECT status FROM code_take('inside');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT code_hash, v.* IS NOT DISTINCT FROM c.* AS untouched FROM version v JOIN closed c USING (code_hash) ORDER BY 1;

-- A mark answers replayed, and it stays closed.
SELECT code_mark_consumed('marked', '{"family_id": "m"}');
SELECT * FROM state WHERE code_hash = 'marked';
CREATE TEMP TABLE marked AS SELECT * FROM version WHERE code_hash = 'marked';
SELECT * FROM code_redeem('marked', 'c', 'r', :'verifier');
SELECT * FROM code_redeem('marked', 'd', 'r', :'verifier');
SELECT * FROM code_take('marked');
SELECT code_mark_consumed('marked'), code_mark_consumed('marked', '{"n": 2}');
SELECT code_complete('marked');
\echo :LAST_ERROR_SQLSTATE
SELECT v.* IS NOT DISTINCT FROM m.* AS untouched FROM version v JOIN marked m USING (code_hash);
SELECT count(*) FROM authorization_revoked_families;

-- A code that a take has closed because it was revoked is closed for code_redeem, too, and its revocation goes on alone.
SELECT code_put('revoked', :'grant'::jsonb || '{"family_id": "g"}', 4102444800), code_revoke_family('g');
SELECT status FROM code_take('revoked');
SELECT status, reason FROM code_redeem('revoked', 'c', 'r', :'verifier');
SELECT status, reason FROM code_redeem('revoked', 'c', 'r', 'wrong');
SELECT * FROM state WHERE code_hash = 'revoked';
SELECT code_complete('revoked');
TRUNCATE authorizations, authorization_revoked_families;
