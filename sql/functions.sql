COMMENT ON FUNCTION @extschema@.code_put(text, jsonb, bigint) IS
  'Stores a live code: its hash, the grant, and when it expires in unix seconds. Never overwrites: 23505 if the hash exists.';
COMMENT ON FUNCTION @extschema@.code_get(text) IS
  'The entry of a live code, without spending it; no row if there is none. Read-only.';
COMMENT ON FUNCTION @extschema@.code_take(text) IS
  'Presents a code and spends it. Status ok: it was live, here is the entry, and nobody else gets it. consumed: it was redeemed before, meta says by whom. error: anything else.';
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
COMMENT ON FUNCTION @extschema@.code_hash(text) IS
  'The lookup key of a code: base64url without padding of SHA-256(code), 43 characters.';

-- A code is a credential: each role gets just the functions that it uses, and nobody the table.
REVOKE ALL ON TABLE @extschema@.authorizations FROM PUBLIC;
REVOKE ALL ON FUNCTION
  @extschema@.code_put(text, jsonb, bigint),
  @extschema@.code_get(text),
  @extschema@.code_take(text),
  @extschema@.code_mark_consumed(text, jsonb),
  @extschema@.code_record_access_token(text, text, bigint),
  @extschema@.code_revoke_family(text),
  @extschema@.code_access_token_revoked(text),
  @extschema@.code_sweep(integer),
  @extschema@.code_stats(),
  @extschema@.code_hash(text)
FROM PUBLIC;

-- The planner's default for a function that returns a set is 1000 rows.
ALTER FUNCTION @extschema@.code_get(text) ROWS 1;
ALTER FUNCTION @extschema@.code_take(text) ROWS 1;
ALTER FUNCTION @extschema@.code_stats() ROWS 1;
