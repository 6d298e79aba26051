#!/usr/bin/env bash
# run.sh [SCENARIO …]: cycles, takes, million; without arguments all of them. Ours beside the seed's
# SQL, in turns, on private clusters. Prints and writes RESULTS.md. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"
shopt -s inherit_errexit

SECONDS_PER_RUN=${SECONDS_PER_RUN:-3} ROUNDS=${ROUNDS:-5} ROWS=${ROWS:-1000000}
CLIENTS=${CLIENTS:-1 8 32} SIMPLE_CLIENTS=${SIMPLE_CLIENTS-1 8 32} SYNCS=${SYNCS:-on off fsync-off}
CODES=${CODES:-$((40000 * SECONDS_PER_RUN))}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}
SQL=$ROOT/bench/sql

# Who stores anything: its table. Each has a NAME.setup.sql, and a NAME.fill.sql that puts :rows codes.
declare -A TABLE=([attesto_codes]=authorizations [seed]=attesto_authorization_codes)

# What every contender stores. A code's key is 19 characters of its own and key_tail (together 43),
# its family the same 19 and family_tail (36).
declare -A GRANT=(
  [key_tail]=wFrEMTJguCHaoeK1t8URWbuG
  [family_tail]=-4b1e-9c6d-5f2a78
  [client]=s6BhdRkqt3.example-app
  [subject]=0b1f6a52-6a0c-4f7e-9d35-2c8e4f1a7b90
  [redirect_uri]=https://app.example.com/oauth/callback
  [scope]='{openid,profile,email}'
  [resource]='{https://api.example.com/v1}'
  [challenge]=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM [method]=S256 [success]=false
  [nonce]=n-0S6_WzA2Mj8KqLp4Xc
  [claims]='{"acr":"urn:example:loa:2","auth_time":1763870000,"amr":["pwd","otp"]}'
  [expires_unix]=1893456000 [expires_at]='2030-01-01 00:00:00' [now]='2029-12-31 23:59:00'
)
GRANT[data_head]='{"client_id":"'${GRANT[client]}'","subject":"'${GRANT[subject]}'","redirect_uri":"'${GRANT[redirect_uri]}'"'
GRANT[data_head]+=',"scope":["openid","profile","email"],"resource":["https://api.example.com/v1"]'
GRANT[data_head]+=',"code_challenge":"'${GRANT[challenge]}'","code_challenge_method":"S256"'
GRANT[data_head]+=',"nonce":"'${GRANT[nonce]}'","claims":'${GRANT[claims]}',"family_id":"'
GRANT[data_tail]='"}'

. "$ROOT/bench/cycles.sh"
. "$ROOT/bench/takes.sh"

query() { "$PG_BIN/psql" -X -qAt -v ON_ERROR_STOP=1 "$@"; }

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
  cp "$RAW" "$ROOT/target/bench.tsv"
  rm -rf "$work"
}

# load SCRIPT MODE CLIENTS OPTION…: pgbench's report. A variable is a parameter in prepared mode and
# plain text in simple mode, which therefore needs the quotes.
load() {
  local script=$1 mode=$2 clients=$3 quote='' name variables=() threads
  shift 3
  [ "$mode" = prepared ] || quote="'"
  for name in "${!GRANT[@]}"; do variables+=(-D "$name=$quote${GRANT[$name]}$quote"); done
  threads=$((clients < $(nproc) ? clients : $(nproc)))
  "$PG_BIN/pgbench" -n -M "$mode" -c "$clients" -j "$threads" "$@" "${variables[@]}" \
    -f "$SQL/$script.sql" 2>"$work/pgbench.log" || { cat "$work/pgbench.log" >&2; die "pgbench: $script"; }
}

# fill STORE ROWS: puts that many codes.
fill() {
  local name variables=(-v "rows=$2")
  for name in "${!GRANT[@]}"; do variables+=(-v "$name=${GRANT[$name]}"); done
  query "${variables[@]}" -f "$SQL/$1.fill.sql"
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

[ $# -gt 0 ] || set -- cycles takes million
for scenario in "$@"; do
  case $scenario in cycles | takes | million) ;; *) die "no scenario $scenario: cycles, takes, million" ;; esac
done
work=$(work_folder bench)
RAW=$work/bench.tsv
: >"$RAW"
trap stop EXIT
for scenario in "$@"; do "scenario_$scenario"; done
{ facts; "$ROOT/bench/report.py" <"$RAW"; } >"$work/RESULTS.md"
mv "$work/RESULTS.md" "$RESULTS"
say "$RESULTS"
cat "$RESULTS"
