-- The lifecycle columns of a live, spent and redeemed code; a redeemed code that was never spent cannot exist.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS
  SELECT inserted_at <= clock_timestamp() AS inserted, consumed_at >= inserted_at AS consumed, consumed_success, consumed_meta FROM authorizations;
SELECT code_put('h', :'grant', 1800000000);
SELECT * FROM state;
SELECT clock_timestamp() AS before \gset
SELECT status FROM code_take('h');
SELECT * FROM state;
SELECT consumed_at BETWEEN :'before' AND clock_timestamp() AS now FROM authorizations;

-- Neither a later take, nor the mark, nor a reuse changes anything else.
CREATE TEMP TABLE spent AS SELECT * FROM authorizations;
SELECT status FROM code_take('h');
SELECT a.* IS NOT DISTINCT FROM s.* AS unchanged FROM authorizations a, spent s;
SELECT code_mark_consumed('h', '{"n": 1}');
SELECT * FROM state;
SELECT to_jsonb(a) - 'consumed_success' - 'consumed_meta' = to_jsonb(s) - 'consumed_success' - 'consumed_meta' AS unchanged FROM authorizations a, spent s;
CREATE TEMP TABLE redeemed AS SELECT * FROM authorizations;
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h', '{"n": 2}');
SELECT a.* IS NOT DISTINCT FROM r.* AS unchanged FROM authorizations a, redeemed r;

-- Not even a superuser makes a row that is redeemed and not spent.
\set VERBOSITY terse
UPDATE authorizations SET consumed_at = NULL;
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('live', :'grant', 1800000000);
UPDATE authorizations SET consumed_success = true WHERE code_hash = 'live';
\echo :LAST_ERROR_SQLSTATE
UPDATE authorizations SET consumed_success = NULL WHERE code_hash = 'live';
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM unnest(ARRAY['h', 'live']) h, code_take(h);
TRUNCATE authorizations;
