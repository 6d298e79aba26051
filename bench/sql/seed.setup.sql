-- The seed's table in Ecto's types: :string is varchar, :map jsonb, :utc_datetime timestamp(0).
CREATE TABLE attesto_authorization_codes (
  code_hash               varchar(255)   NOT NULL,
  client_id               varchar(255)   NOT NULL,
  subject                 varchar(255)   NOT NULL,
  scope                   varchar(255)[] NOT NULL DEFAULT '{}',
  resource                varchar(255)[] NOT NULL DEFAULT '{}',
  redirect_uri            text           NOT NULL,
  code_challenge          varchar(255),
  code_challenge_method   varchar(16),
  cnf                     jsonb,
  nonce                   varchar(255),
  claims                  jsonb          NOT NULL DEFAULT '{}',
  private_context         jsonb,
  family_id               varchar(255),
  access_token_jti        varchar(255),
  access_token_expires_at timestamp(0),
  access_token_revoked_at timestamp(0),
  expires_at              timestamp(0)   NOT NULL,
  consumed_at             timestamp(0),
  consumed_success        boolean        NOT NULL DEFAULT false,
  inserted_at             timestamp(0)   NOT NULL
);
CREATE UNIQUE INDEX ON attesto_authorization_codes (code_hash);
CREATE INDEX ON attesto_authorization_codes (family_id);
CREATE INDEX ON attesto_authorization_codes (access_token_jti);
