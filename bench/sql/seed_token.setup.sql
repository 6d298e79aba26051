-- The access tokens, as a server by hand would store them to revoke a family.
CREATE TABLE access_tokens (
  expires_at timestamp NOT NULL,
  revoked_at timestamp,
  jti        text      PRIMARY KEY,
  family_id  text      NOT NULL
);
CREATE INDEX ON access_tokens (family_id);
CREATE INDEX ON access_tokens (expires_at);
