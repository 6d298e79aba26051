-- Doorkeeper's table in Rails' types, with the columns for PKCE, resources and the token that a replay revokes, and two
-- attributes of the application's own. Its foreign keys are left out: every INSERT would lock the one client's row.
CREATE TABLE oauth_access_grants (
  id                    bigserial PRIMARY KEY,
  resource_owner_id     uuid         NOT NULL,
  application_id        bigint       NOT NULL,
  token                 varchar      NOT NULL,
  expires_in            integer      NOT NULL,
  redirect_uri          text         NOT NULL,
  scopes                varchar      NOT NULL DEFAULT '',
  created_at            timestamp(6) NOT NULL,
  revoked_at            timestamp(6),
  code_challenge        varchar,
  code_challenge_method varchar,
  resource              text,
  access_token_id       bigint,
  nonce                 varchar,
  claims                jsonb
);
CREATE UNIQUE INDEX ON oauth_access_grants (token);
CREATE INDEX ON oauth_access_grants (resource_owner_id);
CREATE INDEX ON oauth_access_grants (application_id);
