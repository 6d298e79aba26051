#!/usr/bin/env bash
# The regress suite against a server that runs and has the extension installed. It connects as roles that it makes, so that the
# server must trust them, and in a database named regression, which it drops first.
. "$(dirname "$0")/env.sh"

need_pg_config
# Preloaded, its settings answer otherwise than the suite expects.
preloaded=$(as_postgres "$PG_BIN/psql" -XAtqc "SHOW shared_preload_libraries" postgres) || die "no server answers at PGHOST, PGPORT as PGUSER"
[[ $preloaded != *attesto_codes* ]] || die "this server preloads attesto_codes: installcheck needs one that does not"
interval=$(as_postgres "$PG_BIN/psql" -XAtq -c "LOAD 'attesto_codes'" -c "SHOW attesto_codes.sweep_interval" postgres)
[ "$interval" = 0 ] || die "this server sweeps: installcheck needs one with attesto_codes.sweep_interval = 0 in postgresql.conf"
work=$(work_folder installcheck)
trap 'rm -rf "$work"' EXIT
cp -r "$ROOT/tests/regress" "$work/regress"
if is_root; then chown -R postgres "$work/regress"; fi
say "regress: what each function answers"
if ! as_postgres "${PG_REGRESS:-$PGXS/../test/regress/pg_regress}" --bindir="$PG_BIN" --encoding=UTF8 --no-locale \
  --inputdir="$work/regress" --outputdir="$work/regress" --dbname=regression \
  --schedule="$work/regress/schedule"; then
  cat "$work/regress/regression.diffs"
  exit 1
fi
