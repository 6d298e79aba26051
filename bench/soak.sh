#!/usr/bin/env bash
# soak.sh [MINUTES [RATE]]: redeems RATE codes a second for MINUTES on a private cluster without preload or a
# scheduler, and looks at it every EVERY seconds. Writes soak.csv, soak.svg and a part of RESULTS.md; the raw figures
# stay in target/soak. README.md says what it means.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"
. "$ROOT/bench/common.sh"

MINUTES=${1:-30} RATE=${2:-300}
EVERY=${EVERY:-12} CLIENTS=${CLIENTS:-8}
CODE_LIFE=${CODE_LIFE:-60} TOKEN_LIFE=${TOKEN_LIFE:-120} RETENTION=${RETENTION:-300}
RESULTS=${RESULTS:-$ROOT/bench/RESULTS.md} OUT=${OUT:-$ROOT/bench}

work=$(work_folder soak)
PGBENCH=
stop() {
  [ -z "$PGBENCH" ] || kill "$PGBENCH" 2>/dev/null || true
  mkdir -p "$ROOT/target/soak"
  mv "$work"/samples.csv "$work"/latency.* "$ROOT/target/soak/" 2>/dev/null || true
  cluster_remove "$work"
}
trap stop EXIT

sample() { "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 --csv "$@" -f "$SQL/soak.sample.sql" >>"$work/samples.csv"; }

cluster_start "$work" "synchronous_commit = on" "attesto_codes.reuse_retention = ${RETENTION}s"
query -f "$SQL/attesto_codes.setup.sql"
rm -rf "$ROOT/target/soak"
machine=$(machine)
say "Soak: $RATE codes a second for $MINUTES min, without preload or a scheduler"
sample
# Three transactions a code. It is taken two seconds after it was put.
load soak prepared "$CLIENTS" -T $((MINUTES * 60)) --rate=$((RATE * 3)) --log --log-prefix="$work/latency" \
  -D t=2 -D "behind=$((RATE * 2 / CLIENTS))" -D "code_life=$CODE_LIFE" -D "token_life=$TOKEN_LIFE" >"$work/report" &
PGBENCH=$!
next=$SECONDS
while kill -0 "$PGBENCH" 2>/dev/null; do
  next=$((next + EVERY))
  while [ $SECONDS -lt $next ] && kill -0 "$PGBENCH" 2>/dev/null; do sleep 0.2; done
  [ $SECONDS -lt $next ] || sample -t
done
wait "$PGBENCH" || die "pgbench failed"
PGBENCH=
cat "$work/report"

counted=$(query -c "SELECT 'live ' || count(*) FILTER (WHERE consumed_at IS NULL) ||
    ', spent ' || count(*) FILTER (WHERE consumed_at IS NOT NULL AND NOT consumed_success) ||
    ', redeemed ' || count(*) FILTER (WHERE consumed_success) FROM authorizations")
estimated=$(query -c "SELECT format('live %s, spent %s, redeemed %s', live, spent, redeemed) FROM code_stats()")
sampled=$(query -c "SELECT CASE WHEN sampled THEN 'in a sample' ELSE 'in the whole table' END FROM code_stats()")
{
  cat <<END
$machine

$RATE codes a second for $MINUTES minutes, each put, and of ten: eight taken, redeemed (with an access token recorded) and kept
as evidence, one of them presented again and its family revoked; one spent and not redeemed; one never taken. A code expires after
$CODE_LIFE s, a token after $TOKEN_LIFE s; attesto_codes.reuse_retention = $RETENTION s, everything
else stock: no preload, no scheduler, attesto_codes.sweep_interval = 60 s, synchronous_commit = on, autovacuum included. $CLIENTS clients, -M prepared.

![Size, rows, latency and swept rows over time](soak.svg)

END
  "$ROOT/bench/soak.py" "$work/samples.csv" "$OUT/soak.csv" "$OUT/soak.svg" "$work"/latency.*
  printf '\nAt the end of the run: %s (counted). code_stats(), counted %s: %s.\n' "$counted" "$sampled" "$estimated"
} >"$work/section.md"
section "Soak" <"$work/section.md"
say "$OUT/soak.csv, $OUT/soak.svg, $RESULTS"
cat "$work/section.md"
