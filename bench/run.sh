#!/usr/bin/env bash
# Redemption cycles (put, take, mark) a second: ours, the seed's SQL and a floor, in turns, on a
# private PostgreSQL. Prints and writes RESULTS.md. README.md says what the figures mean.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"

SECONDS_PER_RUN=${SECONDS_PER_RUN:-3} ROUNDS=${ROUNDS:-5} ROWS=${ROWS:-1000000}
CLIENTS=${CLIENTS:-1 8 32} MODES=${MODES:-prepared simple} SYNCS=${SYNCS:-on off fsync-off}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}
SQL=$ROOT/bench/sql
RAW=$ROOT/target/bench.tsv

# The first is ours, and the ratios are ours to the second. Each has a NAME.cycle.sql for pgbench
# and, if it stores anything, a table, a NAME.setup.sql, and a NAME.fill.sql that puts :rows codes.
CONTENDERS=(attesto_codes seed floor)
declare -A TABLE=([attesto_codes]=authorizations [seed]=attesto_authorization_codes)

# What every contender stores. A cycle's key is a random number of 19 digits and key_tail (together
# 43 characters), its family the same number and family_tail (36).
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

query() { "$PG_BIN/psql" -X -qAt -v ON_ERROR_STOP=1 "$@"; }

# cycles CONTENDER MODE CLIENTS LIMIT…: pgbench's report. A variable is a parameter in prepared
# mode and plain text in simple mode, which therefore needs the quotes.
cycles() {
  local contender=$1 mode=$2 clients=$3 quote='' name variables=() threads
  shift 3
  [ "$mode" = prepared ] || quote="'"
  for name in "${!GRANT[@]}"; do variables+=(-D "$name=$quote${GRANT[$name]}$quote"); done
  threads=$((clients < $(nproc) ? clients : $(nproc)))
  "$PG_BIN/pgbench" -n -M "$mode" -c "$clients" -j "$threads" "$@" "${variables[@]}" \
    -f "$SQL/$contender.cycle.sql" 2>"$work/pgbench.log" || { cat "$work/pgbench.log" >&2; die "pgbench: $contender"; }
}

# Empties the tables and writes out what the run before left, so that no run pays for another.
reset() {
  local tables=${TABLE[*]}
  query -c "TRUNCATE ${tables// /, }" -c CHECKPOINT
}

# Puts ROWS codes into every table.
fill() {
  local contender name variables=(-v "rows=$ROWS")
  for name in "${!GRANT[@]}"; do variables+=(-v "$name=${GRANT[$name]}"); done
  for contender in "${!TABLE[@]}"; do
    echo "$contender: putting $ROWS codes"
    query "${variables[@]}" -f "$SQL/$contender.fill.sql"
    query -c "VACUUM (ANALYZE) ${TABLE[$contender]}"
  done
  query -c CHECKPOINT
}

# synchronous_commit on, off, or fsync-off: on, without a disk that anybody waits for.
synchronous_commit() {
  local commit=$1 fsync=on
  [ "$1" != fsync-off ] || { commit=on; fsync=off; }
  query -c "ALTER SYSTEM SET synchronous_commit = $commit" -c "ALTER SYSTEM SET fsync = $fsync" \
    -c "SELECT pg_reload_conf()" >/dev/null
  until [ "$(query -c 'SHOW synchronous_commit' -c 'SHOW fsync')" = "$commit"$'\n'"$fsync" ]; do sleep 0.1; done
}

