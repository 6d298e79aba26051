# The scenarios cycles, spends and million; sourced by run.sh. A cycle is put, take, mark: three autocommit
# statements.

# Each has a NAME.cycle.sql. The first is ours, and the ratios are ours to the second.
CYCLES=(attesto_codes seed floor)

# synchronous_commit on, off, or fsync-off: on, without a disk that anybody waits for; or unflushed: off, with codes
# that a crash spends.
synchronous_commit() {
  local commit=$1 fsync=on survive=on
  [ "$1" != fsync-off ] || { commit=on; fsync=off; }
  [ "$1" != unflushed ] || { commit=off; survive=off; }
  query -c "ALTER DATABASE postgres SET attesto_codes.codes_survive_crash = $survive"
  query -c "ALTER SYSTEM SET synchronous_commit = $commit" -c "ALTER SYSTEM SET fsync = $fsync" \
    -c "SELECT pg_reload_conf()" >/dev/null
  until [ "$(query -c 'SHOW synchronous_commit' -c 'SHOW fsync')" = "$commit"$'\n'"$fsync" ]; do sleep 0.1; done
}

# Empties the tables and writes out what the run before left, so that no run pays for another.
empty() {
  local tables=${TABLE[*]}
  query -c "TRUNCATE ${tables// /, }" -c CHECKPOINT
}

cycles() { load "$1.cycle" "$2" "$3" -T "$SECONDS_PER_RUN" | awk '/^tps/ {print $3}'; }
cycles_on_empty() { empty; cycles "$@"; }

# Who stores anything: its redeemed codes.
declare -A REDEEMED=(
  [attesto_codes]="authorizations WHERE consumed_at IS NOT NULL AND consumed_success"
  [seed]="attesto_authorization_codes WHERE consumed_at IS NOT NULL AND consumed_success"
)

# Every cycle must end with a redeemed code: a rate of misses means nothing.
check_cycles() {
  local store mode redeemed
  for store in "${!TABLE[@]}"; do
    for mode in prepared simple; do
      empty
      load "$store.cycle" "$mode" 2 -t 10 >/dev/null
      redeemed=$(query -c "SELECT count(*) FROM ${REDEEMED[$store]}")
      [ "$redeemed" = 20 ] || die "$store, $mode: $redeemed of 20 cycles redeemed their code"
    done
  done
}

# A cluster with stock settings, which both scenarios use.
stock_cluster() {
  if [ -n "${PORT[stock]:-}" ]; then
    PGPORT=${PORT[stock]}
    return
  fi
  say "Starting a private PostgreSQL $PG_MAJOR"
  start stock
  echo "Does every cycle redeem its code?"
  check_cycles
  echo yes
}

# Where only the spend must survive a crash: ours has that with synchronous_commit = off, since a crash spends the
# codes, or since a take flushes by itself; the seed's SQL needs it on.
declare -A SPENDER=([seed]=commit_on)
declare -A SPENDS=([unflushed]="Cycles of which only the spend must survive a crash"
  [commit_off]="Cycles of which only the spend must survive a crash, by a flush of the take")
spends() { PGUSER=${SPENDER[$1]} cycles_on_empty "$@"; }

scenario_spends() {
  local clients role
  stock_cluster
  synchronous_commit on
  query -c "CREATE ROLE commit_on SUPERUSER LOGIN"
  for role in unflushed commit_off; do
    query -c "CREATE ROLE $role SUPERUSER LOGIN" -c "ALTER ROLE $role SET synchronous_commit = off"
  done
  query -c "ALTER ROLE unflushed SET attesto_codes.codes_survive_crash = off"
  say "Cycles of which only the spend must survive: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  for role in unflushed commit_off; do
    SPENDER[attesto_codes]=$role
    for clients in $CLIENTS; do measure "${SPENDS[$role]}" on prepared "$clients" spends attesto_codes seed; done
  done
}

scenario_cycles() {
  local sync clients
  stock_cluster
  say "Cycles on empty tables: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  for sync in $SYNCS; do
    synchronous_commit "$sync"
    for clients in $CLIENTS; do
      measure "Cycles on empty tables" "$sync" prepared "$clients" cycles_on_empty "${CYCLES[@]}"
    done
    for clients in $SIMPLE_CLIENTS; do
      measure "Cycles on empty tables" "$sync" simple "$clients" cycles_on_empty "${CYCLES[@]}"
    done
  done
}

# Emptying them again would cost a fill: the rounds add to the rows that are there. A first round
# that is not counted takes the full page images that follow the checkpoint.
scenario_million() {
  local sync store
  stock_cluster
  say "Cycles on full tables: putting $ROWS codes"
  empty
  for store in "${!TABLE[@]}"; do
    fill "$store" "$ROWS"
    query -c "VACUUM (ANALYZE) ${TABLE[$store]}"
  done
  query -c CHECKPOINT
  for sync in $SYNCS; do
    synchronous_commit "$sync"
    for store in "${!TABLE[@]}"; do cycles "$store" prepared 8 >/dev/null; done
    measure "Cycles with $ROWS rows in place" "$sync" prepared 8 cycles "${CYCLES[@]}"
  done
}
