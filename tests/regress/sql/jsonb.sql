-- Every jsonb comes back as PostgreSQL itself would have built it, to the bit, by code_get and by code_take.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\set defaults '{"scope": [], "resource": [], "code_challenge": null, "code_challenge_method": null, "dpop_jkt": null, "nonce": null, "family_id": null, "claims": {}}'
CREATE TEMP TABLE odd (n serial, what text, value jsonb);

INSERT INTO odd (what, value) SELECT 'scalars', v::jsonb FROM unnest(ARRAY['null', 'true', 'false', '0', '-0', '0.0', '1e-16383', '1.50', '1e400', '-1e131071', '9223372036854775807', '9223372036854775808',
  '12345678901234567890.123', '0.1e-5', '""', '"x"', '"\u0001"', '"🦀"', '"\"\\"']) v;
INSERT INTO odd (what, value) SELECT 'empty ones', v::jsonb FROM unnest(ARRAY['[]', '{}', '[[]]', '[{}]', '{"": {}}', '{"": []}', '[[], {}, [[]], {"": [{}]}]', '[null]', '{"": null}', '[""]']) v;
INSERT INTO odd (what, value) SELECT 'mixed', v::jsonb FROM unnest(ARRAY['[1, "a", true, null, {"a": [1.5, "bb"]}, [[2]], "c", 3]', '{"a": 1, "bb": "x", "ccc": [1, "y", 2], "": false, "b": {"z": 1e400, "": null}}',
  '[[1, [2, [3, ["four", [5]]]]], "x", [[[]]]]', '{"ü": "ß", "漢字": ["🦀", {"🦀": 1}], "u": 1}', '[1, "a", 2, "bc", 3, "def", 4, "ghij", 5]']) v;
-- Around every 32nd value, where an offset stands for a length.
INSERT INTO odd (what, value) SELECT 'arrays of texts', (SELECT coalesce(jsonb_agg(repeat('x', i % 7)), '[]') FROM generate_series(1, n) i) FROM unnest(ARRAY[1, 31, 32, 33, 63, 64, 65, 1000]) n;
INSERT INTO odd (what, value) SELECT 'arrays of numbers', (SELECT jsonb_agg(10::numeric ^ (i % 9)) FROM generate_series(1, n) i) FROM unnest(ARRAY[1, 31, 32, 33, 63, 64, 65, 1000]) n;
INSERT INTO odd (what, value) SELECT 'objects', (SELECT jsonb_object_agg(md5(i::text), i) FROM generate_series(1, n) i) FROM unnest(ARRAY[1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000]) n;
INSERT INTO odd (what, value) SELECT 'strings of any length', to_jsonb(repeat('ü', n)) FROM unnest(ARRAY[1, 2, 62, 63, 64, 127, 1000, 100000, 1000000]) n;
INSERT INTO odd (what, value) SELECT 'arrays 5000 deep', (repeat('[', 5000) || '1.50' || repeat(']', 5000))::jsonb;
INSERT INTO odd (what, value) SELECT 'objects 5000 deep', (repeat('{"a": ', 5000) || '"x"' || repeat('}', 5000))::jsonb;
-- 600 bytes stored, 262 MB as text.
INSERT INTO odd (what, value) SELECT 'long numbers', jsonb_agg(1e131071) FROM generate_series(1, 2000);
-- What no hand would write: objects of arrays of anything, with names of any length.
INSERT INTO odd (what, value)
SELECT 'made up', jsonb_object_agg(repeat(chr(97 + (i * n) % 26), (i * n) % 5) || i, CASE (i * 7 + n) % 9 WHEN 0 THEN 'null' WHEN 1 THEN to_jsonb(i % 2 = 0) WHEN 2 THEN to_jsonb(i / n::numeric)
  WHEN 3 THEN to_jsonb(repeat('é', i % 11)) WHEN 4 THEN jsonb_build_array(i, repeat('x', n % 4), i) WHEN 5 THEN jsonb_build_object(repeat('k', n % 3), i::numeric ^ n, 'l', '{}'::jsonb)
  WHEN 6 THEN to_jsonb(-i) WHEN 7 THEN '[]' ELSE jsonb_build_object('deep', jsonb_build_array(jsonb_build_array(repeat('y', i % 4), n), NULL)) END)
FROM generate_series(1, 60) n, generate_series(0, n) i GROUP BY n;

-- Each as a claim, as an unknown member beside others, and as one without a name.
CREATE TEMP TABLE given AS
SELECT n, what, place, :'least'::jsonb || CASE place WHEN 'claim' THEN jsonb_build_object('claims', jsonb_build_object('x', value))
  WHEN 'beside' THEN jsonb_build_object('a', 1, 'x', value, 'client', value, 'nonce', 'n', 'a_name_that_is_the_longest', 2) ELSE jsonb_build_object('', value) END AS data
FROM odd, unnest(ARRAY['claim', 'beside', 'nameless']) place;
SELECT count(code_put(place || n, data, 1800000000)) = 3 * (SELECT count(*) FROM odd) AS all_put FROM given;
CREATE TEMP TABLE entries AS
SELECT what, :'defaults'::jsonb || given.data AS expected, got.data AS got, taken.data AS taken, place || n AS code_hash
FROM given, code_get(place || n) got, code_take(place || n) taken;
SELECT what, count(*), bool_and(record_image_eq(ROW(got), ROW(expected))) AS got, bool_and(record_image_eq(ROW(taken), ROW(expected))) AS taken FROM entries GROUP BY what ORDER BY what;
-- So are the columns.
SELECT bool_and(record_image_eq(ROW(claims), ROW(coalesce(expected -> 'claims', '{}')))) AS claims,
  bool_and(record_image_eq(ROW(extra), ROW(nullif(expected - ARRAY(SELECT jsonb_object_keys(:'defaults'::jsonb || :'least'::jsonb)), '{}')))) AS extra
