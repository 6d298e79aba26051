#!/usr/bin/env bash
# Runs the test suites (all of them, or those named) against the installed extension. Each prints
# what it does; the last line counts them all. What a suite left is kept only where it failed.
# RESULTS names a file to which a line a suite is added, for majors.sh.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"

passed=0 failed=0 tallied=0
work=$(work_folder test)
cp -r "$ROOT/tests" "$ROOT/contrib" "$work"
is_root && chown -R postgres "$work/tests" "$work/contrib"
server=$work
trap 'cluster_stop "$server"; if [ $failed = 0 ]; then rm -rf "$work"; else echo "kept: $work"; fi' EXIT

# count LOG PATTERN: how many lines match.
count() { grep -cE "$2" "$1" || true; }

# tally NAME STATUS PASSED FAILED [SKIPPED]: a suite that failed without saying which test counts as one. What it said
# is shown at the end, above the count. SKIPPED is why some or all of it did not run.
tally() {
  local name=$1 status=$2 ok=$3 bad=$4 skipped=${5:-}
  [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
  [ "$ok" != 0 ] || [ "$bad" != 0 ] || [ "$skipped" ] || { echo "no test ran in $name"; bad=1; }
  [ "$bad" = 0 ] || { printf '\n== %s failed\n' "$name"; unmet "$name"; } >>"$work/failures"
  passed=$((passed + ok)) failed=$((failed + bad))
  printf -- '-- %s: %d passed, %d failed, %d s%s\n' "$name" "$ok" "$bad" $((SECONDS - tallied)) "${skipped:+, not run: $skipped}"
  tallied=$SECONDS
  [ -z "${RESULTS:-}" ] || printf '%s\t%s\t%d\t%d\t%s\n' "$PG_MAJOR" "$name" "$ok" "$bad" "$skipped" >>"$RESULTS"
}

# unmet NAME: what a suite said, but for what went well.
unmet() {
  cat "$work/$1/regression.diffs" 2>/dev/null || { grep -vE '^ok |^test .* ok$' "$work/$1.log" || true; } | tail -50
}

# chosen NAME LIST: whether the list names it, or is empty.
chosen() {
  [ -z "$2" ] || [[ " $2 " = *" $1 "* ]]
}

# run_tap NAME COMMAND …: a program that speaks TAP.
run_tap() {
  local name=$1 log=$work/$1.log status=0 skipped
  shift
  "$@" >"$log" 2>&1 || status=$?
  grep -E '^(ok|not ok)' "$log" || true
  skipped=$(sed -nE 's/^ok [0-9]+ # skip //p' "$log" | head -1)
  tally "$name" "$status" "$(grep -E '^ok ' "$log" | grep -cv '# skip' || true)" \
    "$(count "$log" '^not ok ')" "$skipped"
}

unit() {
  say "unit: the pure modules"
  local log=$work/unit.log status=0
  (cd "$ROOT" && cargo test --quiet "${CARGO_FEATURES[@]}" -- --format pretty) >"$log" 2>&1 || status=$?
  tally unit "$status" "$(count "$log" '^test .* ok$')" "$(count "$log" '^test .* FAILED$')"
}

# regression NAME PROGRAM TESTS: a suite of pg_regress or pg_isolation_regress, with a server of its own; all of its
# tests where none is named.
regression() {
  local name=$1 program=$2 log=$work/$1.log status=0 tests=(--schedule="$work/tests/$1/schedule")
  [ -z "$3" ] || read -ra tests <<<"$3"
  as_postgres mkdir "$work/$name"
  as_postgres "$program" --temp-instance="$work/$name/instance" --bindir="$PG_BIN" \
    --temp-config="$work/tests/quiet.conf" --inputdir="$work/tests/$name" --outputdir="$work/$name" --encoding=UTF8 --no-locale \
    "${tests[@]}" >"$log" 2>&1 || status=$?
  # PostgreSQL 16 and later speak TAP; the earlier ones say "test name ... ok".
  grep -E '^(ok|not ok) |\.\.\. (ok|FAILED)' "$log" || true
  tally "$name" "$status" "$(count "$log" '^ok |\.\.\. ok')" "$(count "$log" '^not ok |\.\.\. FAILED')"
}

# REGRESS names some of them. The first makes the extension for the others.
regress() {
  say "regress: what each function answers"
  regression regress "$PGXS/../test/regress/pg_regress" "${REGRESS:+install $REGRESS}"
}

# ISOLATION names some of them.
isolation() {
  say "isolation: what concurrent transactions see"
  regression isolation "$PGXS/../test/isolation/pg_isolation_regress" "${ISOLATION:-}"
}

# The Perl tests start and crash clusters of their own, and keep logs of what they did. RECOVERY names
# some of them.
recovery() {
  local test name
  for test in "$work"/tests/recovery/*.pl; do
    name=$(basename "$test" .pl)
    chosen "$name" "${RECOVERY:-}" || continue
    say "recovery: $name"
    run_tap "$name" as_postgres env PATH="$PG_BIN:$PATH" \
      PG_REGRESS="$PGXS/../test/regress/pg_regress" TESTDATADIR="$work/tests/tmp_check" \
      TESTLOGDIR="$work/tests/log" TESTDIR="$work/tests" \
      PERL5LIB="$PGXS/../test/perl:$work/tests/recovery${PERL5LIB:+:$PERL5LIB}" \
      perl "$test"
  done
}

# client_tests NAME CONF TEST …: runs tests against a server of their own with this configuration. CLIENTS names
# some of them.
client_tests() {
  local name=$1 conf=$2 test program
  shift 2
  say "$name: starting a private PostgreSQL $PG_MAJOR ${conf:+with $conf}"
  as_postgres mkdir "$work/$name"
  server=$work/$name
  cluster_start "$server" "max_connections = 200" "max_prepared_transactions = 5" \
    "max_worker_processes = 32" "attesto_codes.sweep_interval = 0" "$conf"
  export NODE_PATH="$ROOT/target/clients/node_modules"
  for test in "$@"; do
    program=$(basename "${test%.*}")
    chosen "$program" "${CLIENTS:-}" || continue
    say "$name: $program"
    run_tap "$name-$program" "$test"
  done
  cluster_stop "$server"
}

clients() {
  local folder=$ROOT/tests/clients
  client_tests clients "" "$folder"/{docs,ways,poolers,pooled_sessions,race,cycles,undo,memory,exporter,adapters,attesto}.py \
    "$folder"/oidc_{adapter,requests}.mjs
  client_tests preloaded "shared_preload_libraries = 'attesto_codes'" \
    "$folder"/{race,undo,exporter}.py
  client_tests sharded "shared_preload_libraries = 'attesto_codes'
max_connections = 500" "$folder"/{sharded,sharded_race,sharded_undo}.py
}

[ $# -gt 0 ] || set -- unit regress isolation recovery clients
for suite in "$@"; do "$suite"; done
[ "$failed" = 0 ] || cat "$work/failures"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
