-- code_put never overwrites: a code_hash that exists, live, spent or redeemed, is 23505 and its row stays as it is.
\set one '{"client_id": "c1", "subject": "s1", "redirect_uri": "r1", "family_id": "f1"}'
\set two '{"client_id": "c2", "subject": "s2", "redirect_uri": "r2", "family_id": "f2"}'
SELECT code_put(state, :'one', 1800000000) FROM unnest(ARRAY['live', 'spent', 'redeemed']) state;
SELECT status FROM code_take('spent');
SELECT status FROM code_take('redeemed');
SELECT code_mark_consumed('redeemed', '{"n": 1}');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, a.* FROM authorizations a;

SELECT code_put('live', :'two', 1900000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('spent', :'two', 1900000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('redeemed', :'two', 1900000000);
\echo :LAST_ERROR_SQLSTATE
-- The same grant again is no exception.
SELECT code_put('live', :'one', 1800000000);
\echo :LAST_ERROR_SQLSTATE

SELECT code_hash, b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.*)::before AS untouched
FROM before b FULL JOIN authorizations a USING (code_hash) ORDER BY code_hash;

-- Within one transaction and within one statement.
BEGIN;
SELECT code_put('again', :'one', 1800000000);
SELECT code_put('again', :'two', 1800000000);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT code_put('same', :'one', 1800000000) FROM generate_series(1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorizations;

-- An expired code is stored as well.
SELECT code_put('expired', :'one', 1);
SELECT code_put('expired', :'two', 1800000000);
\echo :LAST_ERROR_SQLSTATE
TRUNCATE authorizations;
