# The scenario rows: whether a take costs more where more codes are stored; sourced by run.sh.

FEW=${FEW:-10000} MANY=${MANY:-10000000}
# How many codes a run takes: all clients together no more than FEW.
TAKEN=${TAKEN:-8000}

# Takes a second of codes that lie all over the table, in the order of nothing. Each size is a database.
# A round goes on where the one before ended; the small table is filled anew. No checkpoint comes between the fill
# and the takes, so that none writes a full page image: codes are taken seconds after they were put.
declare -A SIZE=([many]=$MANY [few]=$FEW)
takes_of_rows() {
  local PGDATABASE=$1 rows=${SIZE[$1]} clients=$3 spent
  if [ "$1" = few ]; then
    query -c "TRUNCATE authorizations"
    fill attesto_codes "$FEW"
  fi
  spent=$(query -c "SELECT count(*) FROM authorizations WHERE consumed_at IS NOT NULL")
  load take_any prepared "$clients" -t $((TAKEN / clients)) -D i=0 -D "rows=$rows" -D "share=$((TAKEN / clients))" -D "begun=$spent" |
    awk '/^tps/ {print $3}'
  [ $((spent + TAKEN)) = "$(query -c "SELECT count(*) FROM authorizations WHERE consumed_at IS NOT NULL")" ] ||
    die "$1: some takes found no live code"
}

scenario_rows() {
  local name
  say "Starting a private PostgreSQL $PG_MAJOR, and putting $MANY codes"
  start rows "shared_buffers = 8GB" "max_wal_size = 32GB" "checkpoint_timeout = 1h"
  for name in "${!SIZE[@]}"; do
    query -c "CREATE DATABASE $name"
    PGDATABASE=$name query -f "$SQL/attesto_codes.setup.sql"
    PGDATABASE=$name fill attesto_codes "${SIZE[$name]}"
    PGDATABASE=$name query -c "VACUUM ANALYZE authorizations"
  done
  say "Takes of $TAKEN codes: $ROUNDS rounds"
  # One that is not counted brings the files into memory.
  for name in "${!SIZE[@]}"; do takes_of_rows "$name" prepared 8 >/dev/null; done
  measure "Takes in tables of $MANY and of $FEW rows" on prepared 8 takes_of_rows many few
}
