-- src/table/columns.rs addresses the columns by their position: their order is part of the interface.
CREATE TABLE @extschema@.authorization_access_tokens (
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  jti        text        COLLATE pg_catalog."C" PRIMARY KEY,
  family_id  text        COLLATE pg_catalog."C" NOT NULL
);
CREATE INDEX authorization_access_tokens_family
  ON @extschema@.authorization_access_tokens (family_id, expires_at);
CREATE INDEX authorization_access_tokens_sweep
  ON @extschema@.authorization_access_tokens (expires_at);

CREATE TABLE @extschema@.authorization_revoked_families (
  revoked_at timestamptz NOT NULL,
  family_id  text        COLLATE pg_catalog."C" PRIMARY KEY
);
CREATE INDEX authorization_revoked_families_sweep
  ON @extschema@.authorization_revoked_families (revoked_at);

COMMENT ON TABLE @extschema@.authorization_access_tokens IS
  'Access tokens and the families that they belong to, so that a family can be revoked (RFC 9700 section 4.2.4). Written only by the functions of attesto_codes.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.expires_at IS
  'When the token expires. A sweep removes it after that.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.revoked_at IS
  'When the token was revoked with its family. NULL: it is not.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.jti IS
  'The identifier of the token (RFC 7519 section 4.1.7), 1 to 1024 bytes.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.family_id IS
  'The family of tokens that one redemption started, 1 to 1024 bytes.';
COMMENT ON INDEX @extschema@.authorization_access_tokens_family IS
  'Leads code_revoke_family to the tokens of a family, and a sweep to the last of them to expire.';
COMMENT ON INDEX @extschema@.authorization_access_tokens_sweep IS
  'Leads code_sweep to the expired tokens.';
COMMENT ON TABLE @extschema@.authorization_revoked_families IS
  'Families that were revoked: a token recorded for one of them is born revoked. Written only by the functions of attesto_codes.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.revoked_at IS
  'When the family was first revoked.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.family_id IS
  'The family, 1 to 1024 bytes.';
COMMENT ON INDEX @extschema@.authorization_revoked_families_sweep IS
  'Leads code_sweep to the families that were revoked attesto_codes.reuse_retention ago.';

REVOKE ALL ON TABLE
  @extschema@.authorization_access_tokens, @extschema@.authorization_revoked_families
FROM PUBLIC;

-- Without this pg_dump would restore empty tables.
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorization_access_tokens', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorization_revoked_families', '');
