#!/usr/bin/env bash
# Builds the library for the PostgreSQL that pg_config names. Cargo and pg_config do, no cargo-pgrx: the
# install script is in sql/.
. "$(dirname "$0")/env.sh"
cd "$ROOT"

command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain (https://rustup.rs) first"
need_pg_config
"$ROOT/scripts/declarations.sh"
say "Building attesto_codes for PostgreSQL $PG_MAJOR ($PG_CONFIG)"
alive cargo build --release --locked "${CARGO_FEATURES[@]}"
