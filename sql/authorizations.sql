DO $$
BEGIN
  IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
    RAISE EXCEPTION 'attesto_codes needs a database with the encoding UTF8'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0, then CREATE EXTENSION there.';
  END IF;
END
$$;

-- src/table/columns.rs addresses the columns by their position: their order is part of the interface.
CREATE TABLE @extschema@.authorizations (
  expires_at            timestamptz NOT NULL,
  inserted_at           timestamptz NOT NULL,
  consumed_at           timestamptz,
  consumed_success      boolean     NOT NULL,
  code_hash             text        COLLATE pg_catalog."C" PRIMARY KEY,
  client_id             text        NOT NULL,
  subject               text        NOT NULL,
  redirect_uri          text        NOT NULL,
  scope                 text[]      NOT NULL,
  resource              text[]      NOT NULL,
  code_challenge        text,
  code_challenge_method text,
  cnf                   jsonb,
  nonce                 text,
  family_id             text,
  claims                jsonb       NOT NULL,
  extra                 jsonb,
  consumed_meta         jsonb,
  replayed_at           timestamptz,
  reused_at             timestamptz,
  retain_from           timestamptz,
  run                   text,
  CONSTRAINT redeemed_implies_spent CHECK (consumed_at IS NOT NULL OR NOT consumed_success)
)
-- Room for the versions that a take and a mark write, so that no index needs to know of them. Measured:
-- 90 % of the updates are heap-only at 100, 99 % at 90, and no more at 80.
WITH (fillfactor = 90);

COMMENT ON TABLE @extschema@.authorizations IS
  'OAuth 2.0 authorization codes (RFC 6749 section 4.1.2), one row a code. Written only by the functions of attesto_codes.';
COMMENT ON CONSTRAINT redeemed_implies_spent ON @extschema@.authorizations IS
  'A code goes live, spent, redeemed, in that order: none is redeemed that was not spent.';
COMMENT ON COLUMN @extschema@.authorizations.expires_at IS
  'When the code expires. The functions do not look at it: the caller compares.';
COMMENT ON COLUMN @extschema@.authorizations.inserted_at IS
  'When code_put stored the code.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_at IS
  'When the first code_take spent the code. NULL: the code is live, unless its run is over.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_success IS
  'Whether code_mark_consumed recorded a successful redemption. A take after that is reuse.';
COMMENT ON COLUMN @extschema@.authorizations.code_hash IS
  'The lookup key, 1 to 255 bytes: the digest of the code (code_hash()), never the code.';
COMMENT ON COLUMN @extschema@.authorizations.client_id IS
  'The client that the code was issued to (RFC 6749 section 2.2).';
COMMENT ON COLUMN @extschema@.authorizations.subject IS
  'The resource owner who gave the grant.';
COMMENT ON COLUMN @extschema@.authorizations.redirect_uri IS
  'Where the code was sent (RFC 6749 section 3.1.2). The caller compares it at the token endpoint.';
COMMENT ON COLUMN @extschema@.authorizations.scope IS
  'The granted scope values (RFC 6749 section 3.3).';
COMMENT ON COLUMN @extschema@.authorizations.resource IS
  'The resource indicators (RFC 8707).';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge IS
  'The PKCE code challenge (RFC 7636 section 4.2). The caller checks the verifier.';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge_method IS
  'S256 where there is a challenge, else NULL (RFC 7636 section 4.3).';
COMMENT ON COLUMN @extschema@.authorizations.cnf IS
  'The key that the code is bound to, as a confirmation claim {"jkt": ...} (RFC 7800, RFC 9449 section 10).';
COMMENT ON COLUMN @extschema@.authorizations.nonce IS
  'The OpenID Connect nonce of the authorization request.';
COMMENT ON COLUMN @extschema@.authorizations.family_id IS
  'The refresh token family that a redemption starts. Reuse revokes it (RFC 9700 section 4.2.4).';
COMMENT ON COLUMN @extschema@.authorizations.claims IS
  'The claims agreed at the authorization endpoint, an object.';
COMMENT ON COLUMN @extschema@.authorizations.extra IS
  'Members of the grant that this version does not know, as they were given. NULL: none.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_meta IS
  'What the first code_mark_consumed was told, NULL for an empty object. A reuse gets it back, over family_id and subject.';
COMMENT ON COLUMN @extschema@.authorizations.replayed_at IS
  'When the code was first presented again while it was spent and not redeemed. code_mark_consumed then answers replayed.';
COMMENT ON COLUMN @extschema@.authorizations.reused_at IS
  'When the code was first presented again after it was redeemed, and the channel attesto_codes_reuse was notified.';
COMMENT ON COLUMN @extschema@.authorizations.retain_from IS
  'Set when a sweep has found the expired code redeemed: it looks at it again attesto_codes.reuse_retention after this instant.';
COMMENT ON COLUMN @extschema@.authorizations.run IS
  'The run of the server that the code belongs to: a crash spends it. NULL: it survives crashes.';

-- What a sweep goes through: what no sweep has seen yet (retain_from IS NULL) by its expiry, then the
-- rest by retain_from. Takes and marks change neither column, so that they stay heap-only updates.
CREATE INDEX authorizations_sweep ON @extschema@.authorizations (retain_from, expires_at);
COMMENT ON INDEX @extschema@.authorizations_sweep IS 'Leads code_sweep to the codes that are due.';

-- Without this pg_dump would restore an empty table.
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorizations', '');
