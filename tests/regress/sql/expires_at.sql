-- expires_at is any unix second that a timestamptz can hold, comes back as it was, and is refused beyond.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE TEMP TABLE seconds (n bigint);
INSERT INTO seconds VALUES (0), (1), (-1), (946684799), (946684800), (1800000000), (253402300799), (-210866803200);
SELECT count(code_put(n::text, :'least', n)) FROM seconds;
SELECT n, g.expires_at AS got, t.expires_at AS taken FROM seconds, code_get(n::text) g, code_take(n::text) t ORDER BY n;
-- The column says the same instant.
SELECT count(*) AS equal FROM seconds JOIN authorizations ON code_hash = n::text AND extract(epoch FROM expires_at) = n;
TRUNCATE authorizations;

SELECT code_put('h', :'least', 253402300800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h', :'least', -210866803201);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h', :'least', 9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h', :'least', -9223372036854775808);
\echo :LAST_ERROR_SQLSTATE
-- Milliseconds are refused.
SELECT code_put('h', :'least', 1790000000000);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorizations;
