-- take_in_transaction = join: the spend, the close, the mark, the note and the revocation of code_redeem share the fate of the transaction.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{spend,close,mark,replay,reuse,revoke}'::text[]) h;
SELECT h, status FROM unnest('{replay,reuse,revoke}'::text[]) WITH ORDINALITY codes(h, n), code_redeem(h, 'c', 'r') ORDER BY n;
SELECT code_complete('reuse', 'j', 4102444800);
SELECT status FROM code_take('revoke');
SET attesto_codes.take_in_transaction = join;
CREATE FUNCTION pg_temp.present() RETURNS TABLE (h text, status text, reason text) LANGUAGE sql AS $$
  SELECT h, status, reason FROM (VALUES (1, 'spend', 'c', NULL::jsonb), (2, 'close', 'd', NULL), (3, 'mark', 'c', '{"n": 1}'), (4, 'replay', 'c', NULL), (5, 'reuse', 'c', NULL), (6, 'revoke', 'c', NULL)) t(n, h, client, meta),
    code_redeem(h, client, 'r', NULL, NULL, t.meta) ORDER BY n $$;
CREATE TEMP TABLE before AS SELECT * FROM state;
BEGIN;
SELECT * FROM pg_temp.present();
SELECT * FROM state;
SELECT code_access_token_revoked('j');
ROLLBACK;
SELECT * FROM state EXCEPT TABLE before;
BEGIN;
SAVEPOINT a;
SELECT * FROM pg_temp.present();
ROLLBACK TO a;
COMMIT;
SELECT * FROM state EXCEPT TABLE before;
SELECT code_access_token_revoked('j');
BEGIN;
SELECT * FROM pg_temp.present();
COMMIT;
SELECT * FROM state;
SELECT code_access_token_revoked('j');
-- A statement of its own has nothing to share.
SELECT code_put('alone', :'grant', 4102444800);
SELECT status FROM code_redeem('alone', 'c', 'r');
SELECT status, reason FROM code_redeem('alone', 'c', 'r');
SELECT * FROM state WHERE code_hash = 'alone';
RESET attesto_codes.take_in_transaction;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
