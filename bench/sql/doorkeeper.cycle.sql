-- What Doorkeeper sends through ActiveRecord, which puts each record in a transaction. The redemption finds the grant,
-- locks and revokes it, stores the access token (left out), and notes the token's id, which is its mark.
\set h random(1000000000000000000, 9223372036854775807)
BEGIN;
INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in, redirect_uri, scopes, created_at, revoked_at, code_challenge, code_challenge_method, resource, access_token_id, nonce, claims) VALUES (:subject::uuid, :doorkeeper_application::bigint, :h::text || :key_tail::text, :doorkeeper_expires_in::integer, :redirect_uri, :doorkeeper_scopes, :now::timestamp, NULL, :challenge, :method, :doorkeeper_resource, NULL, :nonce, :claims::jsonb) RETURNING id \gset
COMMIT;
SELECT oauth_access_grants.* FROM oauth_access_grants WHERE oauth_access_grants.token = :h::text || :key_tail::text LIMIT 1;
BEGIN;
SELECT oauth_access_grants.* FROM oauth_access_grants WHERE oauth_access_grants.id = :id::bigint LIMIT 1 FOR UPDATE;
UPDATE oauth_access_grants SET revoked_at = :now::timestamp WHERE oauth_access_grants.id = :id::bigint;
UPDATE oauth_access_grants SET access_token_id = :h::bigint WHERE oauth_access_grants.id = :id::bigint;
COMMIT;