FROM entries JOIN authorizations USING (code_hash);
-- And the meta of a redemption, laid over what is told of each.
SELECT code_mark_consumed(place || n, jsonb_build_object('x', value, 'subject', value)), count(*) FROM odd, unnest(ARRAY['claim']) place GROUP BY 1;
SELECT what, bool_and(record_image_eq(ROW(meta), ROW(jsonb_build_object('family_id', NULL, 'subject', value, 'x', value)))) AS told
FROM odd, code_take('claim' || n) GROUP BY what ORDER BY what;

-- In lists and strings of a grant.
CREATE TEMP TABLE lists AS
SELECT i AS n, :'least'::jsonb || jsonb_build_object('scope', (SELECT jsonb_agg(repeat('ü', s % 5 + 1)) FROM generate_series(1, i) s), 'resource', jsonb_build_array(repeat('r', i)), 'client_id', repeat('c', i), 'code_challenge', repeat('h', i),
  'dpop_jkt', repeat('j', i), 'family_id', repeat('f', i), 'code_challenge_method', 'S256') AS data
FROM generate_series(1, 100) i;
SELECT count(code_put('list' || n, data, 1800000000)) FROM lists;
SELECT count(*), bool_and(record_image_eq(ROW(got.data), ROW(:'defaults'::jsonb || lists.data))) AS got FROM lists, code_get('list' || n) got;
SELECT bool_and(record_image_eq(ROW(cnf), ROW(jsonb_build_object('jkt', lists.data -> 'dpop_jkt')))) AS cnf FROM lists JOIN authorizations ON code_hash = 'list' || n;

SELECT bool_and(record_image_eq(ROW(scope, resource), ROW(ARRAY(SELECT jsonb_array_elements_text(lists.data -> 'scope')), ARRAY[repeat('r', n)]))) AS arrays FROM lists JOIN authorizations ON code_hash = 'list' || n;
SELECT count(*), bool_and(record_image_eq(ROW(scope, resource), ROW('{}'::text[], '{}'::text[]))) AS empty_arrays FROM authorizations WHERE code_hash ~ '^claim';
-- A grant is read however it is stored: compressed, toasted, with a short header.
CREATE TEMP TABLE kinds (n serial, data jsonb);
INSERT INTO kinds (data) SELECT :'least'::jsonb || jsonb_build_object('x', v) FROM unnest(ARRAY['1', to_jsonb(repeat('x', 5000)), (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 3000) i)]) v;
SELECT code_put('kind' || n, data, 1800000000) FROM kinds;
SELECT pg_column_size(kinds.data) < 127 AS short, got.data -> 'x' = kinds.data -> 'x' AS whole FROM kinds, code_get('kind' || n) got ORDER BY n;

-- 64 MB less a little, in one member.
SELECT code_put('large', :'least'::jsonb || jsonb_build_object('x', repeat('x', (64 << 20) - 100)), 1800000000);
SELECT length(data ->> 'x') AS large FROM code_get('large');

-- Of several members at fault the first one of PostgreSQL's order is named, and one that is there before one that is not.
CREATE FUNCTION pg_temp.at_fault(data jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text;
BEGIN
  PERFORM code_put('fault', data, 1800000000);
  RETURN 'none';
EXCEPTION WHEN invalid_parameter_value THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN detail;
END $$;
SELECT data, pg_temp.at_fault(data::jsonb) FROM unnest(ARRAY['{}', '{"client_id": "c"}', '{"client_id": "c", "subject": "s"}', '{"subject": "s", "redirect_uri": "r"}', '{"nonce": 1}', '{"redirect_uri": "", "subject": 1}',
  '{"SECRET": 1}', '{"client_id": {"SECRET": "SECRET"}}', '{"scope": ["SECRET", {"SECRET": 1}]}', '{"claims": ["SECRET"]}', '{"code_challenge_method": "SECRET"}', '{"family_id": 5e400}', '{"subject": null, "SECRET": {}}']) data;

-- What code_put would not have stored is not handed out, but for a family_id: older versions set it no limit.
CREATE FUNCTION pg_temp.stored(change text, OUT got text, OUT taken text) LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE 'UPDATE authorizations SET ' || change || ' WHERE code_hash = ''list1''';
  BEGIN SELECT length(data ->> 'family_id') INTO got FROM code_get('list1'); EXCEPTION WHEN OTHERS THEN got := SQLSTATE; END;
  BEGIN SELECT status INTO taken FROM code_take('list1'); EXCEPTION WHEN OTHERS THEN taken := SQLSTATE; END;
  RAISE EXCEPTION 'undone';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SET attesto_codes.take_in_transaction = join;
SELECT change, (pg_temp.stored(change)).* FROM unnest(ARRAY[$$nonce = NULL$$, $$nonce = ''$$, $$subject = ''$$, $$code_challenge = ''$$, $$code_challenge_method = 'plain'$$, $$cnf = '{}'$$, $$cnf = '[]'$$, $$cnf = '{"jkt": 1}'$$,
  $$claims = '[1]'$$, $$claims = '1'$$, $$extra = '1'$$, $$extra = '["x"]'$$, $$family_id = repeat('f', 2000)$$]) change;
RESET attesto_codes.take_in_transaction;
DROP TABLE odd, given, entries, lists, kinds;
TRUNCATE authorizations;
