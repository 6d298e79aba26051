#!/usr/bin/env bash
# sweep.sh: what a sweep of BATCH rows and the statistics cost in a table of SMALL and one of LARGE rows,
# and what a take costs while a sweep of DUE rows runs. Writes parts of RESULTS.md, those that PARTS names; the raw
# figures stay in target/sweep.tsv. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"
. "$ROOT/bench/common.sh"

SMALL=${SMALL:-10000} LARGE=${LARGE:-10000000} BATCH=${BATCH:-1000} ROUNDS=${ROUNDS:-9}
DUE=${DUE:-1000000} OTHERS=${OTHERS:-1000000} RATE=${RATE:-1000} CLIENTS=${CLIENTS:-4} ALONE=${ALONE:-15} LOAD=${LOAD:-40}
RUNS=${RUNS:-5} PARTS=${PARTS:-sizes takes}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}
RAW=$ROOT/target/sweep.tsv

work=$(work_folder sweep)
trap 'cluster_remove "$work"' EXIT
: >"$RAW"
# The first code that is due, far from those that are not.
DUE_FROM=1000000000

# run DATABASE FILE NAME=VALUE…: a script of sql/ with the grant.
run() {
  local name variables=() file=$2
  for name in "${!GRANT[@]}"; do variables+=(-v "$name=${GRANT[$name]}"); done
  for name in "${@:3}"; do variables+=(-v "$name"); done
  query -d "$1" "${variables[@]}" -f "$SQL/$file.sql"
}

# While tables are filled nothing needs to survive a crash.
careless() {
  local value
  for value in autovacuum fsync full_page_writes; do query -c "ALTER SYSTEM SET $value = $1"; done
  query -c "SELECT pg_reload_conf()" >/dev/null
}

create() {
  query -c "CREATE DATABASE $1"
  query -d "$1" -f "$SQL/attesto_codes.setup.sql"
}

# fill_table MIXTURE ROWS: the database MIXTURE_ROWS.
fill_table() {
  create "$1_$2"
  run "$1_$2" sweep.fill "mixture=$1" "rows=$2"
  query -d "$1_$2" -c "VACUUM (ANALYZE)"
}

# timed DATABASE STATEMENT: its answer, and the milliseconds that it took as psql sees it.
timed() {
  query -d "$1" <<<$'\\timing on\n'"$2;" | sed -E 's/^Time: ([0-9.]+) ms.*/\1/' | paste -sd '\t'
}

