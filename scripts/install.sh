#!/usr/bin/env bash
# Builds the extension and installs it into the PostgreSQL that pg_config names.
. "$(dirname "$0")/env.sh"

"$ROOT/scripts/declarations.sh"
say "Building attesto_codes for PostgreSQL $PG_MAJOR ($PG_CONFIG)"
sudo=()
is_root || [ "$IS_OWN_SERVER" ] || sudo=(--sudo)
cd "$ROOT"
cargo pgrx install --release --pg-config "$PG_CONFIG" "${CARGO_FEATURES[@]}" "${sudo[@]}"
