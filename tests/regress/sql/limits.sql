-- The end of what is accepted: the last second of the year 9999, and 1024 bytes of a family_id, for put as for the functions of families.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put('last second', :'grant', 253402300799), code_record_access_token('f', 'last second', 253402300799);
SELECT code_put('one more', :'grant', 253402300800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('f', 'one more', 253402300800);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
-- Milliseconds and microseconds of today, the next year that a timestamptz could hold, the last.
SELECT code_put('ms', :'grant', 1790000000000);
SELECT code_put('us', :'grant', 1790000000000000);
SELECT code_put('10001', :'grant', 253433836800);
SELECT code_put('294276', :'grant', 9224318015999);
SELECT code_record_access_token('f', 'ms', 1790000000000);
SELECT code_record_access_token('f', 'us', 1790000000000000);
SELECT code_record_access_token('f', '10001', 253433836800);
SELECT code_record_access_token('f', '294276', 9224318015999);
\set VERBOSITY default
SELECT code_hash, expires_at AT TIME ZONE 'UTC' AS expires_at FROM authorizations;
SELECT jti, expires_at AT TIME ZONE 'UTC' AS expires_at FROM authorization_access_tokens;
SELECT status, expires_at FROM code_take('last second');
SELECT code_mark_consumed('last second'), code_sweep();
SELECT code_revoke_family('f'), code_access_token_revoked('last second');

-- What put accepts as a family_id the functions of families do, and the other way round.
CREATE TEMP TABLE ids (name text, id text);
INSERT INTO ids VALUES ('1 byte', 'x'), ('1024 bytes', repeat('x', 1024)), ('1025 bytes', repeat('x', 1025)), ('512 characters of 2 bytes', repeat('ü', 512)), ('512 of them and 1 byte', repeat('ü', 512) || 'x'),
  ('256 characters of 4 bytes', repeat('😀', 256)), ('257 characters of 4 bytes', repeat('😀', 257)), ('a megabyte', repeat('x', 1048576)), ('none', '');
CREATE FUNCTION pg_temp.answer(call text, id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  EXECUTE call INTO answer USING id;
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT name, octet_length(id) AS bytes,
  pg_temp.answer($$SELECT 'stored' FROM code_put(md5($1), jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'family_id', $1), 4102444800)$$, id) AS put,
  pg_temp.answer('SELECT code_record_access_token($1, md5($1), 4102444800)', id) AS record, pg_temp.answer('SELECT code_revoke_family($1)', id) AS revoke
FROM ids ORDER BY octet_length(id), name;
SELECT code_put('too long', :'grant'::jsonb || jsonb_build_object('family_id', repeat('ü', 513)), 4102444800);
-- It comes back whole, and revokes what it names.
SELECT name, data->>'family_id' = id AS whole, code_access_token_revoked(md5(id)) AS revoked FROM ids, code_get(md5(id)) ORDER BY octet_length(id), name;
-- The other members have no such limit.
SELECT octet_length(data->>'nonce') AS nonce FROM code_put('long', :'grant'::jsonb || jsonb_build_object('nonce', repeat('x', 1025), 'family_id', NULL), 4102444800), code_get('long');
SELECT octet_length(data->>'nonce') AS nonce FROM code_get('long');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
