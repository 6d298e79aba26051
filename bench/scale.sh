#!/usr/bin/env bash
# scale.sh: what one redemption costs, in processor time, WAL, flushes, packets and bytes, where a proxy spreads the codes over 1, 2, 4 and
# 8 shards, and straight at the shards. Each server has a network namespace and an address of its own. Needs root, and PL/Proxy. Writes a
# part of RESULTS.md; the raw figures stay in target/scale.tsv. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/bench/common.sh"

# A long run makes three times as many redemptions as a short one; the difference leaves out what the connections cost.
PAIRS=${PAIRS:-8} SHARDS=${SHARDS:-1 2 4 8} ROUNDS=${ROUNDS:-5} CLIENTS=${CLIENTS:-4} REDEMPTIONS=${REDEMPTIONS:-2500}
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
declare -a RUNNING=()
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
  for name in "${RUNNING[@]}"; do
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
  RUNNING+=("$1")
  as_postgres cp -r "$work/template" "$work/$1"
  in_namespace "$1" runuser -u postgres -- "$PG_BIN/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w -s \
    -o "-p 5432 -c listen_addresses=$NET.$2 -c unix_socket_directories=$work/$1" start >/dev/null
}

# The address of a server, and a query to it.
declare -A ADDRESS=()
at() { query -h "$NET.${ADDRESS[$1]}" -p 5432 -U postgres -d postgres "${@:2}"; }

as_postgres "$PG_BIN/initdb" -D "$work/template" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$work/initdb.log"
echo "host all all $NET.0/24 trust" | as_postgres tee -a "$work/template/pg_hba.conf" >/dev/null
printf '%s\n' "max_connections = 200" "attesto_codes.sweep_interval = 0" "autovacuum = off" |
  as_postgres tee -a "$work/template/postgresql.conf" >/dev/null
say "Starting $PAIRS shards and $PAIRS proxies, each in a network namespace"
for ((server = 1; server <= PAIRS; server++)); do
  ADDRESS+=([shard$server]=$server [proxy$server]=$((100 + server)))
  serve "shard$server" "$server"
  at "shard$server" -c "CREATE EXTENSION attesto_codes"
  serve "proxy$server" "$((100 + server))"
  at "proxy$server" -1 -f "$ROOT/contrib/plproxy/proxy.sql" >/dev/null
done

# cpu NAME: microseconds of processor that a server and its children have used.
cpu() {
  local postmaster tick=$((1000000 / $(getconf CLK_TCK))) process
  postmaster=$(head -1 "$work/$1/postmaster.pid")
  { cat "/proc/$postmaster/stat"
    for process in $(pgrep -P "$postmaster"); do cat "/proc/$process/stat" 2>/dev/null || true; done
  } | sed 's/^.*) //' | awk -v tick="$tick" '{sum += $12 + $13 + $14 + $15} END {printf "%.0f", sum * tick}'
}

# used NAME: processor, WAL, flushes, packets and bytes of one server so far. What its sessions did counts when they have ended.
used() {
  until [ "$(at "$1" -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" = 1 ]; do sleep 0.1; done
  local card=/sys/class/net/eth0/statistics
  printf '%s %s %s %s\n' "$(cpu "$1")" "$(at "$1" -F ' ' -c "SELECT pg_current_wal_insert_lsn() - '0/0', wal_sync FROM pg_stat_wal")" \
    "$(in_namespace "$1" cat $card/rx_packets $card/tx_packets | awk '{sum += $1} END {printf "%.0f", sum}')" \
    "$(in_namespace "$1" cat $card/rx_bytes $card/tx_bytes | awk '{sum += $1} END {printf "%.0f", sum}')"
}

# all_used: the sum over all shards, and over all proxies.
all_used() {
  local kind server
  for kind in shard proxy; do
    for ((server = 1; server <= PAIRS; server++)); do used "$kind$server"; done |
      awk '{for (i = 1; i <= NF; i++) sum[i] += $i} END {printf "%.0f %.0f %.0f %.0f %.0f ", sum[1], sum[2], sum[3], sum[4], sum[5]}'
  done
}

# name_shards N CONNECTIONS: the proxies and shards make systems of N of each. A session of a proxy has so many connections, evenly
# spread over the shards of its system: two strings that differ are two connections.
name_shards() {
  local server first
  for ((server = 1; server <= PAIRS; server++)); do
    first=$(((server - 1) / $1 * $1 + 1))
    at "proxy$server" -c "UPDATE shards.map SET connection =
      format('host=$NET.%s dbname=postgres application_name=%s', $first + partition % $1, partition / $1 % ($2 / $1))"
  done
}

