-- 0.6.0: revocation is a fact of the family. Everything here makes what sql/attesto_codes--0.6.0.sql makes for a new installation.
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
  'Presents a code with what the client sent (NULL: nothing), checks it, and spends the code. Status ok: every check passes, and only this call gets the entry; with meta the code is redeemed, too. consumed: the code was redeemed before; its names are revoked. error: reason says why, for logs only.';
COMMENT ON FUNCTION @extschema@.code_complete(text, text, bigint, jsonb) IS
  'In the transaction that stores the tokens: records the access token in the family of the code (jti NULL: none) and marks the code. Returns ok. Raises 55000 where no tokens may be sent, P0002 if there is no such code, 23505 if another call recorded the jti.';
COMMENT ON FUNCTION @extschema@.code_family_revoked(text) IS
  'Returns whether a family is revoked. Read-only.';
COMMENT ON FUNCTION @extschema@.code_revoke_family(text) IS
  'Revokes a family: its access tokens, those that are recorded for it later, and its live codes. Returns how many tokens that have not expired were not revoked before.';

REVOKE ALL ON FUNCTION
  @extschema@.code_inspect(text),
  @extschema@.code_issue(jsonb, integer),
  @extschema@.code_redeem(text, text, text, text, text, jsonb),
  @extschema@.code_complete(text, text, bigint, jsonb),
  @extschema@.code_stats(),
  @extschema@.code_family_revoked(text)
FROM PUBLIC;
