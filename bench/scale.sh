#!/usr/bin/env bash
# scale.sh: what one redemption costs, in processor time, WAL, flushes, packets and bytes, with 1, 2, 4 and 8 shards: through a proxy, and
# straight to the shards, each with clients of its own. Each server has a network namespace and an address of its own. Needs root, and PL/Proxy. Writes a part of
# RESULTS.md; the raw figures stay in target/scale.tsv. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/bench/common.sh"

# A long run makes three times as many redemptions as a short one; the difference leaves out what the connections cost.
SHARDS=${SHARDS:-1 2 4 8} ROUNDS=${ROUNDS:-3} CLIENTS=${CLIENTS:-8} REDEMPTIONS=${REDEMPTIONS:-10000} MODES=${MODES:-flushed unflushed}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md}
RAW=$ROOT/target/scale.tsv
TITLE="Redemptions over shards"

is_root || die "network namespaces need root"
[ -e "$("$PG_CONFIG" --sharedir)/extension/plproxy.control" ] || die "there is no PL/Proxy: scripts/setup.sh --tests installs it"
work=$(work_folder scale)
: >"$RAW"

# The network: a bridge, and for each server a namespace with a cable to it.
BRIDGE=as$$
NET=10.$((100 + RANDOM % 100)).$((RANDOM % 256))
declare -a SERVERS=()
ip link add "$BRIDGE" type bridge
ip address add "$NET.254/24" dev "$BRIDGE"
ip link set "$BRIDGE" up

in_namespace() { local name=$1; shift; ip netns exec "$BRIDGE-$name" "$@"; }

plug() {
  local name=$1 address=$2
  ip netns add "$BRIDGE-$name"
  ip link add "$BRIDGE.$address" type veth peer name eth0 netns "$BRIDGE-$name"
  ip link set "$BRIDGE.$address" master "$BRIDGE" up
  in_namespace "$name" ip address add "$NET.$address/24" dev eth0
  in_namespace "$name" ip link set eth0 up
  in_namespace "$name" ip link set lo up
}

cleanup() {
  local name
  for name in "${SERVERS[@]}"; do
    as_postgres "$PG_BIN/pg_ctl" -D "$work/$name" -m immediate -w -s stop || true
    ip netns delete "$BRIDGE-$name"
  done
  ip link delete "$BRIDGE"
  rm -rf "$work"
}
trap cleanup EXIT

# serve NAME ADDRESS: a server there, on the usual port.
serve() {
  plug "$1" "$2"
  SERVERS+=("$1")
  as_postgres cp -r "$work/template" "$work/$1"
  in_namespace "$1" runuser -u postgres -- "$PG_BIN/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w -s \
    -o "-p 5432 -c listen_addresses=$NET.$2 -c unix_socket_directories=$work/$1" start >/dev/null
}

# The address of a server, and a query to it.
declare -A ADDRESS=([proxy]=100)
at() { query -h "$NET.${ADDRESS[$1]}" -p 5432 -U postgres -d postgres "${@:2}"; }

as_postgres "$PG_BIN/initdb" -D "$work/template" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$work/initdb.log"
echo "host all all $NET.0/24 trust" | as_postgres tee -a "$work/template/pg_hba.conf" >/dev/null
printf '%s\n' "max_connections = 200" "attesto_codes.sweep_interval = 0" "autovacuum = off" |
  as_postgres tee -a "$work/template/postgresql.conf" >/dev/null
most=$(tr ' ' '\n' <<<"$SHARDS" | sort -n | tail -1)
say "Starting $most shards and a proxy, each in a network namespace"
for ((shard = 1; shard <= most; shard++)); do
  ADDRESS[shard$shard]=$shard
  serve "shard$shard" "$shard"
  at "shard$shard" -c "CREATE EXTENSION attesto_codes"
done
serve proxy "${ADDRESS[proxy]}"
at proxy -1 -f "$ROOT/contrib/plproxy/proxy.sql" >/dev/null

# cpu NAME: microseconds of processor that a server and its children have used.
cpu() {
  local postmaster tick=$((1000000 / $(getconf CLK_TCK))) process
  postmaster=$(head -1 "$work/$1/postmaster.pid")
  { cat "/proc/$postmaster/stat"
    for process in $(pgrep -P "$postmaster"); do cat "/proc/$process/stat" 2>/dev/null || true; done
  } | sed 's/^.*) //' | awk -v tick="$tick" '{sum += $12 + $13 + $14 + $15} END {printf "%d", sum * tick}'
}

# used NAME: processor, WAL, flushes, packets and bytes of one server so far. What its sessions did counts when they have ended.
used() {
  until [ "$(at "$1" -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" = 1 ]; do sleep 0.1; done
  local card=/sys/class/net/eth0/statistics
  printf '%s %s %s %s\n' "$(cpu "$1")" "$(at "$1" -F ' ' -c "SELECT pg_current_wal_insert_lsn() - '0/0', wal_sync FROM pg_stat_wal")" \
    "$(in_namespace "$1" cat $card/rx_packets $card/tx_packets | awk '{sum += $1} END {printf "%d", sum}')" \
    "$(in_namespace "$1" cat $card/rx_bytes $card/tx_bytes | awk '{sum += $1} END {printf "%d", sum}')"
}

# shards_used N: the sum over the first N.
shards_used() {
  local shard
  for ((shard = 1; shard <= $1; shard++)); do used "shard$shard"; done |
    awk '{for (i = 1; i <= NF; i++) sum[i] += $i} END {printf "%d %d %d %d %d", sum[1], sum[2], sum[3], sum[4], sum[5]}'
}

