#!/usr/bin/env bash
# Compares what src/ declares by hand of PostgreSQL with the headers of the PostgreSQL in use. What
# this major declares otherwise would compile as Rust, and misbehave.
. "$(dirname "$0")/env.sh"
cd "$ROOT"

say "Comparing the declarations in src/ with the headers of PostgreSQL $PG_MAJOR"
headers=$("$PG_CONFIG" --includedir-server)
read -ra flags <<<"$("$PG_CONFIG" --cppflags)"
find src -name '*.rs' -exec awk -f scripts/declarations.awk {} + |
  cc -x c -fsyntax-only -w "-Dpg$PG_MAJOR" -I"$headers" "${flags[@]}" \
    -include scripts/declarations.h - ||
  die "src/ and the headers of PostgreSQL $PG_MAJOR disagree, see above.
Other types: write the declaration in src/ as the header has it, and where majors differ once for
each, under #[cfg(feature = \"pg$PG_MAJOR\")], with the calls that go with it.
Something undeclared or unknown: add its header or type to scripts/declarations.h."
