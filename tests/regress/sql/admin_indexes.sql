-- Rows that put, take and mark write are found by every index that an administrator added; a column added keeps its values.
\set grant '{"client_id": "c", "redirect_uri": "r", "claims": {"acr": "1"}}'
CREATE EXTENSION amcheck;
CREATE FUNCTION pg_temp.uses(query text, index text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT json, COSTS off) ' || query INTO plan;
  RETURN plan::text LIKE '%"Index Name": "' || index || '"%';
END $$;
CREATE FUNCTION pg_temp.count(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
  EXECUTE query INTO n;
  RETURN n;
END $$;
CREATE TEMP VIEW btrees AS
  SELECT c.oid, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
  WHERE i.indrelid = 'authorizations'::regclass AND a.amname = 'btree';
SET enable_seqscan = off;

-- Indexes on columns that put writes and nobody changes: updates stay heap-only where the page has room.
CREATE INDEX by_client ON authorizations (client_id, inserted_at);
CREATE INDEX by_lower_subject ON authorizations (lower(subject));
CREATE INDEX by_claims ON authorizations USING gin (claims);
CREATE INDEX by_expiry ON authorizations USING brin (expires_at);
-- What an added column leaves behind disturbs nobody.
ALTER TABLE authorizations ADD COLUMN note text;
ALTER TABLE authorizations DROP COLUMN note;
-- (No autovacuum: its statistics could change the plans below.)
ALTER TABLE authorizations SET (fillfactor = 50, autovacuum_enabled = off);
-- Of 300 codes 100 stay live, 100 are spent, 100 redeemed.
SELECT count(code_put(i::text, :'grant'::jsonb || jsonb_build_object('subject', 'S' || i, 'family_id', 'f' || i), 1800000000 + i)) FROM generate_series(1, 300) i;
SELECT status, count(*) FROM generate_series(101, 300) i, code_take(i::text) GROUP BY 1;
SELECT code_mark_consumed(i::text, jsonb_build_object('n', i)), count(*) FROM generate_series(201, 300) i GROUP BY 1;
SELECT index, pg_temp.uses(query, index), pg_temp.count(query)
FROM (VALUES
  (1, 'by_client', $$SELECT count(*) FROM authorizations WHERE client_id = 'c'$$),
  (2, 'by_lower_subject', $$SELECT count(*) FROM authorizations WHERE lower(subject) = 's250'$$),
  (3, 'by_claims', $$SELECT count(*) FROM authorizations WHERE claims @> '{"acr": "1"}'$$),
  (4, 'by_expiry', $$SELECT count(*) FROM authorizations WHERE expires_at > to_timestamp(1800000250)$$)) queries(n, index, query) ORDER BY n;
SELECT relname, bt_index_parent_check(oid, true, true) FROM btrees ORDER BY relname;

-- Indexes on what take and mark change, as key, in an expression and in a predicate: each update makes new entries in all of them.
TRUNCATE authorizations;
ALTER TABLE authorizations RESET (fillfactor);
CREATE INDEX by_consumed ON authorizations (consumed_at);
CREATE INDEX by_consumed_brin ON authorizations USING brin (consumed_at);
CREATE INDEX by_meta ON authorizations USING hash (((consumed_meta->>'n')::integer)) WHERE consumed_success;
CREATE UNIQUE INDEX one_live_code_a_family ON authorizations (family_id) WHERE consumed_at IS NULL;
-- Of 300 codes 100 stay live, 100 are spent, 100 redeemed.
SELECT count(code_put(i::text, :'grant'::jsonb || jsonb_build_object('subject', 'S' || i, 'family_id', 'f' || i), 1800000000 + i)) FROM generate_series(1, 300) i;
SELECT status, count(*) FROM generate_series(101, 300) i, code_take(i::text) GROUP BY 1;
SELECT code_mark_consumed(i::text, jsonb_build_object('n', i)), count(*) FROM generate_series(201, 300) i GROUP BY 1;
SELECT index, pg_temp.uses(query, index), pg_temp.count(query)
FROM (VALUES
  (1, 'by_client', $$SELECT count(*) FROM authorizations WHERE client_id = 'c'$$),
  (2, 'by_lower_subject', $$SELECT count(*) FROM authorizations WHERE lower(subject) = 's250'$$),
  (3, 'by_claims', $$SELECT count(*) FROM authorizations WHERE claims @> '{"acr": "1"}'$$),
  (4, 'by_expiry', $$SELECT count(*) FROM authorizations WHERE expires_at > to_timestamp(1800000250)$$),
  (5, 'by_consumed', $$SELECT count(*) FROM authorizations WHERE consumed_at > '-infinity'$$),
  (6, 'by_meta', $$SELECT count(*) FROM authorizations WHERE consumed_success AND (consumed_meta->>'n')::integer = 250$$),
  (7, 'one_live_code_a_family', $$SELECT count(*) FROM authorizations WHERE consumed_at IS NULL AND family_id > ''$$),
  (8, 'authorizations_pkey', $$SELECT count(*) FROM authorizations WHERE code_hash >= '1'$$)) queries(n, index, query) ORDER BY n;
SELECT relname, bt_index_parent_check(oid, true, true) FROM btrees ORDER BY relname;
DROP INDEX by_consumed;
SELECT pg_temp.uses(query, 'by_consumed_brin'), pg_temp.count(query)
FROM (VALUES ($$SELECT count(*) FROM authorizations WHERE consumed_at > '-infinity'$$)) queries(query);
RESET enable_seqscan;

-- A code that the administrator's unique index refuses is not stored.
\set VERBOSITY sqlstate
SELECT code_put('rival', :'grant'::jsonb || '{"subject": "x", "family_id": "f1"}', 1800000000);
SELECT count(*) FROM authorizations WHERE code_hash = 'rival';
-- A spent code is out of its predicate.
SELECT code_put('heir', :'grant'::jsonb || '{"subject": "x", "family_id": "f101"}', 1800000000);
\set VERBOSITY default

-- What the administrator wrote stays.
UPDATE authorizations SET nonce = 'seen' WHERE code_hash IN ('1', '2');
SELECT status FROM code_take('1');
SELECT code_mark_consumed('1');
SELECT code_hash, nonce, consumed_success FROM authorizations WHERE code_hash IN ('1', '2', '3') ORDER BY code_hash;
SELECT status, meta FROM code_take('1');

-- And nothing is disturbed when they go.
DROP INDEX by_client, one_live_code_a_family, by_lower_subject, by_claims, by_expiry, by_meta, by_consumed_brin;
SELECT code_put('after', :'grant'::jsonb || '{"subject": "x"}', 1800000000);
SELECT status FROM code_take('after');
DROP EXTENSION amcheck;
DROP VIEW btrees;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes;
