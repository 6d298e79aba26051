# The scenario takes; sourced by run.sh. A take finds a live code of its own, and nothing else is in
# the transaction but BEGIN and COMMIT. Two clusters run side by side, one under load at a time.

TAKES_CLIENTS=${TAKES_CLIENTS:-1 8 32}
TAKES=(autocommit "independent without preload" "independent with preload" join "plain SQL")
# What is not named here takes code_take inside BEGIN … COMMIT, without preload.
declare -A CLUSTER=(["independent with preload"]=preload)
declare -A SCRIPT=([autocommit]=take ["plain SQL"]=update_in_block)
declare -A STORE=(["plain SQL"]=seed)
# attesto_codes.take_in_transaction, and the role that has it. Autocommit must not need a worker.
declare -A SETTING=([autocommit]=refuse [join]=join)

# choose CONTENDER: sets table and script, and points psql and pgbench at its cluster and role.
choose() {
  table=${TABLE[${STORE[$1]:-attesto_codes}]} script=${SCRIPT[$1]:-take_in_block}
  PGPORT=${PORT[${CLUSTER[$1]:-without_preload}]} PGUSER=${SETTING[$1]:-independent}
}

# The latency is that of the whole transaction; the take's own is an average, the only one that
# pgbench has of a statement.
takes() {
  local contender=$1 mode=$2 clients=$3 table script report taken spent
  choose "$contender"
  query -c "TRUNCATE $table" -c "INSERT INTO $table TABLE live_$table" -c "VACUUM ANALYZE $table" -c CHECKPOINT
  rm -f "$work"/latency.*
  report=$(load "$script" "$mode" "$clients" -T "$SECONDS_PER_RUN" -r --log --log-prefix="$work/latency" \
    -D i=0 -D "share=$((CODES / clients))")
  taken=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' <<<"$report")
  spent=$(query -c "SELECT count(*) FROM $table WHERE consumed_at IS NOT NULL")
  [ "$taken" = "$spent" ] || die "$contender, $clients clients: $taken takes spent $spent codes. Too few CODES ($CODES)?"
  awk -v OFS='\t' -v ORS='\t' '/^tps/ {rate = $3} /code_take|UPDATE/ {take = $1} END {print rate, take}' <<<"$report"
  "$ROOT/bench/report.py" percentiles "$work"/latency.*
}

# Every contender must do what its name says: of what a ROLLBACK leaves spent.
check_takes() {
  local contender table script expected spent
  for contender in "${TAKES[@]}"; do
    case $contender in autocommit) continue ;; independent*) expected=1 ;; *) expected=0 ;; esac
    choose "$contender"
    query -c "INSERT INTO $table TABLE live_$table LIMIT 1"
    sed 's/^COMMIT/ROLLBACK/' "$SQL/$script.sql" >"$work/rolled_back.sql"
    SQL=$work load rolled_back prepared 1 -t 1 -D i=0 -D share=0 >/dev/null
    spent=$(query -c "SELECT count(*) FROM $table WHERE consumed_at IS NOT NULL" -c "TRUNCATE $table")
    [ "$spent" = "$expected" ] || die "$contender: a ROLLBACK left $spent codes spent, expected $expected"
  done
}

# On each cluster both stores' live codes, put once, to copy from; and a role for each setting.
takes_cluster() {
  local store setting
  start "$@" "max_worker_processes = 64"
  for store in "${!TABLE[@]}"; do
    fill "$store" "$CODES"
    query -c "CREATE TABLE live_${TABLE[$store]} AS TABLE ${TABLE[$store]}" -c "TRUNCATE ${TABLE[$store]}"
  done
  for setting in independent refuse join; do
    query -c "CREATE ROLE $setting SUPERUSER LOGIN" \
      -c "ALTER ROLE $setting SET attesto_codes.take_in_transaction = $setting"
  done
}

scenario_takes() {
  local clients
  say "Starting two private PostgreSQL $PG_MAJOR, with $CODES codes to take in each"
  takes_cluster without_preload
  takes_cluster preload "shared_preload_libraries = 'attesto_codes'"
  echo "Is each contender what its name says?"
  (check_takes)
  echo yes
  say "Takes: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  for clients in $TAKES_CLIENTS; do measure Takes on prepared "$clients" takes "${TAKES[@]}"; done
}
