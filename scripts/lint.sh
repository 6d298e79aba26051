#!/usr/bin/env bash
# Formatting, hand-written declarations and clippy for the PostgreSQL of this machine, then a type
# check for the other majors against the bindings that pgrx ships.
. "$(dirname "$0")/env.sh"
cd "$ROOT"

say "cargo fmt --check"
cargo fmt --check
cargo fmt --check --manifest-path tests/clients/rust/Cargo.toml
scripts/declarations.sh
say "cargo clippy for PostgreSQL $PG_MAJOR"
cargo clippy --quiet --all-targets "${CARGO_FEATURES[@]}" -- -D warnings
for major in 14 15 16 17 18; do
  [ "$major" = "$PG_MAJOR" ] && continue
  say "cargo check for PostgreSQL $major"
  DOCS_RS=1 RUSTC_WRAPPER="$ROOT/scripts/rustc-majors.sh" CARGO_TARGET_DIR=target/majors \
    cargo check --quiet --no-default-features --features "pg$major"
done
