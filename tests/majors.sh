#!/usr/bin/env bash
# Builds the extension for each of MAJORS, runs the suites (all of them, or those named) on a server of that
# major, and shows in one table what passed where. The last line counts them all.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/packages.sh"
cd "$ROOT"

# PostgreSQL's user has to be there before its servers are; see SERVERS.
is_root && ! id postgres >/dev/null 2>&1 && need_packages postgresql-common && . "$ROOT/scripts/env.sh"

# Who has run suites before, on the machine's own server, hands over its file.
if [ -z "${RESULTS:-}" ]; then
  mkdir -p "$ROOT/target"
  RESULTS=$ROOT/target/results
  : >"$RESULTS"
fi
export RESULTS

# note NAME: what failed before a suite could say so.
note() {
  printf '%s\t%s\t0\t1\t\n' "$major" "$1" >>"$RESULTS"
}

# build MAJOR: gets the server, builds for it, and installs into its own folders.
build() {
  # Its pg_config is named before it is there.
  env -u PG_CONFIG scripts/server.sh "$1" && scripts/setup.sh --tests && scripts/build.sh && scripts/files.sh install
}

# Where the others come from in the test of pg_upgrade: a 15, with the library that is built for 15.
older_server() {
  env -u PG_CONFIG scripts/server.sh 15.18 && PG_CONFIG=$FIFTEEN scripts/build.sh &&
    PG_CONFIG=$SERVERS/15.18/pg_config scripts/setup.sh --tests &&
    PG_CONFIG=$SERVERS/15.18/pg_config scripts/files.sh install
}

FIFTEEN=$SERVERS/15/pg_config
[ "${PG_MAJOR:-}" != 15 ] || FIFTEEN=$PG_CONFIG

for major in $MAJORS; do
  say "PostgreSQL $major"
  if [ "$major" -gt 15 ] && [ -z "${UPGRADE_FROM:-}" ]; then
    if older_server; then export UPGRADE_FROM=$SERVERS/15.18/native; else note "build of 15"; fi
  fi
  export PG_CONFIG=$SERVERS/$major/pg_config
  if ! build "$major"; then
    note build
  elif ! tests/run.sh "$@"; then
    awk -F '\t' -v major="$major" '$1 == major { failed += $4 } END { exit !failed }' "$RESULTS" || note run
  fi
done

say "What passed on each major"
awk -F '\t' -f tests/table.awk "$RESULTS"
