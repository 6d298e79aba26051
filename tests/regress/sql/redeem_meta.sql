-- With meta a success of code_redeem is marked in the same write. It is an object of at most 4096 bytes, and what is wrong with it is refused before anything is spent.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
\pset null '-'
\pset format unaligned
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, consumed_success AS redeemed, length(consumed_meta::text) AS meta FROM authorizations ORDER BY code_hash;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{none,empty,object,null family,inside,failed,taken}'::text[]) h;
SELECT status, meta FROM code_redeem('none', 'c', 'r');
SELECT status, meta FROM code_redeem('empty', 'c', 'r', meta => '{}');
SELECT status, meta FROM code_redeem('object', 'c', 'r', NULL, NULL, '{"family_id": "g", "n": [1, {"a": null}]}');
SELECT status, meta FROM code_redeem('null family', 'c', 'r', meta => '{"family_id": null, "subject": "other"}');
BEGIN;
SELECT status, meta FROM code_redeem('inside', 'c', 'r', meta => '{"n": 1}');
ROLLBACK;
-- Only a success is marked.
SELECT status, reason FROM code_redeem('failed', 'd', 'r', meta => '{"n": 1}');
SELECT status FROM code_take('taken');
SELECT status, reason FROM code_redeem('taken', 'c', 'r', meta => '{"n": 1}');
SELECT * FROM state;
SELECT code_hash, consumed_meta FROM authorizations WHERE consumed_success ORDER BY 1;
-- No other mark is needed, and none changes it.
SELECT code_mark_consumed(h, '{"n": 2}') FROM unnest('{empty,object,inside}'::text[]) h;
SELECT h, i.status, i.meta FROM unnest('{empty,object,null family,inside}'::text[]) h, code_inspect(h) i;
-- A reuse is answered as by code_take, and the meta of the reuse counts for nothing.
SELECT h, status, r.meta FROM unnest('{empty,object,null family,inside}'::text[]) h, code_redeem(h, 'c', 'r', meta => '{"family_id": "another", "n": 3}') r;
SELECT family_id FROM authorization_revoked_families ORDER BY 1;
TRUNCATE authorizations, authorization_revoked_families;

-- Its size: 4096 bytes of the jsonb, in a statement of its own and by a worker.
CREATE FUNCTION pg_temp.sized(bytes integer) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('a', repeat('x', bytes - 13)) $$;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{4095,4096,4097,alone}'::text[]) h;
SELECT pg_temp.sized(4096) AS largest \gset
SELECT status FROM code_redeem('alone', 'c', 'r', meta => :'largest');
CREATE FUNCTION pg_temp.redeem(h text, meta jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  SELECT concat_ws(' ', status, reason) INTO answer FROM code_redeem(h, 'c', 'r', NULL, NULL, $2);
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT bytes, pg_column_size(pg_temp.sized(bytes)) - 4 AS is, pg_temp.redeem(bytes::text, pg_temp.sized(bytes)) FROM unnest('{4095,4096,4097}'::int[]) bytes;
SELECT code_hash, consumed_at IS NOT NULL AS spent, consumed_meta = pg_temp.sized(CASE code_hash WHEN 'alone' THEN 4096 ELSE code_hash::int END) AS whole FROM authorizations ORDER BY 1;

-- What is refused, with the code still live.
SELECT code_put('h', :'grant', 4102444800);
SELECT * FROM code_redeem('h', 'c', 'r', meta => pg_temp.sized(4097));
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem('h', 'c', 'r', meta => '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM code_redeem('h', 'c', 'r', meta => '{"family_id": ""}');
\echo :LAST_ERROR_SQLSTATE
CREATE TEMP TABLE metas (n serial, meta jsonb);
INSERT INTO metas (meta) VALUES ('[]'), ('[{"family_id": "f"}]'), ('"{}"'), ('1'), ('true'), ('null'), ('{"family_id": ""}'), ('{"family_id": 1}'), ('{"family_id": true}'), ('{"family_id": []}'), ('{"family_id": {"family_id": "f"}}'),
  (jsonb_build_object('family_id', repeat('x', 1025))), (jsonb_build_object('family_id', repeat('ü', 513))), (jsonb_build_object('x', repeat('x', 1 << 20)));
SELECT n, left(meta::text, 40) AS meta, pg_temp.redeem('h', meta), pg_temp.redeem('unknown', meta) AS of_an_unknown_code FROM metas ORDER BY n;
SELECT * FROM state WHERE code_hash = 'h';
-- The same of code_complete, which has no limit of 4096 bytes.
SELECT status FROM code_redeem('h', 'c', 'r');
CREATE FUNCTION pg_temp.complete(h text, meta jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN code_complete(h, NULL, NULL, meta);
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT n, left(meta::text, 40) AS meta, pg_temp.complete('h', meta), pg_temp.complete('unknown', meta) AS of_an_unknown_code FROM metas ORDER BY n;
SELECT * FROM state WHERE code_hash = 'h';
-- 1 to 1024 bytes, and null.
TRUNCATE metas RESTART IDENTITY;
INSERT INTO metas (meta) VALUES ('{"family_id": null}'), ('{"family_id": "x"}'), (jsonb_build_object('family_id', repeat('x', 1024))), (jsonb_build_object('family_id', repeat('ü', 512)));
SELECT count(code_put('redeem ' || n, :'grant', 4102444800)), count(code_put('complete ' || n, :'grant', 4102444800)) FROM metas;
SELECT n, pg_temp.redeem('redeem ' || n, meta), pg_temp.redeem('complete ' || n, NULL), pg_temp.complete('complete ' || n, meta) FROM metas ORDER BY n;
SELECT n, r.consumed_meta = meta AS redeemed_with_it, c.consumed_meta = meta AS completed_with_it FROM metas JOIN authorizations r ON r.code_hash = 'redeem ' || n JOIN authorizations c ON c.code_hash = 'complete ' || n ORDER BY n;
TRUNCATE authorizations, authorization_revoked_families;
