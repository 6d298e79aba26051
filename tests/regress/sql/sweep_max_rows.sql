-- max_rows is what one call removes at most, of all kinds of rows together.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_sweep(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep(0);
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep(-2147483648);
\echo :LAST_ERROR_SQLSTATE
SELECT code_sweep(1), code_sweep(2147483647), code_sweep();

SELECT count(code_put(i::text, :'grant', i)) FROM generate_series(1, 20) i;
SELECT count(code_record_access_token('f', i::text, i)) FROM generate_series(1, 10) i;
INSERT INTO authorization_revoked_families SELECT '2000-01-01', i FROM generate_series(1, 5) i;
CREATE TEMP VIEW rows AS SELECT (SELECT count(*) FROM authorizations) AS codes, (SELECT count(*) FROM authorization_access_tokens) AS tokens,
  (SELECT count(*) FROM authorization_revoked_families) AS families;
SELECT code_sweep(1);
SELECT * FROM rows;
SELECT code_sweep(max_rows => 12);
SELECT * FROM rows;
SELECT code_sweep(10);
SELECT * FROM rows;
SELECT code_sweep(100);
SELECT * FROM rows;

-- What is retained counts as nothing, and so does not keep a sweep from what it can remove.
SELECT count(code_put(i::text, :'grant', extract(epoch FROM now())::bigint - 1000 + i)) FROM generate_series(1, 20) i;
SELECT count(*) FROM generate_series(1, 19) i, code_take(i::text), code_mark_consumed(i::text);
SELECT code_sweep(1);
SELECT codes FROM rows;
TRUNCATE authorizations;
