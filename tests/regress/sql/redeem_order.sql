-- Of several things that are wrong code_redeem tells the first. Every combination, for a code in every state.
\pset null '-'
CREATE TEMP TABLE cases AS
SELECT row_number() OVER (ORDER BY state, expired, client, redirect_uri, verifier, key, revoked)::text AS h, * FROM
  unnest('{live,spent,replayed,redeemed,reused,closed,"closed and marked",spent by a crash,spent before a crash,redeemed before a crash}'::text[]) state, unnest('{f,t}'::bool[]) expired, unnest('{f,t}'::bool[]) client, unnest('{f,t}'::bool[]) redirect_uri,
  unnest('{f,t}'::bool[]) verifier, unnest('{right,none,another}'::text[]) key, unnest('{f,t}'::bool[]) revoked;
SELECT count(*) AS cases, count(DISTINCT state) AS states FROM cases;
SET attesto_codes.codes_survive_crash = off;
SELECT count(code_put(h, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', 'dpop_jkt', 'k', 'family_id', 'f' || h), 4102444800))
FROM cases WHERE state LIKE '%crash';
RESET attesto_codes.codes_survive_crash;
SELECT count(code_put(h, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', 'dpop_jkt', 'k', 'family_id', 'f' || h), 4102444800))
FROM cases WHERE state NOT LIKE '%crash';
SELECT state, status, count(*) FROM cases, code_take(h) WHERE state IN ('spent', 'replayed', 'redeemed', 'reused', 'spent before a crash', 'redeemed before a crash') GROUP BY 1, 2 ORDER BY 1;
SELECT state, status, count(*) FROM cases, code_take(h) WHERE state = 'replayed' GROUP BY 1, 2;
SELECT state, status, reason, count(*) FROM cases, code_redeem(h, 'another') WHERE state LIKE 'closed%' GROUP BY 1, 2, 3 ORDER BY 1;
SELECT state, code_mark_consumed(h), count(*) FROM cases WHERE state IN ('redeemed', 'reused', 'closed and marked', 'redeemed before a crash') GROUP BY 1, 2 ORDER BY 1;
SELECT state, status, count(*) FROM cases, code_take(h) WHERE state = 'reused' GROUP BY 1, 2;
TRUNCATE authorization_runs;
UPDATE authorizations a SET expires_at = '2000-01-01' FROM cases WHERE h = code_hash AND expired;
SELECT count(code_revoke_family(CASE WHEN expired THEN h ELSE 'f' || h END)) FROM cases WHERE revoked;
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
CREATE TEMP TABLE before AS SELECT * FROM version;
CREATE TEMP TABLE revocations AS SELECT * FROM authorization_revoked_families;

CREATE TEMP TABLE answers AS
SELECT cases.*, r.status, r.reason, r.data IS NOT NULL AS entry, r.expires_at IS NOT NULL AS expiry, r.meta IS NOT NULL AS redemption FROM cases,
  code_redeem(h, CASE WHEN client THEN 'd' ELSE 'c' END, CASE WHEN redirect_uri THEN 'R' ELSE 'r' END, CASE WHEN verifier THEN repeat('v', 43) ELSE 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk' END,
    CASE key WHEN 'right' THEN 'k' WHEN 'another' THEN 'K' END) r;
-- What is to be told.
CREATE TEMP VIEW told AS
SELECT *, CASE
  WHEN expired AND state = 'live' THEN 'expired'
  WHEN client THEN 'client_mismatch'
  WHEN redirect_uri THEN 'redirect_uri_mismatch'
  WHEN verifier THEN 'pkce_failed'
  WHEN key = 'none' THEN 'dpop_proof_required'
  WHEN key = 'another' THEN 'dpop_binding_mismatch'
  WHEN state = 'live' AND revoked THEN 'revoked'
  WHEN state ~ 'redeemed|reused|marked' OR state = 'live' THEN NULL
  ELSE 'spent' END AS expected FROM answers;
SELECT state, status, reason, count(*), bool_and(reason IS NOT DISTINCT FROM expected) AS as_expected, bool_and(status = CASE WHEN expected IS NOT NULL THEN 'error' WHEN state = 'live' THEN 'ok' ELSE 'consumed' END) AS with_status,
  bool_or(entry) AS entry, bool_or(expiry) AS expiry, bool_or(redemption) AS redemption FROM told GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT * FROM told WHERE reason IS DISTINCT FROM expected;

-- What each of them wrote: nothing unless the code was live, or every check passes and the code is not closed.
SELECT state, coalesce(reason, 'spent') = 'spent' AS proved, count(*), bool_and(v.* IS NOT DISTINCT FROM b.*) AS untouched, bool_or(v.* IS DISTINCT FROM b.*) AS written,
  bool_and(v.replayed_at = v.consumed_at) AS closed, bool_and(v.replayed_at > v.consumed_at) AS replayed, bool_and(v.reused_at IS NOT NULL) AS reused
FROM answers JOIN version v ON v.code_hash = h JOIN before b USING (code_hash) GROUP BY 1, 2 ORDER BY 1, 2;
-- What each of them revoked.
SELECT state, reason, count(*) AS revocations, count(DISTINCT family_id) AS names, count(DISTINCT h) AS codes FROM answers JOIN authorization_revoked_families a ON family_id IN (h, 'f' || h) LEFT JOIN revocations r USING (revocation, family_id)
WHERE r.revocation IS NULL GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM (SELECT family_id FROM authorization_revoked_families GROUP BY 1 HAVING count(*) > 1) twice;
TRUNCATE authorizations, authorization_revoked_families;
