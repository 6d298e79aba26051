#!/usr/bin/env bash
# Runs the test suites (all of them, or those named) against the installed extension. As many tests run side by side as
# JOBS says, by default one for each processor. What a test says is shown when it ends; the last line counts them all.
# What a test left is kept only where it failed. RESULTS names a file to which a line a test is added, for majors.sh.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"

JOBS=${JOBS:-$(nproc)}
failed=0
work=$(work_folder test)
cp -r "$ROOT"/{tests,contrib,docs} "$work"
is_root && chown -R postgres "$work"/{tests,contrib,docs}
trap 'wait; if [ $failed = 0 ]; then rm -rf "$work"; else echo "kept: $work"; fi' EXIT

# beside COMMAND …: runs it as soon as fewer than JOBS others run, and shows all that it said when it ends.
beside() {
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n || true; done
  {
    said=$(mktemp "$work/said.XXXXXX")
    # Not in a condition, where bash would not end it at an error.
    set +e
    (set -e; "$@") >"$said" 2>&1
    [ $? = 0 ] || broke_off "$2" >>"$said"
    flock "$work" cat "$said"
  } &
}

# broke_off NAME: an error of this script itself.
broke_off() {
  echo "not ok - $1 broke off"
  printf '%s\t%s\t0\t1\t\n' "$PG_MAJOR" "$(basename "$1")" >>"$work/tallies"
}

# count LOG PATTERN: how many lines match.
count() { grep -cE "$2" "$1" || true; }

