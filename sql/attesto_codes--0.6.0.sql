-- attesto_codes 0.6.0: what CREATE EXTENSION makes, in the order tables, functions, comments, rights, dump.
--
-- A released version is installed somewhere, so its script is never edited. The next version gets a copy of this file under
-- its own name, and sql/attesto_codes--OLD--NEW.sql, which brings a database with the old version to the same state. The unit
-- test in src/script.rs compares the functions with the SQL that pgrx writes for src/api.rs. tests/recovery/07_upgrade.pl
-- compares a new installation with an update.
\echo Use "CREATE EXTENSION attesto_codes" to load this file. \quit

DO $$
BEGIN
  IF pg_catalog.getdatabaseencoding() OPERATOR(pg_catalog.<>) 'UTF8' THEN
    RAISE EXCEPTION 'attesto_codes needs a database with the encoding UTF8'
      USING ERRCODE = 'feature_not_supported',
            HINT = 'CREATE DATABASE ... ENCODING ''UTF8'' TEMPLATE template0, then CREATE EXTENSION there.';
  END IF;
END
$$;

-- Tables.
-- src/table/columns.rs addresses the columns by position, so their order is part of the interface.

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
-- Leaves room in the page for the row versions that a take and a mark write, so that they need no index entries. Measured:
-- 90 % of the updates are heap-only at fillfactor 100, 99 % at 90, and no more at 80.
WITH (fillfactor = 90);

-- A sweep reads the codes that no sweep has seen yet (retain_from IS NULL) by expiry, and the others by retain_from. Takes
-- and marks change neither column, so they stay heap-only updates.
CREATE INDEX authorizations_sweep ON @extschema@.authorizations (retain_from, expires_at);

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

-- The family is no key, so that two open transactions can revoke it, and neither waits for the other. The default is for rows that
-- are restored from a dump of an older version.
CREATE TABLE @extschema@.authorization_revoked_families (
  revoked_at timestamptz NOT NULL,
  family_id  text        COLLATE pg_catalog."C" NOT NULL,
  revocation text        COLLATE pg_catalog."C" DEFAULT pg_catalog.gen_random_uuid()::pg_catalog.text PRIMARY KEY
);
CREATE INDEX authorization_revoked_families_family
  ON @extschema@.authorization_revoked_families (family_id);
CREATE INDEX authorization_revoked_families_sweep
  ON @extschema@.authorization_revoked_families (revoked_at);

-- It has to be unlogged: a crash empties it, and so does the promotion of a standby. No dump contains its rows, because a
-- restored row would make a run valid again that is over.
CREATE UNLOGGED TABLE @extschema@.authorization_runs (
  started_at timestamptz NOT NULL,
  run        text        COLLATE pg_catalog."C" PRIMARY KEY
);

-- It has to be unlogged, too: after a crash the segments of shared memory that its rows name are gone.
CREATE UNLOGGED TABLE @extschema@.authorization_queue (
  server_started_at timestamptz NOT NULL,
  segment           text        COLLATE pg_catalog."C" PRIMARY KEY
);

-- Functions. A NULL argument is an error and is never skipped, so no function with arguments is STRICT. ROWS 1, because the
-- planner would otherwise expect 1000 rows.

CREATE FUNCTION @extschema@.code_put(code_hash text, data jsonb, expires_at bigint)
RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'code_put_wrapper';

CREATE FUNCTION @extschema@.code_get(code_hash text)
RETURNS TABLE (data jsonb, expires_at bigint)
STABLE ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_get_wrapper';

