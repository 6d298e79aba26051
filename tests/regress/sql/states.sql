-- The lifecycle columns of a live, spent, replayed, redeemed and reused code: each step writes its own, once.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS
  SELECT code_hash, inserted_at <= clock_timestamp() AS inserted, consumed_at >= inserted_at AS consumed, consumed_success, consumed_meta,
    replayed_at > consumed_at AS replayed, reused_at > consumed_at AS reused, retain_from FROM authorizations;
-- What a row holds beside the columns of these names.
CREATE FUNCTION pg_temp.beside(VARIADIC columns text[] DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS
  $$ SELECT jsonb_object_agg(code_hash, to_jsonb(a) - columns) FROM authorizations a $$;
SELECT code_put(h, :'grant', 4102444800) FROM unnest(ARRAY['plain', 'replayed']) h;
SELECT * FROM state ORDER BY 1;

-- A take spends.
SELECT pg_temp.beside('consumed_at') AS before, clock_timestamp() AS time \gset
SELECT h, status FROM unnest(ARRAY['plain', 'replayed']) h, code_take(h);
SELECT * FROM state ORDER BY 1;
SELECT pg_temp.beside('consumed_at') = :'before' AS unchanged,
  bool_and(consumed_at BETWEEN :'time' AND clock_timestamp()) AS now FROM authorizations;

-- A replay is noted, the first one.
SELECT pg_temp.beside('replayed_at') AS before, clock_timestamp() AS time \gset
SELECT status FROM code_take('replayed');
SELECT * FROM state ORDER BY 1;
SELECT pg_temp.beside('replayed_at') = :'before' AS unchanged;
SELECT replayed_at BETWEEN :'time' AND clock_timestamp() AS now FROM authorizations WHERE code_hash = 'replayed';
SELECT pg_temp.beside() AS before \gset
SELECT status FROM code_take('replayed');
SELECT pg_temp.beside() = :'before' AS unchanged;

-- A mark redeems, the first one.
SELECT pg_temp.beside('consumed_success', 'consumed_meta') AS before \gset
SELECT h, code_mark_consumed(h, '{"n": 1}') FROM unnest(ARRAY['plain', 'replayed']) h;
SELECT * FROM state ORDER BY 1;
SELECT pg_temp.beside('consumed_success', 'consumed_meta') = :'before' AS unchanged;
SELECT pg_temp.beside() AS before \gset
SELECT h, code_mark_consumed(h, '{"n": 2}') FROM unnest(ARRAY['plain', 'replayed']) h;
SELECT pg_temp.beside() = :'before' AS unchanged;

-- A reuse is noted, the first one.
SELECT pg_temp.beside('reused_at') AS before, clock_timestamp() AS time \gset
SELECT h, status FROM unnest(ARRAY['plain', 'replayed']) h, code_take(h);
SELECT * FROM state ORDER BY 1;
SELECT pg_temp.beside('reused_at') = :'before' AS unchanged,
  bool_and(reused_at BETWEEN :'time' AND clock_timestamp()) AS now FROM authorizations;
SELECT pg_temp.beside() AS before \gset
SELECT h, status FROM unnest(ARRAY['plain', 'replayed']) h, code_take(h);
SELECT h, code_mark_consumed(h, '{"n": 3}') FROM unnest(ARRAY['plain', 'replayed']) h;
SELECT pg_temp.beside() = :'before' AS unchanged;

-- Not even a superuser makes a row that is redeemed and not spent.
\set VERBOSITY terse
UPDATE authorizations SET consumed_at = NULL;
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('live', :'grant', 4102444800);
UPDATE authorizations SET consumed_success = true WHERE code_hash = 'live';
\echo :LAST_ERROR_SQLSTATE
UPDATE authorizations SET consumed_success = NULL WHERE code_hash = 'live';
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM unnest(ARRAY['plain', 'live']) h, code_take(h);
TRUNCATE authorizations;
