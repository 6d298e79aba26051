-- 0.6.0: code_redeem and code_complete; revocation is a fact of the family. Everything here makes what sql/attesto_codes--0.6.0.sql makes for a new installation.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid OPERATOR(pg_catalog.=) '@extschema@.authorization_revoked_families'::pg_catalog.regclass AND attnum OPERATOR(pg_catalog.>) 2) THEN
    RAISE EXCEPTION 'authorization_revoked_families has columns that attesto_codes did not make'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'The new column would not be in its place behind those of the extension.',
            HINT = 'Dump the database, install the new version in an empty one, and restore the dump there.';
  END IF;
END
$$;

-- A library that looks for revocations only in the tokens, as on a standby that still has it, does not have these functions: it
-- would call revoked tokens valid, and take codes that are revoked.
CREATE OR REPLACE FUNCTION @extschema@.code_take(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_take_unless_revoked_wrapper';

CREATE OR REPLACE FUNCTION @extschema@.code_access_token_revoked(jti text)
RETURNS boolean
STABLE
LANGUAGE c AS 'MODULE_PATHNAME', 'code_access_token_revoked_by_family_wrapper';

ALTER TABLE @extschema@.authorization_revoked_families
  DROP CONSTRAINT authorization_revoked_families_pkey,
  ADD COLUMN revocation text COLLATE pg_catalog."C" DEFAULT pg_catalog.gen_random_uuid()::pg_catalog.text PRIMARY KEY;
CREATE INDEX authorization_revoked_families_family
  ON @extschema@.authorization_revoked_families (family_id);

-- It has to be unlogged, too: after a crash the segments of shared memory that its rows name are gone.
CREATE UNLOGGED TABLE @extschema@.authorization_queue (
  server_started_at timestamptz NOT NULL,
  segment           text        COLLATE pg_catalog."C" PRIMARY KEY
);
COMMENT ON TABLE @extschema@.authorization_queue IS
  'Where in shared memory the sessions of this database find the queue of the resident worker, and their counters. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_queue.server_started_at IS
  'When the server was started that has the segment.';
COMMENT ON COLUMN @extschema@.authorization_queue.segment IS
  'The handle of the segment of dynamic shared memory. Nothing is lost with it: the next worker makes another one.';
REVOKE ALL ON TABLE @extschema@.authorization_queue FROM PUBLIC;

CREATE FUNCTION @extschema@.code_inspect(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
STABLE ROWS 1
LANGUAGE c AS 'MODULE_PATHNAME', 'code_inspect_wrapper';

CREATE FUNCTION @extschema@.code_issue(data jsonb, expires_in integer DEFAULT 60)
RETURNS text
LANGUAGE c AS 'MODULE_PATHNAME', 'code_issue_wrapper';

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

CREATE FUNCTION @extschema@.code_family_revoked(family_id text)
RETURNS boolean
STABLE
LANGUAGE c AS 'MODULE_PATHNAME', 'code_family_revoked_wrapper';

-- It has more columns than before.
DROP FUNCTION @extschema@.code_stats();
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

COMMENT ON COLUMN @extschema@.authorizations.expires_at IS
  'When the code expires. code_redeem compares it with the clock. The other functions do not, so a caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.inserted_at IS
  'When code_issue or code_put stored the code.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_at IS
  'When the first presentation, by code_redeem or code_take, spent the code. NULL: the code is live, unless its run is over. The word consumed comes from the project that this one grew from, and means spent here.';
COMMENT ON COLUMN @extschema@.authorizations.consumed_success IS
  'Whether the code is redeemed: code_complete, code_mark_consumed or code_redeem with a meta recorded that the redemption succeeded. In this name and in the status consumed, the word consumed means redeemed.';
COMMENT ON COLUMN @extschema@.authorizations.redirect_uri IS
  'Where the code was sent (RFC 6749 section 3.1.2). code_redeem compares it with the parameter of the token request. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.code_challenge IS
  'The PKCE code challenge (RFC 7636 section 4.2). code_redeem checks the verifier. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.cnf IS
  'The key that the code is bound to, as a confirmation claim {"jkt": ...} (RFC 7800, RFC 9449 section 10). code_redeem compares it with the key of the proof. A caller of code_take does it itself.';
COMMENT ON COLUMN @extschema@.authorizations.family_id IS
  'The family of the code, unless the meta of its redemption names another one. It is one of the names of the code, which are revoked after a reuse (RFC 9700 section 4.2.4).';
COMMENT ON COLUMN @extschema@.authorizations.consumed_meta IS
  'The meta of the call that redeemed the code: code_complete, code_mark_consumed or code_redeem. NULL if it was an empty object. A reuse gets it back, overlaid on family_id and subject.';
COMMENT ON COLUMN @extschema@.authorizations.replayed_at IS
  'When a presentation of the code while it was spent and not redeemed was first noted. code_complete then raises an error, and code_mark_consumed answers replayed. Equal to consumed_at: the code is closed, because the presentation that spent it failed, or a crash spent it.';
COMMENT ON COLUMN @extschema@.authorizations.reused_at IS
  'When a presentation of the code after it was redeemed was first noted. The channel attesto_codes_reuse was notified then.';
COMMENT ON TABLE @extschema@.authorization_revoked_families IS
  'Revocations of families, one row each. A family is revoked while it has a row here, and so are its tokens and its live codes. Only the functions of attesto_codes write to it.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.revoked_at IS
  'When the family was revoked.';
COMMENT ON COLUMN @extschema@.authorization_revoked_families.revocation IS
  'A random name of the revocation.';
COMMENT ON INDEX @extschema@.authorization_revoked_families_family IS
  'Leads to the revocations of a family.';
COMMENT ON COLUMN @extschema@.authorization_access_tokens.revoked_at IS
  'When the token was revoked, if its family was revoked before it was recorded. NULL: it is revoked if its family is.';
COMMENT ON FUNCTION @extschema@.code_inspect(text) IS
  'Returns any stored code without presenting it: status live, spent or redeemed, its entry, and if it is redeemed the meta of its redemption. No row if there is no such code. Read-only.';
COMMENT ON FUNCTION @extschema@.code_issue(jsonb, integer) IS
  'Makes a random code, stores its hash as code_put does, and returns the code. It is live for expires_in seconds, 1 to 600. A grant without a family_id gets a new one.';
COMMENT ON FUNCTION @extschema@.code_redeem(text, text, text, text, text, jsonb) IS
  'Presents a code with what the client sent (NULL: nothing), checks it, and spends the code. Status ok: every check passes, and only this call gets the entry; with meta the code is redeemed, too. consumed: the code was redeemed before; its names are revoked, unless attesto_codes.revoke_on_reuse is off. error: reason says why, for logs only.';
COMMENT ON FUNCTION @extschema@.code_complete(text, text, bigint, jsonb) IS
  'In the transaction that stores the tokens: records the access token in the family of the code (jti NULL: none) and marks the code. Returns ok. Raises 55000 where no tokens may be sent, P0002 if there is no such code, 23505 if another call recorded the jti.';
COMMENT ON FUNCTION @extschema@.code_family_revoked(text) IS
  'Returns whether a family is revoked. Read-only.';
COMMENT ON FUNCTION @extschema@.code_revoke_family(text) IS
  'Revokes a family: its access tokens, those that are recorded for it later, and its live codes. Returns how many tokens that have not expired were not revoked before.';
COMMENT ON FUNCTION @extschema@.code_take(text) IS
  'Presents a code and spends it, without a check of what the client sent. Status ok: the code was live, and only this call gets the entry. consumed: the code was redeemed before, and meta says for whom. error: any other case.';
COMMENT ON FUNCTION @extschema@.code_mark_consumed(text, jsonb) IS
  'Records that the redemption of a spent code succeeded, so that a later presentation is reuse. Returns ok, replayed (recorded, but the code was presented again since it was spent, or is closed: send no tokens) or missing. Raises 55000 if the code is live.';
COMMENT ON FUNCTION @extschema@.code_stats() IS
  'Counts the rows of the tables by state, and the events in this database: with shared_preload_libraries since the server started, otherwise since a worker made room for the counters. Cheap at any size: large tables are sampled.';

REVOKE ALL ON FUNCTION
  @extschema@.code_inspect(text),
  @extschema@.code_issue(jsonb, integer),
  @extschema@.code_redeem(text, text, text, text, text, jsonb),
  @extschema@.code_complete(text, text, bigint, jsonb),
  @extschema@.code_stats(),
  @extschema@.code_family_revoked(text)
FROM PUBLIC;