CREATE FUNCTION @extschema@.code_inspect(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
STABLE ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_inspect_wrapper';

CREATE FUNCTION @extschema@.code_issue(data jsonb, expires_in integer DEFAULT 60)
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'code_issue_wrapper';

-- Older libraries lack this entry point, so they cannot take codes that a crash has spent.
CREATE FUNCTION @extschema@.code_take(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_take_unless_revoked_wrapper';

CREATE FUNCTION @extschema@.code_mark_consumed(code_hash text, meta jsonb DEFAULT '{}')
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'code_mark_consumed_wrapper';

CREATE FUNCTION @extschema@.code_redeem(
  code_hash text, client_id text, redirect_uri text DEFAULT NULL, code_verifier text DEFAULT NULL, dpop_jkt text DEFAULT NULL,
  meta jsonb DEFAULT NULL
)
RETURNS TABLE (status text, reason text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_redeem_wrapper';

CREATE FUNCTION @extschema@.code_complete(code_hash text, jti text DEFAULT NULL, expires_at bigint DEFAULT NULL, meta jsonb DEFAULT '{}')
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'code_complete_wrapper';

CREATE FUNCTION @extschema@.code_record_access_token(family_id text, jti text, expires_at bigint)
RETURNS boolean
LANGUAGE c AS 'MODULE_PATHNAME', 'code_record_access_token_wrapper';

CREATE FUNCTION @extschema@.code_revoke_family(family_id text)
RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'code_revoke_family_wrapper';

CREATE FUNCTION @extschema@.code_access_token_revoked(jti text)
RETURNS boolean
STABLE
LANGUAGE c AS 'MODULE_PATHNAME', 'code_access_token_revoked_by_family_wrapper';

CREATE FUNCTION @extschema@.code_family_revoked(family_id text)
RETURNS boolean
STABLE
LANGUAGE c AS 'MODULE_PATHNAME', 'code_family_revoked_wrapper';

CREATE FUNCTION @extschema@.code_sweep(max_rows integer DEFAULT 10000)
RETURNS bigint
LANGUAGE c AS 'MODULE_PATHNAME', 'code_sweep_wrapper';

CREATE FUNCTION @extschema@.code_stats()
RETURNS TABLE (
  live bigint, spent bigint, redeemed bigint, due bigint, oldest_due_age double precision, families_revoked bigint, sampled boolean,
  puts bigint, takes_ok bigint, takes_consumed bigint, takes_error bigint, marks_ok bigint, marks_replayed bigint, marks_missing bigint,
  reuses bigint, sweeps bigint, rows_swept bigint,
  spends_statement bigint, spends_oneshot bigint, spends_resident bigint, spends_joined bigint,
  redeems_ok bigint, redeems_consumed bigint, redeems_unknown bigint, redeems_expired bigint, redeems_client_mismatch bigint,
  redeems_redirect_uri_mismatch bigint, redeems_pkce_failed bigint, redeems_dpop_proof_required bigint,
  redeems_dpop_binding_mismatch bigint, redeems_revoked bigint, redeems_spent bigint, completes bigint, revocations_by_reuse bigint
)
STRICT SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_stats_of_redeems_wrapper';

CREATE FUNCTION @extschema@.code_hash(code text)
RETURNS text
IMMUTABLE PARALLEL SAFE
LANGUAGE c AS 'MODULE_PATHNAME', 'code_hash_wrapper';

-- Comments.
COMMENT ON TABLE @extschema@.authorizations IS
  'OAuth 2.0 authorization codes (RFC 6749 section 4.1.2), one row per code. Only the functions of attesto_codes write to it.';
COMMENT ON CONSTRAINT redeemed_implies_spent ON @extschema@.authorizations IS
  'A code is live, then spent, then redeemed. No code is redeemed that was not spent.';
COMMENT ON COLUMN @extschema@.authorizations.expires_at IS
  'When the code expires. code_redeem compares it with the clock. The other functions do not, so a caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.inserted_at IS
  'When code_issue or code_put stored the code.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_at IS
  'When the first presentation, by code_redeem or code_take, spent the code. NULL: the code is live, unless its run is over. The word consumed comes from the project that this one grew from, and means spent here.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_success IS
  'Whether the code is redeemed: code_complete, code_mark_consumed or code_redeem with a meta recorded that the redemption succeeded. In this name and in the status consumed, the word consumed means redeemed.';
COMMENT ON COLUMN @extschema@.authorizations.code_hash IS
  'The lookup key, 1 to 255 bytes: the digest of the code (see code_hash()), never the code itself.';
COMMENT ON COLUMN @extschema@.authorizations.client_id IS
  'The client that the code was issued to (RFC 6749 section 2.2).';
COMMENT ON COLUMN @extschema@.authorizations.subject IS
  'The resource owner who granted the authorization.';
COMMENT ON COLUMN @extschema@.authorizations.redirect_uri IS
  'Where the code was sent (RFC 6749 section 3.1.2). code_redeem compares it with the parameter of the token request. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.scope IS
  'The granted scope values (RFC 6749 section 3.3).';
COMMENT ON COLUMN @extschema@.authorizations.resource IS
  'The resource indicators (RFC 8707).';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge IS
  'The PKCE code challenge (RFC 7636 section 4.2). code_redeem checks the verifier. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge_method IS
  'S256 if there is a challenge, otherwise NULL (RFC 7636 section 4.3).';
COMMENT ON COLUMN @extschema@.authorizations.cnf IS
  'The key that the code is bound to, as a confirmation claim {"jkt": ...} (RFC 7800, RFC 9449 section 10). code_redeem compares it with the key of the proof. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.nonce IS
  'The OpenID Connect nonce of the authorization request.';
COMMENT ON COLUMN @extschema@.authorizations.family_id IS
  'The family of the code, unless the meta of its redemption names another one. It is one of the names of the code, which are revoked after a reuse (RFC 9700 section 4.2.4).';
COMMENT ON COLUMN @extschema@.authorizations.claims IS
  'The claims agreed at the authorization endpoint, as an object.';
COMMENT ON COLUMN @extschema@.authorizations.extra IS
  'Members of the grant that this version does not know, unchanged. NULL: there are none.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_meta IS
  'The meta of the call that redeemed the code: code_complete, code_mark_consumed or code_redeem. NULL if it was an empty object. A reuse gets it back, overlaid on family_id and subject.';
COMMENT ON COLUMN @extschema@.authorizations.replayed_at IS
  'When a presentation of the code while it was spent and not redeemed was first noted. code_complete then raises an error, and code_mark_consumed answers replayed. Equal to consumed_at: the code is closed, because the presentation that spent it failed, or a crash spent it.';
COMMENT ON COLUMN @extschema@.authorizations.reused_at IS
  'When a presentation of the code after it was redeemed was first noted. The channel attesto_codes_reuse was notified then.';
COMMENT ON COLUMN @extschema@.authorizations.retain_from IS
  'Set when a sweep finds that the expired code is redeemed. A sweep looks at the code again attesto_codes.reuse_retention after this time.';
COMMENT ON COLUMN @extschema@.authorizations.run IS
  'The run of the server that the code belongs to: a crash ends the run and so spends the code. NULL: the code survives crashes.';
COMMENT ON INDEX @extschema@.authorizations_sweep IS 'Leads code_sweep to the codes that are due.';

COMMENT ON TABLE @extschema@.authorization_access_tokens IS
  'Access tokens and their families, so that a family can be revoked (RFC 9700 section 4.2.4). Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.expires_at IS
  'When the token expires. A later sweep removes it.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.revoked_at IS
  'When the token was revoked, if its family was revoked before it was recorded. NULL: it is revoked if its family is.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.jti IS
  'The identifier of the token (RFC 7519 section 4.1.7), 1 to 1024 bytes.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.family_id IS
  'The family that one redemption started, 1 to 1024 bytes.';
COMMENT ON INDEX @extschema@.authorization_access_tokens_family IS
  'Leads code_revoke_family to the tokens of a family, and a sweep to the one that expires last.';
COMMENT ON INDEX @extschema@.authorization_access_tokens_sweep IS
  'Leads code_sweep to the expired tokens.';
COMMENT ON TABLE @extschema@.authorization_revoked_families IS
  'Revocations of families, one row each. A family is revoked while it has a row here, and so are its tokens and its live codes. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.revoked_at IS
  'When the family was revoked.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.family_id IS
  'The revoked family, 1 to 1024 bytes.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.revocation IS
  'A random name of the revocation.';
COMMENT ON INDEX @extschema@.authorization_revoked_families_family IS
  'Leads to the revocations of a family.';
COMMENT ON INDEX @extschema@.authorization_revoked_families_sweep IS
  'Leads code_sweep to the families that were revoked attesto_codes.reuse_retention ago.';

COMMENT ON TABLE @extschema@.authorization_runs IS
  'Runs of the server, from one crash to the next. A code that is put with attesto_codes.codes_survive_crash = off belongs to a run. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_runs.started_at IS
  'When the first code of the run was put.';
COMMENT ON COLUMN @extschema@.authorization_runs.run IS
  'The random name of the run, base64url of 8 bytes.';

COMMENT ON TABLE @extschema@.authorization_queue IS
  'Where in shared memory the sessions of this database find the queue of the resident worker, and their counters. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_queue.server_started_at IS
  'When the server was started that has the segment.';
COMMENT ON COLUMN @extschema@.authorization_queue.segment IS
  'The handle of the segment of dynamic shared memory. Nothing is lost with it: the next worker makes another one.';

COMMENT ON FUNCTION @extschema@.code_put(text, jsonb, bigint) IS
  'Stores a live code: its hash, the grant, and when it expires, in unix seconds. Never overwrites: raises 23505 if the hash exists.';
COMMENT ON FUNCTION @extschema@.code_get(text) IS
  'Returns the entry of a live code without spending it, or no row if there is no such code. Read-only.';
COMMENT ON FUNCTION @extschema@.code_inspect(text) IS
  'Returns any stored code without presenting it: status live, spent or redeemed, its entry, and if it is redeemed the meta of its redemption. No row if there is no such code. Read-only.';
COMMENT ON FUNCTION @extschema@.code_issue(jsonb, integer) IS
  'Makes a random code, stores its hash as code_put does, and returns the code. It is live for expires_in seconds, 1 to 600. A grant without a family_id gets a new one.';
COMMENT ON FUNCTION @extschema@.code_redeem(text, text, text, text, text, jsonb) IS
  'Presents a code with what the client sent (NULL: nothing), checks it, and spends the code. Status ok: every check passes, and only this call gets the entry; with meta the code is redeemed, too. consumed: the code was redeemed before; its names are revoked, unless attesto_codes.revoke_on_reuse is off. error: reason says why, for logs only.';
COMMENT ON FUNCTION @extschema@.code_complete(text, text, bigint, jsonb) IS
  'In the transaction that stores the tokens: records the access token in the family of the code (jti NULL: none) and marks the code. Returns ok. Raises 55000 where no tokens may be sent, P0002 if there is no such code, 23505 if another call recorded the jti.';
COMMENT ON FUNCTION @extschema@.code_take(text) IS
  'Presents a code and spends it, without a check of what the client sent. Status ok: the code was live, and only this call gets the entry. consumed: the code was redeemed before, and meta says for whom. error: any other case.';
COMMENT ON FUNCTION @extschema@.code_mark_consumed(text, jsonb) IS
  'Records that the redemption of a spent code succeeded, so that a later presentation is reuse. Returns ok, replayed (recorded, but the code was presented again since it was spent, or is closed: send no tokens) or missing. Raises 55000 if the code is live.';
COMMENT ON FUNCTION @extschema@.code_record_access_token(text, text, bigint) IS
  'Records an access token of a family: its jti, and when it expires, in unix seconds. Returns false if the family is revoked; the token is then revoked too. Raises 23505 if the jti exists.';
COMMENT ON FUNCTION @extschema@.code_revoke_family(text) IS
  'Revokes a family: its access tokens, those that are recorded for it later, and its live codes. Returns how many tokens that have not expired were not revoked before.';
COMMENT ON FUNCTION @extschema@.code_access_token_revoked(text) IS
  'Returns whether an access token is revoked and has not expired. Read-only.';
COMMENT ON FUNCTION @extschema@.code_family_revoked(text) IS
  'Returns whether a family is revoked. Read-only.';
COMMENT ON FUNCTION @extschema@.code_sweep(integer) IS
  'Removes codes, tokens and revocations that are due, at most max_rows rows, in transactions of its own. Returns how many rows it removed.';
COMMENT ON FUNCTION @extschema@.code_stats() IS
  'Counts the rows of the tables by state, and the events in this database: with shared_preload_libraries since the server started, otherwise since a worker made room for the counters. Cheap at any size: large tables are sampled.';
COMMENT ON FUNCTION @extschema@.code_hash(text) IS
  'Returns the lookup key of a code: base64url without padding of SHA-256(code), 43 characters.';

-- Rights.
-- A code is a credential. Each role gets only the functions that it uses, and no role gets the tables.
REVOKE ALL ON TABLE
  @extschema@.authorizations,
  @extschema@.authorization_access_tokens,
  @extschema@.authorization_revoked_families,
  @extschema@.authorization_runs,
  @extschema@.authorization_queue
FROM PUBLIC;
REVOKE ALL ON FUNCTION
  @extschema@.code_put(text, jsonb, bigint),
  @extschema@.code_get(text),
  @extschema@.code_inspect(text),
  @extschema@.code_issue(jsonb, integer),
  @extschema@.code_redeem(text, text, text, text, text, jsonb),
  @extschema@.code_complete(text, text, bigint, jsonb),
  @extschema@.code_take(text),
  @extschema@.code_mark_consumed(text, jsonb),
  @extschema@.code_record_access_token(text, text, bigint),
  @extschema@.code_revoke_family(text),
  @extschema@.code_access_token_revoked(text),
  @extschema@.code_family_revoked(text),
  @extschema@.code_sweep(integer),
  @extschema@.code_stats(),
  @extschema@.code_hash(text)
FROM PUBLIC;

-- Dump. Without this, pg_dump would leave out the rows. The runs are not dumped, because they are over on another server.
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorizations', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorization_access_tokens', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.authorization_revoked_families', '');
