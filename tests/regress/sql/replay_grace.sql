-- attesto_codes.replay_grace: for so long after the spend who proves the key of the grant counts as the same client, and is not noted.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\set verifier dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
-- Bound to a challenge, to a key, to both, and to none.
CREATE TEMP TABLE bound (name text, members jsonb, code_verifier text, dpop_jkt text);
INSERT INTO bound VALUES ('both', '{"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dpop_jkt": "k"}', :'verifier', 'k'), ('challenge', '{"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}', :'verifier', NULL),
  ('key', '{"dpop_jkt": "k"}', NULL, 'k'), ('none', '{}', NULL, 'k');
SET attesto_codes.replay_grace = 60;
SELECT count(code_put(state || ' ' || name, :'grant'::jsonb || members || jsonb_build_object('family_id', 'f of ' || state || ' ' || name), 4102444800)) FROM bound, unnest('{spent,redeemed,closed}'::text[]) state;
SELECT status, reason, count(*) FROM bound, unnest('{spent,redeemed,closed}'::text[]) state, code_redeem(state || ' ' || name, CASE state WHEN 'closed' THEN 'd' ELSE 'c' END, 'r', code_verifier, dpop_jkt) GROUP BY 1, 2;
SELECT code_complete('redeemed ' || name, 'j of ' || name, 4102444800), count(*) FROM bound GROUP BY 1;
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
-- Within the grace: error and spent, whether it is redeemed or not. Without a key the grace never helps.
SELECT state, name, status, reason, r.meta FROM unnest('{spent,redeemed,closed}'::text[]) WITH ORDINALITY states(state, n), bound, code_redeem(state || ' ' || name, 'c', 'r', code_verifier, dpop_jkt) r ORDER BY n, name;
SELECT code_hash, b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before AS untouched FROM before b JOIN authorizations a USING (code_hash) ORDER BY 1;
SELECT * FROM state;
-- Who fails a check is told so, and not noted, as ever.
SELECT state, name, status, reason FROM unnest('{spent,redeemed}'::text[]) WITH ORDINALITY states(state, n), bound, code_redeem(state || ' ' || name, 'c', 'r', repeat('x', 43), 'k') ORDER BY n, name;
SELECT status, reason FROM code_redeem('redeemed key', 'c', 'r', NULL, 'K');
-- Inside a transaction nothing is written either.
BEGIN;
SELECT status, reason FROM code_redeem('redeemed both', 'c', 'r', :'verifier', 'k');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
-- The first try goes on undisturbed.
SELECT code_complete('spent both', 'j', 4102444800), code_complete('redeemed both', 'j of both', 4102444800);
-- code_take does not look at the grace.
SELECT status FROM code_take('spent key');
SELECT status FROM code_take('redeemed key');
SELECT * FROM state WHERE code_hash IN ('spent both', 'redeemed both', 'spent key', 'redeemed key');

-- The grace is counted from the spend: after it, and where the setting is shorter, it is noted and revoked.
SELECT count(code_put(h, :'grant'::jsonb || '{"dpop_jkt": "k"}' || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{spent long ago,redeemed long ago,spent now,noted}'::text[]) h;
SELECT status, count(*) FROM unnest('{spent long ago,redeemed long ago,spent now,noted}'::text[]) h, code_redeem(h, 'c', 'r', NULL, 'k') GROUP BY 1;
SELECT code_complete('redeemed long ago');
UPDATE authorizations SET consumed_at = consumed_at - interval '60 seconds' WHERE code_hash LIKE '%long ago';
SELECT status, reason FROM code_redeem('spent long ago', 'c', 'r', NULL, 'k');
SELECT status, reason FROM code_redeem('redeemed long ago', 'c', 'r', NULL, 'k');
SELECT status, reason FROM code_redeem('spent now', 'c', 'r', NULL, 'k');
-- The clock was set back: a spend that lies in the future helps for no longer than the grace.
SELECT count(code_put(h, :'grant'::jsonb || '{"dpop_jkt": "k"}', 4102444800)) FROM unnest('{spent in an hour,spent in a second}'::text[]) h;
SELECT status, count(*) FROM unnest('{spent in an hour,spent in a second}'::text[]) h, code_redeem(h, 'c', 'r', NULL, 'k') GROUP BY 1;
UPDATE authorizations SET consumed_at = consumed_at + CASE code_hash WHEN 'spent in an hour' THEN interval '1 hour' ELSE '1 second' END WHERE code_hash LIKE 'spent in%';
SELECT status, reason FROM code_redeem('spent in an hour', 'c', 'r', NULL, 'k');
SELECT status, reason FROM code_redeem('spent in a second', 'c', 'r', NULL, 'k');
SELECT * FROM state WHERE code_hash LIKE 'spent in%';
SET attesto_codes.replay_grace = 0;
SELECT status, reason FROM code_redeem('noted', 'c', 'r', NULL, 'k');
SELECT * FROM state WHERE code_hash IN ('spent long ago', 'redeemed long ago', 'spent now', 'noted');
SELECT status, reason FROM code_redeem('spent now', 'c', 'r', NULL, 'k');
SELECT code_complete('spent now');
-- A note that is there stays, and the next completion raises.
SET attesto_codes.replay_grace = 60;
SELECT status, reason FROM code_redeem('noted', 'c', 'r', NULL, 'k');
SELECT code_complete('noted');

-- Ranges and units.
\set VERBOSITY sqlstate
SET attesto_codes.replay_grace = -1;
SET attesto_codes.replay_grace = 61;
SET attesto_codes.replay_grace = 'long';
\set VERBOSITY default
SET attesto_codes.replay_grace = '1min';
SHOW attesto_codes.replay_grace;
SET attesto_codes.replay_grace = '5s';
SHOW attesto_codes.replay_grace;
RESET attesto_codes.replay_grace;
SHOW attesto_codes.replay_grace;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
