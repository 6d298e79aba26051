-- The names of a code are the family_id of its meta, that of its grant, and its code_hash. Each of them alone revokes it, a reuse revokes them all, and its token is recorded in the first of them.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
-- Names of the grant and the meta: each is a family, null, or not there.
CREATE TEMP TABLE codes AS SELECT row_number() OVER (ORDER BY g, m)::text AS h, grant_names, meta_names FROM (VALUES (1, '{"family_id": "G"}'::jsonb), (2, '{"family_id": null}'), (3, '{}')) g(g, grant_names), (VALUES (1, '{"family_id": "M"}'::jsonb), (2, '{"family_id": null}'), (3, '{}')) m(m, meta_names);
UPDATE codes SET grant_names = replace(grant_names::text, 'G', 'g' || h)::jsonb, meta_names = replace(meta_names::text, 'M', 'm' || h)::jsonb;
SELECT count(code_put(h, :'grant'::jsonb || grant_names, 4102444800)) FROM codes;
SELECT status, count(*) FROM codes, code_redeem(h, 'c', 'r', meta => meta_names) GROUP BY 1;
SELECT code_complete(h, 'jti ' || h, 4102444800), count(*) FROM codes GROUP BY 1;
SELECT codes.*, family_id AS token_in FROM codes JOIN authorization_access_tokens ON jti = 'jti ' || h ORDER BY h;
-- A reuse tells the family with its null, and revokes all names; the token is revoked wherever it is.
SELECT h, r.status, r.meta FROM codes, code_redeem(h, 'c', 'r') r ORDER BY h;
SELECT code_hash, revoked, code_access_token_revoked('jti ' || code_hash) FROM state;
-- Nobody else's.
SELECT count(*), count(DISTINCT family_id) FROM authorization_revoked_families;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- Marked by code_complete and by code_mark_consumed: the same. A replay knows no meta yet.
SELECT count(code_put(way || h, :'grant'::jsonb || grant_names, 4102444800)) FROM codes, unnest('{complete,mark,replay}'::text[]) way;
SELECT status, count(*) FROM codes, unnest('{complete,mark,replay}'::text[]) way, code_redeem(way || h, 'c', 'r') GROUP BY 1;
SELECT code_complete('complete' || h, 'jti ' || h, 4102444800, meta_names), code_mark_consumed('mark' || h, meta_names), count(*) FROM codes GROUP BY 1, 2;
SELECT jti, family_id FROM authorization_access_tokens ORDER BY 1;
SELECT status, reason, count(*) FROM codes, unnest('{complete,mark,replay}'::text[]) way, code_redeem(way || h, 'c', 'r', meta => '{"family_id": "of the presenter"}') GROUP BY 1, 2;
SELECT code_hash, revoked FROM state;
SELECT code_family_revoked('of the presenter');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- Revoked by one of them alone: before it is issued, live, between redeem and complete, after complete.
SELECT code_revoke_family(f) FROM unnest('{before g,before m,before h by hash}'::text[]) f;
SELECT count(code_put(moment || ' ' || name, :'grant'::jsonb || CASE name WHEN 'h by grant' THEN jsonb_build_object('family_id', moment || ' g') ELSE '{}' END, 4102444800))
FROM unnest('{before,live,redeemed,completed}'::text[]) moment, unnest('{h by grant,h by meta,h by hash}'::text[]) name;
SELECT code_revoke_family(f) FROM unnest('{live g,live m,live h by hash}'::text[]) f;
SELECT moment, name, status, reason FROM unnest('{before,live,redeemed,completed}'::text[]) WITH ORDINALITY moments(moment, n), unnest('{h by grant,h by meta,h by hash}'::text[]) name,
  code_redeem(moment || ' ' || name, 'c', 'r', meta => CASE name WHEN 'h by meta' THEN jsonb_build_object('family_id', moment || ' m') END) ORDER BY n, name;
SELECT code_revoke_family(f) FROM unnest('{redeemed g,redeemed m,redeemed h by hash}'::text[]) f;
CREATE FUNCTION pg_temp.complete(h text, meta jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text;
BEGIN
  RETURN code_complete(h, 'jti of ' || h, 4102444800, meta);
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ' ' || detail;
END $$;
SELECT moment, name, pg_temp.complete(moment || ' ' || name) FROM unnest('{before,live,redeemed,completed}'::text[]) WITH ORDINALITY moments(moment, n), unnest('{h by grant,h by meta,h by hash}'::text[]) name ORDER BY n, name;
SELECT jti, family_id, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;
SELECT code_revoke_family(f) FROM unnest('{completed g,completed m,completed h by hash}'::text[]) WITH ORDINALITY f(f, n) ORDER BY n;
SELECT jti, family_id, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;
-- The completion that is repeated then: no tokens.
SELECT name, pg_temp.complete('completed ' || name) FROM unnest('{h by grant,h by meta,h by hash}'::text[]) name;
SELECT * FROM state;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- By the name that only the meta of code_complete has.
SELECT code_put('meta of complete', :'grant', 4102444800), code_revoke_family('m');
SELECT status FROM code_redeem('meta of complete', 'c', 'r');
SELECT pg_temp.complete('meta of complete', '{"family_id": "m"}');
SELECT pg_temp.complete('meta of complete', '{"family_id": "n"}');
SELECT jti, family_id FROM authorization_access_tokens;
-- Of a code that is redeemed with a meta it is the first meta that counts, also where it names no family.
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "g"}', 4102444800)) FROM unnest('{first none,first n}'::text[]) h;
SELECT h, status FROM (VALUES ('first none', '{"a": 1}'::jsonb), ('first n', '{"family_id": "n"}')) t(h, meta), code_redeem(h, 'c', 'r', NULL, NULL, t.meta);
SELECT h, pg_temp.complete(h, '{"family_id": "m"}') FROM unnest('{first none,first n}'::text[]) h;
SELECT jti, family_id FROM authorization_access_tokens ORDER BY 1;
-- code_mark_consumed accepts any meta; what is no family there names none.
SELECT count(code_put('mark ' || n, :'grant'::jsonb || '{"family_id": "g"}', 4102444800)) FROM generate_series(1, 5) n;
SELECT status, count(*) FROM generate_series(1, 5) n, code_take('mark ' || n) GROUP BY 1;
SELECT n, code_mark_consumed('mark ' || n, jsonb_build_object('family_id', family)), pg_temp.complete('mark ' || n) FROM (VALUES (1, '7'::jsonb), (2, '""'), (3, to_jsonb(repeat('x', 1025))), (4, '["m"]'), (5, '"n"')) t(n, family);
SELECT jti, family_id FROM authorization_access_tokens WHERE jti LIKE 'jti of mark%' ORDER BY 1;
SELECT n, status, length(r.meta::text) AS meta FROM generate_series(1, 5) n, code_redeem('mark ' || n, 'c', 'r') r;
SELECT left(family_id, 20) AS family_id, count(*) FROM authorization_revoked_families GROUP BY 1 ORDER BY 1;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
