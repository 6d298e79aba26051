-- 0.5.0: writes that fire triggers. This brings a database with 0.4.0 to the state that a new installation has.
ALTER FUNCTION @extschema@.code_get(text) STABLE;
ALTER FUNCTION @extschema@.code_access_token_revoked(text) STABLE;

-- Comments that 0.5.0 words differently.
COMMENT ON TABLE @extschema@.authorizations IS
  'OAuth 2.0 authorization codes (RFC 6749 section 4.1.2), one row per code. Only the functions of attesto_codes write to it.';
COMMENT ON CONSTRAINT redeemed_implies_spent ON @extschema@.authorizations IS
  'A code is live, then spent, then redeemed. No code is redeemed that was not spent.';
COMMENT ON COLUMN @extschema@.authorizations.expires_at IS
  'When the code expires. The functions do not check this; the caller compares it with the clock.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_at IS
  'When the first code_take spent the code. NULL: the code is live, unless its run is over. The word consumed comes from the project that this one grew from, and means spent here.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_success IS
  'Whether the code is redeemed: code_mark_consumed recorded a successful redemption, and a take after that is reuse. In this name and in the status consumed of code_take, the word consumed means redeemed.';
COMMENT ON COLUMN @extschema@.authorizations.code_hash IS
  'The lookup key, 1 to 255 bytes: the digest of the code (see code_hash()), never the code itself.';
COMMENT ON COLUMN @extschema@.authorizations.subject IS
  'The resource owner who granted the authorization.';
COMMENT ON COLUMN @extschema@.authorizations.redirect_uri IS
  'Where the code was sent (RFC 6749 section 3.1.2). The caller compares it with the parameter of the token request.';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge_method IS
  'S256 if there is a challenge, otherwise NULL (RFC 7636 section 4.3).';
COMMENT ON COLUMN @extschema@.authorizations.family_id IS
  'The family that a redemption starts. After a reuse the family is to be revoked (RFC 9700 section 4.2.4).';
COMMENT ON COLUMN @extschema@.authorizations.claims IS
  'The claims agreed at the authorization endpoint, as an object.';
COMMENT ON COLUMN @extschema@.authorizations.extra IS
  'Members of the grant that this version does not know, unchanged. NULL: there are none.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_meta IS
  'The meta of the first code_mark_consumed, NULL for an empty object. A reuse gets it back, overlaid on family_id and subject.';
COMMENT ON COLUMN @extschema@.authorizations.reused_at IS
  'When the code was first presented again after it was redeemed. The channel attesto_codes_reuse was notified then.';
COMMENT ON COLUMN @extschema@.authorizations.retain_from IS
  'Set when a sweep finds that the expired code is redeemed. A sweep looks at the code again attesto_codes.reuse_retention after this time.';
COMMENT ON COLUMN @extschema@.authorizations.run IS
  'The run of the server that the code belongs to: a crash ends the run and so spends the code. NULL: the code survives crashes.';
COMMENT ON TABLE @extschema@.authorization_access_tokens IS
  'Access tokens and their families, so that a family can be revoked (RFC 9700 section 4.2.4). Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.expires_at IS
  'When the token expires. A later sweep removes it.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.revoked_at IS
  'When the token was revoked with its family. NULL: it is not revoked.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.family_id IS
  'The family that one redemption started, 1 to 1024 bytes.';
COMMENT ON INDEX @extschema@.authorization_access_tokens_family IS
  'Leads code_revoke_family to the tokens of a family, and a sweep to the one that expires last.';
COMMENT ON TABLE @extschema@.authorization_revoked_families IS
  'Revoked families. A token that is recorded for one of them is revoked from the start. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.family_id IS
  'The revoked family, 1 to 1024 bytes.';
COMMENT ON TABLE @extschema@.authorization_runs IS
  'Runs of the server, from one crash to the next. A code that is put with attesto_codes.codes_survive_crash = off belongs to a run. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_runs.run IS
  'The random name of the run, base64url of 8 bytes.';
COMMENT ON FUNCTION @extschema@.code_put(text, jsonb, bigint) IS
  'Stores a live code: its hash, the grant, and when it expires, in unix seconds. Never overwrites: raises 23505 if the hash exists.';
COMMENT ON FUNCTION @extschema@.code_get(text) IS
  'Returns the entry of a live code without spending it, or no row if there is no such code. Read-only.';
COMMENT ON FUNCTION @extschema@.code_take(text) IS
  'Presents a code and spends it. Status ok: the code was live, and only this call gets the entry. consumed: the code was redeemed before, and meta says for whom. error: any other case.';
COMMENT ON FUNCTION @extschema@.code_mark_consumed(text, jsonb) IS
  'Records that the redemption of a spent code succeeded, so that a later take reports reuse. Returns ok, replayed (recorded, but the code was presented again since its take) or missing. Raises 55000 if the code is live.';
COMMENT ON FUNCTION @extschema@.code_record_access_token(text, text, bigint) IS
  'Records an access token of a family: its jti, and when it expires, in unix seconds. Returns false if the family is revoked; the token is then revoked too. Raises 23505 if the jti exists.';
COMMENT ON FUNCTION @extschema@.code_revoke_family(text) IS
  'Revokes the access tokens of a family, and those that are recorded for it later. Returns how many tokens were not revoked before.';
COMMENT ON FUNCTION @extschema@.code_access_token_revoked(text) IS
  'Returns whether an access token is revoked and has not expired. Read-only.';
COMMENT ON FUNCTION @extschema@.code_sweep(integer) IS
  'Removes codes, tokens and revocations that are due, at most max_rows rows, in transactions of its own. Returns how many rows it removed.';
COMMENT ON FUNCTION @extschema@.code_stats() IS
  'Counts the rows of the tables by state and, with shared_preload_libraries, the events in this database since the server started. Cheap at any size: large tables are sampled.';
COMMENT ON FUNCTION @extschema@.code_hash(text) IS
  'Returns the lookup key of a code: base64url without padding of SHA-256(code), 43 characters.';
