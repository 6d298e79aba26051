-- What families refuse, and that nothing is stored then.
SELECT code_record_access_token('', 'j', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', '', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family('');
\echo :LAST_ERROR_SQLSTATE
SELECT code_access_token_revoked('');
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked('');
\echo :LAST_ERROR_SQLSTATE

-- Over 1024 bytes; bytes, not characters.
SELECT code_record_access_token(repeat('x', 1025), 'j', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', repeat('ü', 513), 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family(repeat('x', 1025));
\echo :LAST_ERROR_SQLSTATE
SELECT code_access_token_revoked(repeat('x', 1025));
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked(repeat('ü', 513));
\echo :LAST_ERROR_SQLSTATE

-- Times that a timestamptz cannot hold, or that are milliseconds.
SELECT code_record_access_token('f', 'j', 253402300800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'j', -210866803201);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'j', 9223372036854775807);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorization_access_tokens;
SELECT count(*) FROM authorization_revoked_families;

-- A jti that is there, of the same family or another, revoked or not; it stays as it is.
SELECT code_record_access_token('f', 'j', 4102444800), code_record_access_token('g', 'k', 1);
SELECT code_revoke_family('g');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, t.* FROM authorization_access_tokens t;
SELECT code_record_access_token('f', 'j', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('g', 'j', 4102444801);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'k', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('g', 'k', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'twice', 4102444800) FROM generate_series(1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT jti, b.* IS NOT DISTINCT FROM (t.ctid, t.xmin, t.*)::before AS untouched
FROM before b FULL JOIN authorization_access_tokens t USING (jti) ORDER BY jti;
SELECT family_id FROM authorization_revoked_families;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
