#!/usr/bin/env bash
# A code's life on a private PostgreSQL below target/, which is gone again at the end.
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/cluster.sh"

say "Starting a private PostgreSQL $PG_MAJOR"
work=$(work_folder demo)
trap 'cluster_remove "$work"' EXIT
cluster_start "$work"
echo "in $work, on 127.0.0.1:$PGPORT; it is stopped and removed at the end"

say "A code's life"
"$PG_BIN/psql" -X -a -q -v ON_ERROR_STOP=1 -f "$ROOT/scripts/demo.sql"
say "Done. The README says how to install attesto_codes into a database of yours."