# measure SCENARIO SYNC MODE CLIENTS BEFORE: all rounds of one line of a table; BEFORE runs before
# each run. Every run becomes a line of RAW.
measure() {
  local scenario=$1 sync=$2 mode=$3 clients=$4 before=$5 round contender
  local -A rate
  for ((round = 1; round <= ROUNDS; round++)); do
    for contender in "${CONTENDERS[@]}"; do
      $before
      rate[$contender]=$(cycles "$contender" "$mode" "$clients" -T "$SECONDS_PER_RUN" | awk '/^tps/ {print $3}')
      printf '%s\t' "$scenario" "$sync" "$mode" "$clients" "$round" "$contender" >>"$RAW"
      printf '%s\n' "${rate[$contender]}" >>"$RAW"
    done
    printf 'sync %-9s  %-8s %2d clients  round %d ' "$sync" "$mode" "$clients" "$round"
    for contender in "${CONTENDERS[@]}"; do printf '  %s %.0f' "$contender" "${rate[$contender]}"; done
    awk -v a="${rate[${CONTENDERS[0]}]}" -v b="${rate[${CONTENDERS[1]}]}" 'BEGIN {printf "  ratio %.2f\n", a / b}'
  done
}

# Every cycle of a contender must end with a redeemed code: a rate of misses means nothing.
check_cycles() {
  local contender mode redeemed
  for contender in "${!TABLE[@]}"; do
    for mode in $MODES; do
      reset
      cycles "$contender" "$mode" 2 -t 10 >/dev/null
      redeemed=$(query -c "SELECT count(*) FROM ${TABLE[$contender]} WHERE consumed_at IS NOT NULL AND consumed_success")
      [ "$redeemed" = 20 ] || die "$contender, $mode: $redeemed of 20 cycles redeemed their code"
    done
  done
}

empty_tables() {
  local sync mode clients
  for sync in $SYNCS; do
    synchronous_commit "$sync"
    for mode in $MODES; do
      for clients in $CLIENTS; do measure "Empty tables" "$sync" "$mode" "$clients" reset; done
    done
  done
}

# Emptying them again would cost a fill: the rounds add to the rows that are there. A first round
# that is not counted takes the full page images that follow the checkpoint.
full_tables() {
  local sync contender
  reset
  fill
  for sync in $SYNCS; do
    synchronous_commit "$sync"
    for contender in "${!TABLE[@]}"; do cycles "$contender" prepared 8 -T "$SECONDS_PER_RUN" >/dev/null; done
    measure "$ROWS rows in place" "$sync" prepared 8 :
  done
}

facts() {
  local fsync
  fsync=$("$PG_BIN/pg_test_fsync" -s 1 -f "$work/fsync" | awk '$1 == "fdatasync" && !rate {rate = $2} END {print int(rate)}')
  cat <<END
# Results of \`make bench\`

Redemption cycles (put, take, mark: three autocommit statements) a second, the median of $ROUNDS rounds of
$SECONDS_PER_RUN seconds each. The ratio is ${CONTENDERS[0]} to ${CONTENDERS[1]} of the same round. What is measured: [README.md](README.md).

| | |
|---|---|
| date | $(date -u +%F) |
| attesto_codes | $(git -C "$ROOT" describe --tags --always --dirty 2>/dev/null || echo "not a git checkout") |
| PostgreSQL | $(query -c 'SHOW server_version') |
| processor | $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores; pgbench runs on the same ones |
| memory | $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo) |
| disk | of unknown kind; $fsync fdatasync a second (pg_test_fsync) |
| settings | stock ($(query -c "SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) FROM pg_settings
    WHERE name IN ('autovacuum', 'full_page_writes', 'max_wal_size', 'shared_buffers', 'wal_level')")), except synchronous_commit and fsync |
END
}

work=$(work_folder bench)
trap 'cluster_remove "$work"' EXIT
say "Starting a private PostgreSQL $PG_MAJOR"
cluster_start "$work"
for contender in "${!TABLE[@]}"; do query -f "$SQL/$contender.setup.sql"; done
: >"$RAW"

say "Does every cycle redeem its code?"
check_cycles
echo yes
say "Empty tables: $ROUNDS rounds of $SECONDS_PER_RUN s each"
empty_tables
say "Full tables: $ROWS codes in place"
full_tables

{ facts; "$ROOT/bench/report.py" <"$RAW"; } >"$work/RESULTS.md"
mv "$work/RESULTS.md" "$RESULTS"
say "$RESULTS"
cat "$RESULTS"
