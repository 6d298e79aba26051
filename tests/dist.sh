#!/usr/bin/env bash
# Checks the archive that `make dist` has made: its META.json by PGXN's own validator, which is built on the first
# run (some minutes), and that the files which it names are there.
. "$(dirname "$0")/../scripts/env.sh"

command -v pgxn_meta >/dev/null ||
  alive cargo install --quiet --locked --root "$ROOT/target/tools" --version 0.7.0 pgxn_meta
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && python3 -m zipfile -e "$ROOT/target/attesto_codes-$VERSION.zip" .)
cd "$work/attesto_codes-$VERSION"
pgxn_meta META.json
grep -oE '"(file|docfile)": "[^"]+"' META.json | cut -d '"' -f 4 | xargs ls -l
