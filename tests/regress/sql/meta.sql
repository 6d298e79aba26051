-- A reuse is answered with family_id and subject of the row, overlaid with the meta of code_mark_consumed; meta is an object.
CREATE TEMP TABLE metas (n serial, family_id jsonb, meta jsonb);
INSERT INTO metas (family_id, meta)
SELECT family_id, meta FROM (VALUES (1, '"f"'::jsonb), (2, 'null')) f(a, family_id), (VALUES
  (1, '{}'::jsonb),
  (2, '{"n": 1, "nested": {"subject": "x"}}'),
  (3, '{"family_id": "g"}'),
  (4, '{"family_id": null}'),
  (5, '{"subject": null, "family_id": 7}'),
  (6, '{"": 12345678901234567890.123, "$serde_json::private::RawValue": "1"}')) m(b, meta) ORDER BY a, b;
SELECT count(code_put(n::text, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'family_id', family_id), 1800000000)) FROM metas;
SELECT count(*) FROM metas, code_take(n::text) WHERE status = 'ok';
SELECT code_mark_consumed(n::text, meta), count(*) FROM metas GROUP BY 1;
SELECT family_id, metas.meta AS given, status, taken.meta,
  taken.meta::text = (jsonb_build_object('family_id', family_id, 'subject', 's') || metas.meta)::text AS overlaid
FROM metas, code_take(n::text) taken ORDER BY n;
-- An empty one needs no room.
SELECT n, consumed_meta FROM metas JOIN authorizations ON code_hash = n::text WHERE consumed_meta IS DISTINCT FROM meta ORDER BY n;

-- Deep and large meta comes back whole.
SELECT code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}', 1800000000) FROM unnest(ARRAY['deep', 'large', 'none']) h;
SELECT status FROM unnest(ARRAY['deep', 'large', 'none']) h, code_take(h);
CREATE TEMP TABLE big AS
SELECT 'deep' AS h, ('{"a": ' || repeat('[', 2000) || repeat(']', 2000) || '}')::jsonb AS meta
UNION ALL SELECT 'large', jsonb_build_object('a', jsonb_agg(md5(i::text))) FROM generate_series(1, 33000) i;
SELECT code_mark_consumed(h, meta) FROM big;
SELECT h, status, taken.meta = big.meta || '{"family_id": "f", "subject": "s"}' AS whole FROM big, code_take(h) taken ORDER BY h;

-- Anything but an object is refused, and the code stays spent.
SELECT code_mark_consumed('none', '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('none', '"{}"');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('none', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('none', 'null');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('none', jsonb_build_object('x', repeat('x', 64 << 20)));
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('never issued', 'true');
\echo :LAST_ERROR_SQLSTATE
SELECT consumed_success, consumed_meta FROM authorizations WHERE code_hash = 'none';
SELECT status FROM code_take('none');
TRUNCATE authorizations;
