-- 0.2.0: what happens after the take. Everything here makes what sql/*.sql makes for a new installation.
ALTER TABLE @extschema@.authorizations
  ADD COLUMN replayed_at timestamptz,
  ADD COLUMN reused_at timestamptz,
  ADD COLUMN retain_from timestamptz;

COMMENT ON COLUMN @extschema@.authorizations.replayed_at IS
  'When the code was first presented again while it was spent and not redeemed. code_mark_consumed then answers replayed.';
COMMENT ON COLUMN @extschema@.authorizations.reused_at IS
  'When the code was first presented again after it was redeemed, and the channel attesto_codes_reuse was notified.';
COMMENT ON COLUMN @extschema@.authorizations.retain_from IS
  'Set when a sweep has found the expired code redeemed: it looks at it again attesto_codes.reuse_retention after this instant.';

-- What a sweep goes through: what no sweep has seen yet (retain_from IS NULL) by its expiry, then the
-- rest by retain_from. Takes and marks change neither column, so that they stay heap-only updates.
CREATE INDEX authorizations_sweep ON @extschema@.authorizations (retain_from, expires_at);
COMMENT ON INDEX @extschema@.authorizations_sweep IS 'Leads code_sweep to the codes that are due.';

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

CREATE FUNCTION @extschema@."code_record_access_token"(
	"family_id" TEXT,
	"jti" TEXT,
	"expires_at" bigint
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'code_record_access_token_wrapper';
CREATE FUNCTION @extschema@."code_revoke_family"(
	"family_id" TEXT
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'code_revoke_family_wrapper';
CREATE FUNCTION @extschema@."code_access_token_revoked"(
	"jti" TEXT
) RETURNS bool
LANGUAGE c
AS 'MODULE_PATHNAME', 'code_access_token_revoked_wrapper';
CREATE FUNCTION @extschema@."code_sweep"(
	"max_rows" INT DEFAULT 10000
) RETURNS bigint
LANGUAGE c
AS 'MODULE_PATHNAME', 'code_sweep_wrapper';
CREATE FUNCTION @extschema@."code_stats"(

) RETURNS TABLE (
	"live" bigint, 
	"spent" bigint, 
	"redeemed" bigint, 
	"due" bigint, 
	"oldest_due_age" double precision, 
	"families_revoked" bigint, 
	"sampled" bool, 
	"puts" bigint, 
	"takes_ok" bigint, 
	"takes_consumed" bigint, 
	"takes_error" bigint, 
	"marks_ok" bigint, 
	"marks_replayed" bigint, 
	"marks_missing" bigint, 
	"reuses" bigint, 
	"sweeps" bigint, 
	"rows_swept" bigint, 
	"spends_statement" bigint, 
	"spends_oneshot" bigint, 
	"spends_resident" bigint, 
	"spends_joined" bigint 
)
STRICT SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'code_stats_wrapper';

COMMENT ON FUNCTION @extschema@.code_mark_consumed(text, jsonb) IS
  'Records that the redemption of a spent code succeeded, so that a later take reports reuse. Answers ok, replayed (recorded, but the code was presented again since its take) or missing; 55000 on a live code.';
COMMENT ON FUNCTION @extschema@.code_record_access_token(text, text, bigint) IS
  'Records an access token of a family: its jti, and when it expires in unix seconds. False: the family is revoked, and the token with it. 23505 if the jti exists.';
COMMENT ON FUNCTION @extschema@.code_revoke_family(text) IS
  'Revokes a family of access tokens, and those that are recorded for it later. Answers how many tokens were not revoked before.';
COMMENT ON FUNCTION @extschema@.code_access_token_revoked(text) IS
  'Whether an access token is revoked and has not expired. Read-only.';
COMMENT ON FUNCTION @extschema@.code_sweep(integer) IS
  'Removes the codes, tokens and revocations that are due, at most so many rows, in transactions of its own. Answers how many rows.';
COMMENT ON FUNCTION @extschema@.code_stats() IS
  'What is in the tables, and with shared_preload_libraries what happened in this database since the start of the server. Cheap at any size: large tables are sampled.';

REVOKE ALL ON FUNCTION
  @extschema@.code_record_access_token(text, text, bigint),
  @extschema@.code_revoke_family(text),
  @extschema@.code_access_token_revoked(text),
  @extschema@.code_sweep(integer),
  @extschema@.code_stats()
FROM PUBLIC;
ALTER FUNCTION @extschema@.code_stats() ROWS 1;