name_shards() {
  at proxy -c "UPDATE shards.map SET connection = format('host=$NET.%s dbname=postgres', partition % $1 + 1)"
}

# run_at SERVER SCRIPT CLIENTS FROM COUNT: each client makes COUNT redemptions, or their codes, at a server.
run_at() {
  PGHOST=$NET.${ADDRESS[$1]} PGPORT=5432 PGUSER=postgres PGDATABASE=postgres load "scale.$2" prepared "$3" -t "$5" -D n="$4"
}

# run TARGET N SCRIPT CLIENTS FROM COUNT: at the proxy, or side by side at N shards, with a part of the clients each.
run() {
  local shard runs=()
  [ "$1" != proxy ] || { run_at proxy "${@:3}"; return; }
  for ((shard = 1; shard <= $2; shard++)); do
    run_at "shard$shard" "$3" $(($4 / $2)) "$5" "$6" &
    runs+=($!)
  done
  for shard in "${runs[@]}"; do wait "$shard"; done
}

# all_used N: of the shards processor, WAL, flushes, packets and bytes so far, and of the proxy.
all_used() { echo "$(shards_used "$1") $(used proxy)"; }

empty() {
  local shard
  for ((shard = 1; shard <= most; shard++)); do
    at "shard$shard" -c "TRUNCATE authorizations, authorization_revoked_families, authorization_access_tokens" -c CHECKPOINT
  done
}

# set_mode MODE: whether the shards wait for the disk. Sessions that begin later do as it says.
set_mode() {
  local shard value=on
  [ "$1" = flushed ] || value=off
  for ((shard = 1; shard <= most; shard++)); do
    at "shard$shard" -c "ALTER DATABASE postgres SET attesto_codes.codes_survive_crash = $value" -c "ALTER DATABASE postgres SET synchronous_commit = $value"
  done
}

# clients MODE TARGET N: how many there are. Where flushes count, every shard has as many clients: with fewer clients to a shard fewer
# commits share a flush. Where they do not, the shards have as many sessions in all, since the more processes share the caches of
# one machine, the more time each of them takes. A session of the proxy has one at each shard.
clients() {
  case $1,$2 in
    flushed,*) echo $((CLIENTS * $3)) ;;
    *,proxy) echo $((CLIENTS * most / $3)) ;;
    *,straight) echo $((CLIENTS * most / $3 * $3)) ;;
  esac
}

# round MODE TARGET N: one line of RAW: what a redemption cost the shards, and the proxy, and how many there were in a second.
round() {
  local mode=$1 target=$2 number=$3 clients short used=() redeemed=0 shard
  clients=$(clients "$@")
  short=$((REDEMPTIONS * number / clients))
  empty
  [ "$target" != proxy ] || name_shards "$number"
  run "$target" "$number" put "$clients" 0 $((4 * short)) >/dev/null
  used+=("$(all_used "$number")")
  run "$target" "$number" redeem "$clients" 0 "$short" >/dev/null
  used+=("$(all_used "$number")")
  run "$target" "$number" redeem "$clients" "$short" $((3 * short)) >"$work/report"
  used+=("$(all_used "$number")")
  for ((shard = 1; shard <= number; shard++)); do
    redeemed=$((redeemed + $(at "shard$shard" -c "SELECT count(*) FROM authorizations WHERE consumed_success")))
  done
  [ "$redeemed" = $((4 * short * clients)) ] || die "$redeemed codes were redeemed"
  # The proxy has no WAL and no flushes of its own.
  printf '%s\n' "${used[@]}" | awk -v target="$mode	$target" -v number="$number" -v more=$((2 * short * clients)) \
    -v rate="$(awk '/^tps/ {sum += $3} END {printf "%.0f", sum}' "$work/report")" '
    {for (i = 1; i <= NF; i++) used[NR, i] = $i}
    END {
      printf "%s\t%s", target, number
      for (i = 1; i <= NF; i++) if (i != 7 && i != 8) printf "\t%.2f", (used[3, i] - 2 * used[2, i] + used[1, i]) / more
      printf "\t%s\n", rate
    }' | tee -a "$RAW"
}

GRANT+=([issued]="${GRANT[data_head]%,\"family_id\":\"}}" [verifier]=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk)
GRANT[key_tail]=wFrEMTJguCH
say "$REDEMPTIONS redemptions with $CLIENTS clients, $ROUNDS rounds: of the shards processor µs, WAL, flushes, packets, bytes; of the proxy
processor µs, packets, bytes; redemptions a second"
for mode in $MODES; do
  set_mode "$mode"
  for ((round = 1; round <= ROUNDS; round++)); do
    for number in $SHARDS; do
      round "$mode" straight "$number"
      round "$mode" proxy "$number"
    done
  done
done

say "$TITLE"
{
  PGHOST=$NET.${ADDRESS[proxy]} PGPORT=5432 PGUSER=postgres PGDATABASE=postgres machine
  echo "Medians of $ROUNDS rounds of \`code_redeem\` with meta, $((4 * REDEMPTIONS)) for each shard; all servers are on the same machine, each in a network"
  echo "namespace. Flushed: every commit is on disk, and each shard has $CLIENTS clients. Unflushed: codes_survive_crash and"
  echo "synchronous_commit are off, and the shards have $((CLIENTS * most)) sessions in all."
  "$ROOT/bench/report.py" scale <"$RAW"
} | tee "$work/section"
section "$TITLE" <"$work/section"
