#!/usr/bin/env bash
# run.sh [SCENARIO …]: those named, or all of them. Ours beside the seed's SQL and others', in turns, on
# private clusters. Prints and writes RESULTS.md, and others.svg. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"
. "$ROOT/bench/common.sh"

SECONDS_PER_RUN=${SECONDS_PER_RUN:-2} ROUNDS=${ROUNDS:-7} ROWS=${ROWS:-1000000}
CLIENTS=${CLIENTS:-8 32} SIMPLE_CLIENTS=${SIMPLE_CLIENTS-8 32} SYNCS=${SYNCS:-on off unflushed fsync-off}
CODES=${CODES:-$((40000 * SECONDS_PER_RUN))}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}

# Who stores anything: its table. Each has a NAME.setup.sql, and a NAME.fill.sql that puts :rows codes.
declare -A TABLE=([attesto_codes]=authorizations [seed]=attesto_authorization_codes)

. "$ROOT/bench/cycles.sh"
. "$ROOT/bench/takes.sh"
. "$ROOT/bench/calls.sh"
. "$ROOT/bench/replays.sh"
. "$ROOT/bench/rows.sh"
. "$ROOT/bench/wal.sh"
. "$ROOT/bench/others.sh"
. "$ROOT/bench/protocol.sh"

SCENARIOS="cycles spends calls replays wal rows takes million others protocol"

# start NAME [LINE …]: a cluster with both stores in it, which PORT[NAME] then leads to.
declare -A PORT
start() {
  local name=$1 store
  as_postgres mkdir "$work/$name"
  cluster_start "$work/$name" "${@:2}"
  PORT[$name]=$PGPORT
  for store in "${!TABLE[@]}"; do query -f "$SQL/$store.setup.sql"; done
}

stop() {
  local name
  for name in "${!PORT[@]}"; do cluster_stop "$work/$name"; done
  give_huge_pages_back
  redis_stop
  cp "$RAW" "$ROOT/target/bench.tsv"
  rm -rf "$work"
}

# measure TITLE SYNC MODE CLIENTS RUN CONTENDER…: all rounds of one setting, in which the contenders
# take turns. RUN CONTENDER MODE CLIENTS prints the figures of one run, separated by tabs, the rate
# first. Every run becomes a line of RAW.
measure() {
  local title=$1 sync=$2 mode=$3 clients=$4 run=$5 round contender figures
  shift 5
  for ((round = 1; round <= ROUNDS; round++)); do
    printf 'sync %-9s  %-8s %2d clients  round %d ' "$sync" "$mode" "$clients" "$round"
    for contender in "$@"; do
      figures=$("$run" "$contender" "$mode" "$clients")
      printf '%s\t' "$title" "$sync" "$mode" "$clients" "$round" "$contender" >>"$RAW"
      printf '%s\n' "$figures" >>"$RAW"
      printf '  %s %.0f' "$contender" "${figures%%$'\t'*}"
    done
    echo
  done
}

facts() {
  local fsync
  fsync=$("$PG_BIN/pg_test_fsync" -s 1 -f "$work/fsync" | awk '$1 == "fdatasync" && !rate {rate = $2} END {print int(rate)}')
  cat <<END
# Results of \`make bench\`

$ROUNDS rounds of $SECONDS_PER_RUN seconds each. What is measured, and how: [README.md](README.md).

| | |
|---|---|
| date | $(date -u +%F) |
| attesto_codes | $(git -C "$ROOT" describe --tags --always --dirty 2>/dev/null || echo "not a git checkout") |
| PostgreSQL | $(query -c 'SHOW server_version') |
| processor | $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; pgbench runs on the same ones |
| memory | $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo) |
| disk | of unknown kind; $fsync fdatasync a second (pg_test_fsync) |
| settings | stock ($(query -c "SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
    WHERE name IN ('autovacuum', 'full_page_writes', 'max_wal_size', 'shared_buffers', 'wal_level')")), except what a table says |
END
}

# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $SCENARIOS
for scenario in "$@"; do
  [[ " $SCENARIOS " = *" $scenario "* ]] || die "no scenario $scenario: $SCENARIOS"
done
work=$(work_folder bench)
RAW=$work/bench.tsv
: >"$RAW"
trap stop EXIT
for scenario in "$@"; do "scenario_$scenario"; done
# soak.sh and sweep.sh keep what they found at the end of the file.
{
  facts
  "$ROOT/bench/report.py" <"$RAW"
  echo
  [ ! -e "$RESULTS" ] || sed -n '/^## Life after the take/,$p' "$RESULTS"
} >"$work/RESULTS.md"
mv "$work/RESULTS.md" "$RESULTS"
say "$RESULTS"
cat "$RESULTS"
