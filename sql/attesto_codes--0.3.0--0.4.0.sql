-- 0.4.0: codes that a crash spends, so that their takes need not wait for the disk. Everything here makes what
-- sql/*.sql makes for a new installation.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_attribute
    WHERE attrelid OPERATOR(pg_catalog.=) '@extschema@.authorizations'::pg_catalog.regclass AND attnum OPERATOR(pg_catalog.>) 21) THEN
    RAISE EXCEPTION 'authorizations has columns that attesto_codes did not make'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'The new column would not be in its place behind those of the extension.',
            HINT = 'Dump the database, install the new version in an empty one, and restore the dump there.';
  END IF;
END
$$;

-- A library that knows of no runs, as on a standby that still has it, does not have this function: it would take
-- codes that a crash has spent.
CREATE OR REPLACE FUNCTION @extschema@.code_take(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
LANGUAGE c ROWS 1 AS 'MODULE_PATHNAME', 'code_take_of_run_wrapper';

ALTER TABLE @extschema@.authorizations ADD COLUMN run text;

COMMENT ON COLUMN @extschema@.authorizations.consumed_at IS
  'When the first code_take spent the code. NULL: the code is live, unless its run is over.';
COMMENT ON COLUMN @extschema@.authorizations.run IS
  'The run of the server that the code belongs to: a crash spends it. NULL: it survives crashes.';

CREATE UNLOGGED TABLE @extschema@.authorization_runs (
  started_at timestamptz NOT NULL,
  run        text        COLLATE pg_catalog."C" PRIMARY KEY
);

COMMENT ON TABLE @extschema@.authorization_runs IS
  'Runs of the server, from one crash to the next: codes that were put with attesto_codes.codes_survive_crash = off belong to one. Written only by the functions of attesto_codes.';
COMMENT ON COLUMN @extschema@.authorization_runs.started_at IS
  'When the first code of the run was put.';
COMMENT ON COLUMN @extschema@.authorization_runs.run IS
  'A random name, base64url of 8 bytes.';

REVOKE ALL ON TABLE @extschema@.authorization_runs FROM PUBLIC;
