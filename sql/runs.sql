-- src/table/columns.rs addresses the columns by their position: their order is part of the interface.
-- Unlogged is what it is for: a crash empties it, and so does the promotion of a standby. No dump has its rows, which
-- would make a run valid again that is over.
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
