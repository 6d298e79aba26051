-- code_stats counts codes by state, those that are due, and the revoked families; the counters need shared_preload_libraries.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE FUNCTION pg_temp.ago(seconds integer) RETURNS bigint LANGUAGE sql AS $$ SELECT extract(epoch FROM now())::bigint - seconds $$;
SELECT live, spent, redeemed, due, oldest_due_age, families_revoked, sampled FROM code_stats();

-- States, whether expired or not.
SELECT count(code_put(state || i, :'grant', 4102444800)) FROM (VALUES ('live', 6), ('spent', 5), ('replayed', 4), ('redeemed', 3), ('reused', 2)) states(state, n), generate_series(1, n) i;
SELECT count(*) FROM (VALUES ('spent', 5), ('replayed', 4), ('redeemed', 3), ('reused', 2)) states(state, n), generate_series(1, n) i, code_take(state || i);
SELECT count(*) FROM generate_series(1, 4) i, code_take('replayed' || i);
SELECT count(code_mark_consumed(state || i)) FROM (VALUES ('redeemed', 3), ('reused', 2)) states(state, n), generate_series(1, n) i;
SELECT count(*) FROM generate_series(1, 2) i, code_take('reused' || i);
SELECT live, spent, redeemed, due, oldest_due_age, families_revoked, sampled FROM code_stats();

-- What the next sweep removes or retains is due, since its expiry; what one has retained, since its retention ended.
SELECT code_put('expired live', :'grant', pg_temp.ago(100)), code_put('expired spent', :'grant', pg_temp.ago(1000)), code_put('expired redeemed', :'grant', pg_temp.ago(10000)),
  code_put('expired long ago', :'grant', pg_temp.ago(32 * 86400));
SELECT status FROM unnest(ARRAY['expired spent', 'expired redeemed', 'expired long ago']) h, code_take(h);
SELECT code_mark_consumed(h) FROM unnest(ARRAY['expired redeemed', 'expired long ago']) h;
UPDATE authorizations SET consumed_at = consumed_at - interval '1 hour' WHERE code_hash = 'expired spent';
SELECT live, spent, redeemed, due, round(oldest_due_age / 86400) AS days FROM code_stats();
DELETE FROM authorizations WHERE code_hash = 'expired long ago';
SELECT live, spent, redeemed, due, oldest_due_age BETWEEN 9990 AND 10100 AS age FROM code_stats();
DELETE FROM authorizations WHERE code_hash = 'expired redeemed';
SELECT live, spent, redeemed, due, oldest_due_age BETWEEN 990 AND 1100 AS age FROM code_stats();
SELECT code_put('expired redeemed', :'grant', pg_temp.ago(10000));
SELECT status FROM code_take('expired redeemed');
SELECT code_mark_consumed('expired redeemed');
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'expired redeemed';
DELETE FROM authorizations WHERE code_hash = 'expired spent';
SELECT live, spent, redeemed, due, oldest_due_age BETWEEN 9990 AND 10100 AS age FROM code_stats();
SELECT code_sweep();
SELECT live, spent, redeemed, due, oldest_due_age FROM code_stats();
-- Also what an earlier sweep has retained.
SET attesto_codes.reuse_retention = 9000;
SELECT due, oldest_due_age BETWEEN 990 AND 1100 AS age FROM code_stats();
SELECT code_sweep();
SELECT due, oldest_due_age FROM code_stats();
RESET attesto_codes.reuse_retention;
-- What a sweep has retained for a token of its family is not.
SELECT code_put('of a family', :'grant'::jsonb || '{"family_id": "e"}', 1);
SELECT status FROM code_take('of a family');
SELECT code_mark_consumed('of a family'), code_record_access_token('e', 'e', 4102444800);
SELECT code_sweep();
SELECT redeemed, due, oldest_due_age FROM code_stats();

-- Families, once each.
SELECT code_record_access_token(f, f, 4102444800) FROM unnest(ARRAY['f', 'g']) f;
SELECT code_revoke_family(f) FROM unnest(ARRAY['f', 'f', 'h']) f;
SELECT families_revoked FROM code_stats();

-- What this transaction has written counts, for itself; a READ ONLY one may ask.
BEGIN;
SELECT code_put('mine', :'grant', 4102444800);
SELECT live FROM code_stats();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT live, spent, redeemed, families_revoked FROM code_stats();
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;

-- Without preload the counters are there as soon as a worker has made room for them: all of them, or none.
SELECT count(*) AS counters, count(value) FILTER (WHERE value <> 'null') IN (0, count(*)) AS all_or_none
FROM code_stats() s, jsonb_each(to_jsonb(s)) WHERE key NOT IN ('live', 'spent', 'redeemed', 'due', 'oldest_due_age', 'families_revoked', 'sampled');

-- EXECUTE is enough, and opens nothing else.
CREATE ROLE regress_monitor;
GRANT EXECUTE ON FUNCTION code_stats TO regress_monitor;
SET ROLE regress_monitor;
SELECT live, spent, redeemed, families_revoked FROM code_stats();
SELECT count(*) FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep();
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE EXECUTE ON FUNCTION code_stats FROM regress_monitor;
DROP ROLE regress_monitor;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
