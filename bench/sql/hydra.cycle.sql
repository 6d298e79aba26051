-- What Ory Hydra 2 and Fosite send. The authorization endpoint puts code and challenge in one transaction. The token
-- endpoint reads both and deletes the challenge, each statement by itself, and then in a transaction reads the code
-- once more, spends it, and stores the tokens (left out, as is the row of OpenID Connect). There is no mark.
\set h random(1000000000000000000, 9223372036854775807)
BEGIN;
INSERT INTO hydra_oauth2_code (active, challenge_id, client_id, expires_at, form_data, granted_audience, granted_scope, nid, request_id, requested_at, requested_audience, scope, session_data, signature, subject) VALUES (:hydra_active::boolean, :h::text || :family_tail::text, :client, :expires_at::timestamp, :hydra_form, :hydra_audience, :hydra_scope, :hydra_nid::uuid, :h::text || :family_tail::text, :now::timestamp, :hydra_audience, :hydra_scope, :hydra_session, :h::text || :key_tail::text, :subject);
INSERT INTO hydra_oauth2_pkce (active, challenge_id, client_id, expires_at, form_data, granted_audience, granted_scope, nid, request_id, requested_at, requested_audience, scope, session_data, signature, subject) VALUES (:hydra_active::boolean, :h::text || :family_tail::text, :client, :expires_at::timestamp, :hydra_pkce_form, :hydra_audience, :hydra_scope, :hydra_nid::uuid, :h::text || :family_tail::text, :now::timestamp, :hydra_audience, :hydra_scope, :hydra_session, :h::text || :key_tail::text, :subject);
COMMIT;
SELECT active, challenge_id, client_id, expires_at, form_data, granted_audience, granted_scope, nid, request_id, requested_at, requested_audience, scope, session_data, signature, subject FROM hydra_oauth2_code AS hydra_oauth2_code WHERE nid = :hydra_nid::uuid AND signature = :h::text || :key_tail::text LIMIT 1;
SELECT active, challenge_id, client_id, expires_at, form_data, granted_audience, granted_scope, nid, request_id, requested_at, requested_audience, scope, session_data, signature, subject FROM hydra_oauth2_pkce AS hydra_oauth2_pkce WHERE nid = :hydra_nid::uuid AND signature = :h::text || :key_tail::text LIMIT 1;
DELETE FROM hydra_oauth2_pkce AS hydra_oauth2_pkce WHERE nid = :hydra_nid::uuid AND signature = :h::text || :key_tail::text;
BEGIN;
SELECT active, challenge_id, client_id, expires_at, form_data, granted_audience, granted_scope, nid, request_id, requested_at, requested_audience, scope, session_data, signature, subject FROM hydra_oauth2_code AS hydra_oauth2_code WHERE nid = :hydra_nid::uuid AND signature = :h::text || :key_tail::text LIMIT 1;
UPDATE hydra_oauth2_code SET active = false WHERE signature = :h::text || :key_tail::text AND nid = :hydra_nid::uuid;
COMMIT;