# tally NAME BEGAN STATUS PASSED FAILED [SKIPPED]: a test that failed without saying what counts as one. What it said
# is shown at the end, above the count. BEGAN is in SECONDS. SKIPPED is why some or all of it did not run.
tally() {
  local name=$1 began=$2 status=$3 ok=$4 bad=$5 skipped=${6:-}
  [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
  [ "$ok" != 0 ] || [ "$bad" != 0 ] || [ "$skipped" ] || { echo "no test ran in $name"; bad=1; }
  [ "$bad" = 0 ] || { printf '\n== %s failed\n' "$name"; unmet "$name"; } >"$work/failure.$name"
  printf -- '-- %s: %d passed, %d failed, %d s%s\n' "$name" "$ok" "$bad" $((SECONDS - began)) "${skipped:+, not run: $skipped}"
  printf '%s\t%s\t%d\t%d\t%s\n' "$PG_MAJOR" "$name" "$ok" "$bad" "$skipped" >>"$work/tallies"
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
  local name=$1 log=$work/$1.log status=0 began=$SECONDS skipped
  shift
  "$@" >"$log" 2>&1 || status=$?
  grep -E '^(ok|not ok)' "$log" || true
  skipped=$(sed -nE 's/^ok [0-9]+ # skip //p' "$log" | head -1)
  tally "$name" "$began" "$status" "$(grep -E '^ok ' "$log" | grep -cv '# skip' || true)" \
    "$(count "$log" '^not ok ')" "$skipped"
}

cargo_test() {
  say "unit: the pure modules"
  local log=$work/unit.log status=0 began=$SECONDS
  (cd "$ROOT" && cargo test --quiet "${CARGO_FEATURES[@]}" -- --format pretty) >"$log" 2>&1 || status=$?
  tally unit "$began" "$status" "$(count "$log" '^test .* ok$')" "$(count "$log" '^test .* FAILED$')"
}

# regression NAME PROGRAM TESTS: a suite of pg_regress or pg_isolation_regress, with a server of its own; all of its
# tests where none is named.
regression() {
  local name=$1 program=$2 log=$work/$1.log status=0 began=$SECONDS tests=(--schedule="$work/tests/$1/schedule")
  [ -z "$3" ] || read -ra tests <<<"$3"
  as_postgres mkdir "$work/$name"
  as_postgres "$program" --temp-instance="$work/$name/instance" --bindir="$PG_BIN" \
    --temp-config="$work/tests/quiet.conf" --inputdir="$work/tests/$name" --outputdir="$work/$name" --encoding=UTF8 --no-locale \
    "${tests[@]}" >"$log" 2>&1 || status=$?
  # PostgreSQL 16 and later speak TAP; the earlier ones say "test name ... ok".
  grep -E '^(ok|not ok) |\.\.\. (ok|FAILED)' "$log" || true
  tally "$name" "$began" "$status" "$(count "$log" '^ok |\.\.\. ok')" "$(count "$log" '^not ok |\.\.\. FAILED')"
}

unit() { beside cargo_test unit; }

# REGRESS names some of them. The first makes the extension for the others.
regress() {
  say "regress: what each function answers"
  beside regression regress "$PGXS/../test/regress/pg_regress" "${REGRESS:+install $REGRESS}"
}

# ISOLATION names some of them.
isolation() {
  say "isolation: what concurrent transactions see"
  beside regression isolation "$PGXS/../test/isolation/pg_isolation_regress" "${ISOLATION:-}"
}

recovery_test() {
  local test=$1 name
  name=$(basename "$test" .pl)
  say "recovery: $name"
  run_tap "$name" as_postgres env PATH="$PG_BIN:$PATH" \
    PG_REGRESS="$PGXS/../test/regress/pg_regress" TESTDATADIR="$work/tests/tmp_check" \
    TESTLOGDIR="$work/tests/log" TESTDIR="$work/tests" \
    PERL5LIB="$PGXS/../test/perl:$work/tests/recovery${PERL5LIB:+:$PERL5LIB}" \
    perl "$test"
}

# The Perl tests start and crash clusters of their own, and keep logs of what they did. RECOVERY names
# some of them.
recovery() {
  local test
  say "recovery: crashes, standbys, dumps, upgrades, sweeps"
  for test in "$work"/tests/recovery/*.pl; do
    ! chosen "$(basename "$test" .pl)" "${RECOVERY:-}" || beside recovery_test "$test"
  done
}

# client_tests NAME CONF TEST …: runs tests against a server of their own with this configuration. CLIENTS names
# some of them.
client_tests() {
  local name=$1 conf=$2 server=$work/$1 test program tests=()
  shift 2
  for test in "$@"; do
    ! chosen "$(basename "${test%.*}")" "${CLIENTS:-}" || tests+=("$test")
  done
  [ ${#tests[@]} -gt 0 ] || return 0
  say "$name: starting a private PostgreSQL $PG_MAJOR ${conf:+with $conf}"
  as_postgres mkdir "$server"
  # In a process of its own, see beside.
  trap "cluster_stop '$server'" EXIT
  cluster_start "$server" "max_connections = 200" "max_prepared_transactions = 5" \
    "max_worker_processes = 32" "attesto_codes.sweep_interval = 0" "$conf"
  export NODE_PATH="$ROOT/target/clients/node_modules"
  for test in "${tests[@]}"; do
    program=$(basename "${test%.*}")
    say "$name: $program"
    run_tap "$name-$program" "$test"
  done
}

clients() {
  local folder=$ROOT/tests/clients
  say "clients: real clients and servers"
  beside client_tests clients "" "$folder"/{docs,ways,poolers,pooled_sessions,race,cycles,undo,memory,exporter}.py
  beside client_tests adapters "" "$folder"/{adapters,attesto}.py "$folder"/oidc_{adapter,requests}.mjs
  beside client_tests preloaded "shared_preload_libraries = 'attesto_codes'" "$folder"/{race,undo,exporter}.py
  beside client_tests sharded "shared_preload_libraries = 'attesto_codes'
max_connections = 500" "$folder"/{sharded,sharded_race,sharded_undo}.py
}

[ $# -gt 0 ] || set -- unit regress isolation recovery clients
for suite in "$@"; do "$suite"; done
wait
touch "$work/tallies"
[ -z "${RESULTS:-}" ] || cat "$work/tallies" >>"$RESULTS"
cat "$work"/failure.* 2>/dev/null || true
read -r passed failed < <(awk -F '\t' '{ passed += $3; failed += $4 } END { print passed + 0, failed + 0 }' "$work/tallies")
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