# A sweep of exactly BATCH rows, which are due since a moment ago, each time others.
batch=0
sweep_batch() {
  local first=$((DUE_FROM + batch * BATCH))
  batch=$((batch + 1))
  run "$1" sweep.due "first=$first" "last=$((first + BATCH - 1))"
  expect "$BATCH" "$(timed "$1" 'SELECT code_sweep()')"
}
sweep_nothing() { expect 0 "$(timed "$1" 'SELECT code_sweep()')"; }
expect() {
  [ "${2%%$'\t'*}" = "$1" ] || die "the sweep answered ${2%%$'\t'*} instead of $1"
  milliseconds=${2#*$'\t'}
}
# A scraper stays connected: the first call of a session is not timed.
stats() {
  milliseconds=$(timed "$1" 'SELECT live FROM code_stats() \g /dev/null'$'\n''SELECT live FROM code_stats()')
  milliseconds=${milliseconds##*$'\t'}
}

# Each round has both sizes, one after the other. The first one is not counted.
rounds() {
  local title=$1 mixture=$2 run=$3 round rows
  echo "$title, $mixture"
  for ((round = 0; round <= ROUNDS; round++)); do
    for rows in "$SMALL" "$LARGE"; do
      "$run" "${mixture}_$rows"
      [ "$round" = 0 ] || printf '%s\t%s\t%s\t%s\t%s\n' "$title" "$mixture" "$rows" "$round" "$milliseconds" >>"$RAW"
    done
  done
}

# truth MIXTURE ROWS: a line of a table, code_stats() beside what it estimates.
truth() {
  local counts="count(*) FILTER (WHERE consumed_at IS NULL) || ' | ' || count(*) FILTER (WHERE consumed_success) || ' | ' ||
    count(*) FILTER (WHERE CASE WHEN consumed_success THEN retain_from < now() - interval '30 days' ELSE expires_at < now() END)"
  query -d "$1_$2" -c "SELECT '| $1 | $2 | counted | ' || $counts || ' | ' || (SELECT count(*) FROM authorization_revoked_families) || ' |'
      FROM authorizations" \
    -c "SELECT '| | | code_stats(), ' || CASE WHEN sampled THEN 'sampled' ELSE 'the whole table' END || ' | '
      || live || ' | ' || redeemed || ' | ' || due || ' | ' || families_revoked || ' |' FROM code_stats()"
}

# takes TITLE FIRST LAST: of any of these codes at a steady rate, alone for ALONE seconds and then while a
# sweep of DUE codes runs; a line of figures.
takes() {
  local load from to answer
  query -d takes -c "TRUNCATE authorizations"
  run takes sweep.due "first=$DUE_FROM" "last=$((DUE_FROM + DUE - 1))"
  run takes sweep.fill mixture=live "rows=$OTHERS"
  query -d takes -c "VACUUM (ANALYZE) authorizations" -c CHECKPOINT
  rm -f "$work"/latency.*
  PGDATABASE=takes load sweep.take prepared "$CLIENTS" -T "$LOAD" --rate="$RATE" --log --log-prefix="$work/latency" \
    -D "first=$2" -D "last=$3" >/dev/null &
  load=$!
  sleep "$ALONE"
  from=$(date +%s.%N)
  answer=$(query -d takes -c "SELECT code_sweep($((2 * DUE)))")
  to=$(date +%s.%N)
  wait "$load"
  # What --rate made a take wait for its turn is not counted.
  awk -v from="$from" -v to="$to" -v work="$work" '{
    ended = $5 + $6 / 1e6
    if (ended < to) print $1, $2, $3 - $7 >(work "/takes." (ended < from ? "alone" : "beside"))
  }' "$work"/latency.*
  printf '%s\t' "$1" "$("$ROOT/bench/report.py" percentiles "$work/takes.alone")" \
    "$("$ROOT/bench/report.py" percentiles "$work/takes.beside")" "$answer"
  awk -v from="$from" -v to="$to" 'BEGIN {printf "%.1f\n", to - from}'
}

sizes() {
  local mixture rows filling=()
  careless off
  say "Filling two tables of $SMALL and two of $LARGE rows"
  for mixture in live evidence; do
    for rows in "$SMALL" "$LARGE"; do fill_table "$mixture" "$rows" & filling+=($!); done
  done
  for each in "${filling[@]}"; do wait "$each"; done
  careless on
  query -c CHECKPOINT

  say "$ROUNDS rounds"
  for mixture in live evidence; do
    rounds "sweep of $BATCH rows" "$mixture" sweep_batch
    rounds "sweep of none" "$mixture" sweep_nothing
    rounds "code_stats()" "$mixture" stats
  done
  for mixture in live evidence; do
    for rows in "$SMALL" "$LARGE"; do
      run "${mixture}_$rows" sweep.due "first=$DUE_FROM" "last=$((DUE_FROM + BATCH - 1))"
      truth "$mixture" "$rows"
    done
  done >"$work/truth"
  for rows in "$SMALL" "$LARGE"; do
    for mixture in live evidence; do query -c "DROP DATABASE ${mixture}_$rows"; done
  done
  {
    echo "$machine"
    cat <<END
shared_buffers = 2GB, max_wal_size = 4GB, everything else stock.

A sweep of $BATCH rows that are due, in a table of $SMALL and in one of $LARGE rows; milliseconds as the client sees
them, the worker's start included. \`live\`: all others are live and have not expired. \`evidence\`: all others are redeemed
and retained, but for 2 % that are live.

END
    "$ROOT/bench/report.py" sizes <"$RAW"
    cat <<END

What code_stats() says of these tables, each with $BATCH rows that are due:

| others | rows | | live | redeemed | due | families revoked |
|---|---:|---|---:|---:|---:|---:|
END
    cat "$work/truth"
  } >"$work/section.md"
  section "Cost of a sweep and of the statistics" <"$work/section.md"
}

# Both kinds in turns, RUNS times.
takes_beside_a_sweep() {
  local each
  create takes
  for ((each = 1; each <= RUNS; each++)); do
    say "Takes beside a sweep of $DUE rows, run $each of $RUNS"
    takes "codes that are not due" 1 "$OTHERS" | tee -a "$work/takes"
    takes "codes that are due" "$DUE_FROM" "$((DUE_FROM + DUE - 1))" | tee -a "$work/takes"
  done
  {
    echo "$machine"
    cat <<END
shared_buffers = 2GB, max_wal_size = 4GB, everything else stock.

Takes at $RATE a second beside one sweep of $DUE due codes in a table of $((DUE + OTHERS)), ms ($CLIENTS clients, -M prepared,
autocommit). Medians of $RUNS runs, with minimum and maximum; a run has a table of its own, and begins after a checkpoint.

END
    "$ROOT/bench/report.py" beside <"$work/takes"
  } >"$work/section.md"
  section "Takes beside a sweep" <"$work/section.md"
}

cluster_start "$work" "shared_preload_libraries = 'attesto_codes'" "attesto_codes.sweep_interval = 0" \
  "shared_buffers = 2GB" "max_wal_size = 4GB"
machine=$(machine)
[[ $PARTS != *sizes* ]] || sizes
[[ $PARTS != *takes* ]] || takes_beside_a_sweep
say "$RESULTS"
cat "$work/section.md"
