-- A code_hash is any string of 1 to 255 bytes, in every function; bytes, not characters.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put('', :'least', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_get('');
\echo :LAST_ERROR_SQLSTATE
SELECT code_take('');
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed('');
\echo :LAST_ERROR_SQLSTATE

SELECT code_put(repeat('x', 256), :'least', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_get(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
SELECT code_take(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
SELECT code_mark_consumed(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
-- 128 characters, 256 bytes.
SELECT code_put(repeat('ü', 128), :'least', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorizations;

-- 1 byte; 255 bytes; 255 bytes in 128 characters; blanks, case and quotes tell keys apart.
CREATE TEMP TABLE keys (n serial, key text);
INSERT INTO keys (key) VALUES ('x'), ('X'), (' '), (' x'), ('x '), (repeat('x', 255)), (repeat('ü', 127) || 'x'), (''''), ('%'), ('ü'), (U&'u\0308');
SELECT count(code_put(key, :'least'::jsonb || jsonb_build_object('number', n), 1800000000)) FROM keys;
SELECT n, octet_length(key), got.data->'number' AS got, taken.data->'number' AS taken
FROM keys, code_get(key) got, code_take(key) taken ORDER BY n;
SELECT code_mark_consumed(key), count(*) FROM keys GROUP BY 1;
SELECT status, count(*) FROM keys, code_take(key) GROUP BY 1;
TRUNCATE authorizations;
