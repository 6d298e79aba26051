-- EXECUTE on just the function that a role uses is enough, and opens nothing else.
CREATE ROLE regress_token;
CREATE ROLE regress_resource;
GRANT EXECUTE ON FUNCTION code_record_access_token, code_revoke_family, code_family_revoked TO regress_token;
GRANT EXECUTE ON FUNCTION code_access_token_revoked TO regress_resource;

-- A token endpoint: record and revoke.
SET ROLE regress_token;
SELECT code_record_access_token('f', 'j', 4102444800);
SELECT code_record_access_token('f', 'j', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family('f');
SELECT code_record_access_token('f', 'k', 4102444800);
SELECT code_family_revoked(f) FROM unnest(ARRAY['f', 'g']) f;
SELECT code_access_token_revoked('j');
\echo :LAST_ERROR_SQLSTATE
SELECT jti FROM authorization_access_tokens;
\echo :LAST_ERROR_SQLSTATE
SELECT family_id FROM authorization_revoked_families;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM authorization_revoked_families;
\echo :LAST_ERROR_SQLSTATE

-- A resource server: ask.
SET ROLE regress_resource;
SELECT jti, code_access_token_revoked(jti) FROM unnest(ARRAY['j', 'k', 'l']) jti;
SELECT code_record_access_token('g', 'l', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_revoke_family('g');
\echo :LAST_ERROR_SQLSTATE
SELECT code_family_revoked('f');
\echo :LAST_ERROR_SQLSTATE
SELECT revoked_at FROM authorization_access_tokens;
\echo :LAST_ERROR_SQLSTATE

RESET ROLE;
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY jti;
REVOKE ALL ON FUNCTION code_record_access_token, code_revoke_family, code_access_token_revoked, code_family_revoked FROM regress_token, regress_resource;
DROP ROLE regress_token, regress_resource;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
