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

# Huge pages for the buffers, as PostgreSQL's documentation advises for so many: with pages of 4 kB a new connection
# has a page fault for each that it touches first, which is most of what it does in a run of a second. Only root may ask
# the kernel for them; `stop` gives them back.
HUGE_PAGES=4500 HUGE_PAGES_BEFORE=
ask_for_huge_pages() {
  local setting=/proc/sys/vm/nr_hugepages
  huge=off
  if [ -w "$setting" ] && grep -q '^Hugepagesize: *2048 kB' /proc/meminfo; then
    HUGE_PAGES_BEFORE=$(<"$setting")
    echo "$HUGE_PAGES" >"$setting"
    if [ "$(<"$setting")" -ge "$HUGE_PAGES" ]; then huge=on; else give_huge_pages_back; fi
  fi
}

give_huge_pages_back() {
  [ -z "$HUGE_PAGES_BEFORE" ] || echo "$HUGE_PAGES_BEFORE" >/proc/sys/vm/nr_hugepages
  HUGE_PAGES_BEFORE=
}

# Neither table is vacuumed: in one that is each take has to unset the bit of its page in the visibility map.
scenario_rows() {
  local name huge ROUNDS=$((3 * ROUNDS))
  say "Starting a private PostgreSQL $PG_MAJOR, and putting $MANY codes"
  ask_for_huge_pages
  start rows "shared_buffers = 8GB" "huge_pages = $huge" "max_wal_size = 32GB" "checkpoint_timeout = 1h" "autovacuum = off"
  for name in "${!SIZE[@]}"; do
    query -c "CREATE DATABASE $name"
    PGDATABASE=$name query -f "$SQL/attesto_codes.setup.sql"
    PGDATABASE=$name fill attesto_codes "${SIZE[$name]}"
    PGDATABASE=$name query -c "ANALYZE authorizations"
  done
  say "Takes of $TAKEN codes, huge pages $huge: $ROUNDS rounds"
  # One that is not counted brings the files into memory.
  for name in "${!SIZE[@]}"; do takes_of_rows "$name" prepared 8 >/dev/null; done
  measure "Takes in tables of $MANY and of $FEW rows, huge pages $huge" on prepared 8 takes_of_rows many few
  cluster_stop "$work/rows"
  give_huge_pages_back
}
