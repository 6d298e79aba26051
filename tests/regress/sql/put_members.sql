-- Each member of data is stored or refused as the contract's table says.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
-- Puts data and gets it back, or says why it was refused; leaves no row.
CREATE FUNCTION pg_temp.put(data jsonb, OUT stored jsonb, OUT refused text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM code_put('member', data, 1800000000);
  SELECT e.data INTO STRICT stored FROM code_get('member') e;
  DELETE FROM authorizations WHERE code_hash = 'member';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS refused = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
CREATE TEMP TABLE cases (n serial, member text, given jsonb, beside jsonb DEFAULT '{}');

-- Required strings.
INSERT INTO cases (member, given)
SELECT member, given::jsonb FROM unnest(ARRAY['client_id', 'subject', 'redirect_uri']) member,
  unnest(ARRAY[NULL, 'null', '""', '1', 'true', '["x"]', '{"x": 1}', '" "', '"x"']) given;
-- Optional strings.
INSERT INTO cases (member, given)
SELECT member, given::jsonb FROM unnest(ARRAY['code_challenge', 'dpop_jkt', 'nonce', 'family_id']) member,
  unnest(ARRAY[NULL, 'null', '""', '1', 'false', '["x"]', '{"x": 1}', '{}', '"x"']) given;
-- Lists.
INSERT INTO cases (member, given)
SELECT member, given::jsonb FROM unnest(ARRAY['scope', 'resource']) member,
  unnest(ARRAY[NULL, 'null', '[]', '["b", "a", "b"]', '"a"', '""', '1', '{}', '[""]', '["a", ""]', '[null]', '["a", null]', '[1]', '[["a"]]']) given;
-- The method, without and with a challenge.
INSERT INTO cases (member, given, beside)
SELECT 'code_challenge_method', given::jsonb, beside::jsonb FROM unnest(ARRAY['{}', '{"code_challenge": "x"}']) beside,
  unnest(ARRAY[NULL, 'null', '"S256"', '"plain"', '"s256"', '" S256"', '"S512"', '""', '1', '["S256"]', '{}']) given;
-- Claims.
INSERT INTO cases (member, given)
SELECT 'claims', given::jsonb FROM unnest(ARRAY[NULL, 'null', '{}', '{"a": null, "b": [1]}', '[]', '[{}]', '"{}"', '""', '1', 'true']) given;

CREATE TEMP TABLE results AS
SELECT n, member, given, beside, result.*
FROM (SELECT *, :'least'::jsonb || beside AS base FROM cases ORDER BY n OFFSET 0) c,
  pg_temp.put(CASE WHEN given IS NULL THEN base - member ELSE base || jsonb_build_object(member, given) END) result;

SELECT member, given, beside->>'code_challenge' AS challenge, stored->member AS stored, refused, detail FROM results ORDER BY n;

-- Every refusal says the same beside its detail, and left no row.
SELECT DISTINCT refused, message, hint FROM results WHERE refused IS NOT NULL;
SELECT count(*) FROM authorizations WHERE code_hash = 'member';