# fill_shards N COUNT: the codes that the clients of the proxies of a system will redeem, each on its shard.
fill_shards() {
  local server first
  for ((server = 1; server <= PAIRS; server++)); do
    first=$(((server - 1) / $1 * $1 + 1))
    at "shard$server" -c "TRUNCATE authorizations, authorization_revoked_families, authorization_access_tokens" -c CHECKPOINT
    at "shard$server" -c "SELECT count(code_put(key, '${GRANT[issued]}', ${GRANT[expires_unix]}))
      FROM generate_series($first, $first + $1 - 1) AS proxy, generate_series(1, $2) AS n, generate_series(0, $CLIENTS - 1) AS client,
        LATERAL (SELECT md5(proxy || '-' || client || '-' || n) || '${GRANT[key_tail]}' AS key) AS code
      WHERE get_byte(sha256(convert_to(key, 'UTF8')), 0) % $1 = $server - $first" >/dev/null
  done
}

# redeem KIND COUNT FROM COUNT: at so many servers of a kind, side by side, each client makes COUNT redemptions, after those that it has made.
redeem() {
  local server runs=()
  for ((server = 1; server <= $2; server++)); do
    PGHOST=$NET.${ADDRESS[$1$server]} PGPORT=5432 PGUSER=postgres PGDATABASE=postgres \
      load scale.redeem prepared "$CLIENTS" -t "$4" -D n="$3" -D server="$server" &
    runs+=($!)
  done
  for server in "${runs[@]}"; do wait "$server"; done
}

# round NAME KIND COUNT N: one line of RAW: what a redemption cost the shards, and the proxies, and how many there were in a second.
# COUNT servers of this kind are called; a system has N shards.
round() {
  local short=$((REDEMPTIONS / CLIENTS)) used=() redeemed=0 server
  fill_shards "$4" $((4 * short))
  used+=("$(all_used)")
  redeem "$2" "$3" 0 "$short" >/dev/null
  used+=("$(all_used)")
  redeem "$2" "$3" "$short" $((3 * short)) >"$work/report"
  used+=("$(all_used)")
  for ((server = 1; server <= PAIRS; server++)); do
    redeemed=$((redeemed + $(at "shard$server" -c "SELECT count(*) FROM authorizations WHERE consumed_success")))
  done
  [ "$redeemed" = $((4 * short * CLIENTS * $3)) ] || die "$redeemed codes were redeemed"
  # A proxy has no WAL and no flushes of its own.
  printf '%s\n' "${used[@]}" | awk -v name="$1" -v more=$((2 * short * CLIENTS * $3)) \
    -v rate="$(awk '/^tps/ {sum += $3} END {printf "%.0f", sum}' "$work/report")" '
    {for (i = 1; i <= NF; i++) used[NR, i] = $i}
    END {
      printf "%s", name
      for (i = 1; i <= NF; i++) if (i != 7 && i != 8) printf "\t%.2f", (used[3, i] - 2 * used[2, i] + used[1, i]) / more
      printf "\t%s\n", rate
    }' | tee -a "$RAW"
}

GRANT+=([issued]="${GRANT[data_head]%,\"family_id\":\"}}" [verifier]=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk)
GRANT[key_tail]=wFrEMTJguCH
say "$ROUNDS rounds of $((4 * REDEMPTIONS)) redemptions at each server: of the shards processor µs, WAL, flushes, packets, bytes; of the proxies
processor µs, packets, bytes; redemptions a second"
for ((round = 1; round <= ROUNDS; round++)); do
  round "straight, only one is called" shard 1 1
  round "straight" shard "$PAIRS" 1
  name_shards 1 1
  round "systems of 1, 1 connection, only one is called" proxy 1 1
  round "systems of 1, 1 connection" proxy "$PAIRS" 1
  for number in $SHARDS; do
    name_shards "$number" "$PAIRS"
    round "systems of $number, $PAIRS connections" proxy "$PAIRS" "$number"
  done
done

say "$TITLE"
{
  PGHOST=$NET.${ADDRESS[shard1]} PGPORT=5432 PGUSER=postgres PGDATABASE=postgres machine
  cat <<END
Medians of $ROUNDS rounds of \`code_redeem\` with meta. $PAIRS shards and $PAIRS proxies are on the same machine, each in a network namespace, and
are called at the same time, each proxy by $CLIENTS clients. They make systems of so many shards and as many proxies: in systems of 1 each proxy
knows one shard, in one of $PAIRS each knows all. A session of a proxy has $PAIRS connections, however many shards it knows.

END
  "$ROOT/bench/report.py" scale <"$RAW"
} | tee "$work/section"
section "$TITLE" <"$work/section"
