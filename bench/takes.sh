#!/usr/bin/env bash
# What a take costs that nothing can undo: takes a second and their latency, alone and inside a
# transaction, beside an UPDATE by hand; in turns, on two private clusters, without preload and
# with. Prints and appends to RESULTS.md.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"

SECONDS_PER_RUN=${SECONDS_PER_RUN:-3} ROUNDS=${ROUNDS:-5} CLIENTS=${CLIENTS:-1 8 32}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}
CODES=${CODES:-150000} SLOTS=64
SQL=$ROOT/bench/sql
RAW=$ROOT/target/takes.tsv

# NAME: cluster, pgbench script, take_in_transaction
CONTENDERS=(autocommit independent preloaded join by_hand)
declare -A CLUSTER=([autocommit]=plain [independent]=plain [preloaded]=preloaded [join]=plain [by_hand]=plain)
declare -A SCRIPT=([autocommit]=take [independent]=take_in_block [preloaded]=take_in_block [join]=take_in_block
  [by_hand]=update_in_block)
declare -A PORT

query() { "$PG_BIN/psql" -X -qAt -v ON_ERROR_STOP=1 "$@"; }

# As many live codes as no run can use up, in a table that was just emptied.
refill() {
  query -v codes="$CODES" -f "$SQL/takes.fill.sql" >/dev/null
}

# run CONTENDER CLIENTS: takes a second, p50 and p99 in milliseconds. Each take must have spent a code
# of its own.
run() {
  local contender=$1 clients=$2 setting=independent threads done spent
  [ "$contender" = join ] && setting=join
  export PGPORT=${PORT[${CLUSTER[$contender]}]}
  export PGOPTIONS="-c attesto_codes.take_in_transaction=$setting"
  refill
  threads=$((clients < $(nproc) ? clients : $(nproc)))
  rm -f "$work"/latency.*
  "$PG_BIN/pgbench" -n -M prepared -c "$clients" -j "$threads" -T "$SECONDS_PER_RUN" -D i=0 \
    -D share=$((CODES / clients)) --log --log-prefix="$work/latency" -f "$SQL/${SCRIPT[$contender]}.sql" \
    >"$work/pgbench.out" 2>"$work/pgbench.err" || { cat "$work/pgbench.err" >&2; die "pgbench: $contender"; }
  done=$(awk '/actually processed/ {split($NF, n, "/"); print n[1]}' "$work/pgbench.out")
  spent=$(query -c "SELECT count(*) FROM authorizations WHERE consumed_at IS NOT NULL")
  [ "$done" = "$spent" ] || die "$contender, $clients clients: $done takes spent $spent codes"
  awk '/^tps/ {printf "%s ", $3}' "$work/pgbench.out"
  cat "$work"/latency.* | awk '{print $3}' | sort -n |
    awk '{l[NR] = $1} END {printf "%.3f %.3f\n", l[int((NR + 1) * 0.50)] / 1000, l[int((NR + 1) * 0.99)] / 1000}'
}

work=$(work_folder takes)
trap 'for c in plain preloaded; do cluster_stop "$work/$c"; done; rm -rf "$work"' EXIT
for cluster in plain preloaded; do
  as_postgres mkdir "$work/$cluster"
  cluster_start "$work/$cluster" "max_worker_processes = $SLOTS" \
    "$([ $cluster = preloaded ] && echo "shared_preload_libraries = 'attesto_codes'")"
  PORT[$cluster]=$PGPORT
  query -c 'CREATE EXTENSION attesto_codes'
done

say "Takes: $ROUNDS rounds of $SECONDS_PER_RUN s each"
: >"$RAW"
for clients in $CLIENTS; do
  for ((round = 1; round <= ROUNDS; round++)); do
    for contender in "${CONTENDERS[@]}"; do
      read -r rate p50 p99 < <(run "$contender" "$clients")
      [ -n "${rate:-}" ] || die "no figure for $contender"
      printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$clients" "$round" "$contender" "$rate" "$p50" "$p99" | tee -a "$RAW"
    done
  done
done

"$ROOT/bench/takes.py" "$ROUNDS" "$SECONDS_PER_RUN" "$SLOTS" <"$RAW" | tee -a "$RESULTS"
