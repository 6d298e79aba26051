\set i :i + 1
\set n :client_id * :share + :i
BEGIN;
UPDATE attesto_authorization_codes AS a0 SET consumed_at = :now::timestamp WHERE a0.code_hash = substr(md5(:n::text), 1, 19) || :key_tail::text AND a0.consumed_at IS NULL RETURNING a0.code_hash, a0.client_id, a0.subject, a0.scope, a0.resource, a0.redirect_uri, a0.code_challenge, a0.code_challenge_method, a0.cnf, a0.nonce, a0.claims, a0.private_context, a0.family_id, a0.access_token_jti, a0.access_token_expires_at, a0.access_token_revoked_at, a0.expires_at, a0.consumed_at, a0.consumed_success, a0.inserted_at;
COMMIT;
