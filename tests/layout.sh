#!/usr/bin/env bash
# Loads the extension from the folder that `make layout` has made, as a container platform mounts it: nothing of it is in the
# server's own folders. PostgreSQL 18 and later look there.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/scripts/cluster.sh"
. "$ROOT/tests/count.sh"

need_pg_config
[ "$PG_MAJOR" -ge 18 ] || die "PostgreSQL $PG_MAJOR knows no extension_control_path"
layout=$(realpath "${1:-$ROOT/target/layout}")
work=$(work_folder layout)
trap 'status=$?; cluster_remove "$work/server"; rm -rf "$work"; total layout "$status"' EXIT
# PostgreSQL's user reads the folder, wherever the tree is.
cp -r "$layout" "$work/mounted"
chmod -R a+rX "$work/mounted"

sql() { "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@" 2>&1; }
put() { sql -c "SELECT code_put('$1', '{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}', 4102444800)" >/dev/null; }

say "layout: PostgreSQL $PG_MAJOR with $layout"
is "the folder has a library and a control file" "lib/attesto_codes.so share/extension/attesto_codes.control" \
  sh -c "cd '$work/mounted' && echo lib/*.so share/extension/*.control"
is "the server's own folders have none" "" \
  find "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)" -name '*attesto*'
for preload in "" "shared_preload_libraries = 'attesto_codes'"; do
  as_postgres mkdir "$work/server"
  cluster_start "$work/server" "extension_control_path = '$work/mounted/share:\$system'" \
    "dynamic_library_path = '$work/mounted/lib:\$libdir'" "$preload"
  is "CREATE EXTENSION${preload:+, preloaded}" "" sql -c "CREATE EXTENSION attesto_codes"
  put a
  is "a statement takes a code" "ok" sql -c "SELECT status FROM code_take('a')"
  put b
  is "a background worker takes one, and it stays taken" "ok
error" sql -c BEGIN -c "SELECT status FROM code_take('b')" -c ROLLBACK -c "SELECT status FROM code_take('b')"
  is "a worker sweeps" "0" sql -c "SELECT code_sweep()"
  cluster_remove "$work/server"
done
[ "$failed" = 0 ]
