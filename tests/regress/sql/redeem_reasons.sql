-- Each reason why code_redeem refuses a code: what is handed out, and what becomes of a code that was live, spent or redeemed.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "https://client.example/cb", "family_id": "f", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dpop_jkt": "k"}'
\pset null '-'
CREATE TEMP TABLE tries (n serial, try text, client_id text, redirect_uri text, code_verifier text, dpop_jkt text, meta jsonb);
INSERT INTO tries (try, client_id, redirect_uri, code_verifier, dpop_jkt, meta)
SELECT try, coalesce(client_id, 'c'), redirect_uri, code_verifier, dpop_jkt, meta FROM (VALUES
  ('right', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL::jsonb),
  ('expired', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('another client', 'd', 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('empty client', '', 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('another redirect_uri', NULL, 'https://client.example/cb/', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('empty redirect_uri', NULL, '', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('no redirect_uri', NULL, NULL, 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('another verifier', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK', 'k', NULL),
  ('the challenge', NULL, 'https://client.example/cb', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', 'k', NULL),
  ('empty verifier', NULL, 'https://client.example/cb', '', 'k', NULL),
  ('no verifier', NULL, 'https://client.example/cb', NULL, 'k', NULL),
  ('another key', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'K', NULL),
  ('empty key', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', '', NULL),
  ('no key', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', NULL, NULL),
  ('revoked grant', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL),
  ('revoked meta', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', '{"family_id": "revoked"}'),
  ('revoked hash', NULL, 'https://client.example/cb', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 'k', NULL)
) tries(try, client_id, redirect_uri, code_verifier, dpop_jkt, meta);
-- A code for each try in each state.
SELECT count(code_put(state || ', ' || try, :'grant'::jsonb || CASE try WHEN 'revoked grant' THEN '{"family_id": "revoked"}' ELSE '{}' END::jsonb, CASE try WHEN 'expired' THEN 1 ELSE 4102444800 END))
FROM tries, unnest('{live,spent,redeemed}'::text[]) state;
SELECT status, count(*) FROM tries, unnest('{spent,redeemed}'::text[]) state, code_take(state || ', ' || try) GROUP BY 1;
SELECT code_mark_consumed('redeemed, ' || try), count(*) FROM tries GROUP BY 1;
SELECT count(code_revoke_family(f)) FROM unnest('{revoked,"live, revoked hash","spent, revoked hash","redeemed, revoked hash"}'::text[]) f;
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
CREATE TEMP TABLE before AS SELECT * FROM version;
CREATE TEMP TABLE revoked AS SELECT * FROM authorization_revoked_families;
\set tries 'SELECT try, status, reason, data IS NOT NULL AS entry, r.expires_at, r.meta FROM (SELECT * FROM tries ORDER BY n OFFSET 0) t, code_redeem(:\'state\' || \', \' || try, client_id, redirect_uri, code_verifier, dpop_jkt, t.meta) r ORDER BY n'
\set rows 'SELECT split_part(code_hash, \', \', 2) AS code, v.* IS NOT DISTINCT FROM b.* AS untouched, v.consumed_at IS NOT NULL AS spent, v.replayed_at = v.consumed_at AS closed, v.replayed_at > v.consumed_at AS replayed, v.consumed_success AS redeemed, v.reused_at IS NOT NULL AS reused FROM version v JOIN before b USING (code_hash) JOIN tries ON code_hash = :\'state\' || \', \' || try ORDER BY n'

-- Live: any presentation spends it, and one that fails closes it.
\set state live
:tries;
:rows;
-- Nothing was revoked by that.
SELECT count(*) FILTER (WHERE r.family_id IS NULL) AS new FROM authorization_revoked_families a LEFT JOIN revoked r USING (revocation);

-- Spent: neither the expiry nor a revocation matters. What fails a check leaves the row as it is.
\set state spent
:tries;
:rows;
SELECT substr(a.family_id, 1, 40) AS revoked FROM authorization_revoked_families a LEFT JOIN revoked r USING (revocation) WHERE r.family_id IS NULL ORDER BY 1;

-- Redeemed.
\set state redeemed
DELETE FROM authorization_revoked_families;
:tries;
:rows;
SELECT substr(family_id, 1, 40) AS revoked FROM authorization_revoked_families ORDER BY 1;
TRUNCATE authorizations, authorization_revoked_families;
