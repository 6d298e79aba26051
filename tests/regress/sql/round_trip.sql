-- What was put comes back whole, by code_get and by code_take, to the last digit: put data over the defaults.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\set defaults '{"scope": [], "resource": [], "code_challenge": null, "code_challenge_method": null, "dpop_jkt": null, "nonce": null, "family_id": null, "claims": {}}'
CREATE TEMP TABLE given (n serial, what text, data jsonb);

INSERT INTO given (what, data) VALUES
  ('nothing optional', '{}'),
  ('every member', '{"scope": ["openid", "email"], "resource": ["https://a.example"], "code_challenge": "ch", "code_challenge_method": "S256",
    "dpop_jkt": "t", "nonce": "n", "family_id": "f", "claims": {"acr": "1"}}'),
  ('unknown members', '{"acr": "1", "max_age": 0, "flag": false, "nothing": null, "list": [1, [2, {}]], "object": {"a": {}}, "empty": ""}'),
  ('numbers', '{"claims": {"a": 12345678901234567890.123, "b": 1e400, "c": -1e-400, "d": 0.10, "e": 1.000, "f": 9007199254740993, "g": 18446744073709551616, "h": -0.0}}'),
  ('numbers in an unknown member', '{"x": [12345678901234567890.123, 1e400, -1e-400, 0.10, 1.000, 9007199254740993, 18446744073709551616]}'),
  ('unicode and escapes', '{"claims": {"a": "ü ß 漢字 🦀 \u200d \ufeff \u0001 \u007f \u2028", "🦀": "\b\f\n\r\t\/\\\""}, "漢\n字": "\ud83e\udd80"}'),
  ('objects that are empty', '{"claims": {}, "x": {}, "y": []}'),
  ('a null in claims', '{"claims": {"a": null}}'),
  ('a member without a name', '{"": "x", "claims": {"": {"": null}}}'),
  ('names that a JSON library uses', '{"$serde_json::private::Number": "1", "$serde_json::private::RawValue": "[1]"}'),
  ('one such name alone', '{"$serde_json::private::RawValue": "{}"}'),
  ('such names deeper', '{"claims": {"$serde_json::private::Number": "x"}, "x": {"$serde_json::private::RawValue": "}"}}'),
  ('names of columns', '{"cnf": {"jkt": "other"}, "extra": {"extra": 1}, "expires_at": 5, "inserted_at": null, "code_hash": "other",
    "consumed_at": "now", "consumed_success": true, "consumed_meta": {}, "status": "ok", "data": {}, "meta": []}'),
  ('lists that look like array text', '{"scope": ["NULL", "null", "{}", ",", "\"", "\\", "{\"a\",NULL}", " ", "a b", "\n"], "resource": ["NULL", "{", "}", "\\\""]}');
-- Each string in turn, in each member that is text.
INSERT INTO given (what, data)
SELECT 'quoting in text members', jsonb_build_object('client_id', s, 'subject', s, 'redirect_uri', s, 'code_challenge', s,
  'code_challenge_method', 'S256', 'dpop_jkt', s, 'nonce', s, 'family_id', s, 'scope', ARRAY[s, s], 'resource', ARRAY[s], 'x', s)
FROM unnest(ARRAY[E'\'', '"', E'\\', E'\n', E'\r\n\t', E'\x01', 'null', '{}', 'NULL', ' ', '%s $1', E'\\u0041', '🦀', E'\'; DROP TABLE authorizations; --']) s;
INSERT INTO given (what, data) VALUES
  ('claims 2000 arrays deep', ('{"claims": {"a": ' || repeat('[', 2000) || repeat(']', 2000) || '}}')::jsonb),
  ('claims 2000 objects deep', ('{"claims": ' || repeat('{"a": ', 2000) || '{}' || repeat('}', 2000) || '}')::jsonb),
  ('an unknown member 2000 deep', ('{"x": ' || repeat('[', 2000) || repeat(']', 2000) || '}')::jsonb);
-- 1 MiB that does not compress.
INSERT INTO given (what, data)
SELECT '1 MiB of claims', jsonb_build_object('claims', jsonb_object_agg('k' || i, md5(i::text) || md5((-i)::text))) FROM generate_series(1, 15000) i;
INSERT INTO given (what, data)
SELECT '1 MiB in an unknown member', jsonb_build_object('x', jsonb_agg(md5(i::text))) FROM generate_series(1, 33000) i;
INSERT INTO given (what, data)
SELECT '1 MiB in text members', jsonb_build_object('client_id', s, 'nonce', s, 'dpop_jkt', s, 'scope', ARRAY[s])
FROM (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 33000) i) t(s);
INSERT INTO given (what, data)
SELECT '1000 scopes, 1000 unknown members', jsonb_object_agg('m' || i, i) || jsonb_build_object('scope', jsonb_agg('s' || i)) FROM generate_series(1, 1000) i;

UPDATE given SET data = :'least'::jsonb || data;
SELECT count(code_put(n::text, data, 1800000000)) FROM given;
CREATE TEMP TABLE entries AS
SELECT n, what, :'defaults'::jsonb || given.data AS expected, got.data AS got, taken.data AS taken
FROM given, code_get(n::text) got, code_take(n::text) taken;
-- As values, and as text: 1.0 and 1.00 are equal as values.
SELECT n, what, got = expected AND got::text = expected::text AS got, taken = expected AND taken::text = expected::text AS taken
FROM entries ORDER BY n;
SELECT count(*) = (SELECT count(*) FROM given) AS none_missing FROM entries;
TRUNCATE authorizations;
