#!/usr/bin/env bash
# on.sh MAJOR COMMAND …: runs the command with the PostgreSQL of that major, which is got below target/ first, as in
# `scripts/on.sh 17 make check-deb`.
unset PG_CONFIG
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/packages.sh"

[ $# -gt 1 ] || die "usage: on.sh MAJOR COMMAND …"
# PostgreSQL's user has to be there before its servers are; see SERVERS.
is_root && ! id postgres >/dev/null 2>&1 && need_packages postgresql-common && . "$ROOT/scripts/env.sh"
# Its pg_config is named before it is there.
env -u PG_CONFIG "$ROOT/scripts/server.sh" "$1"
export PG_CONFIG=$SERVERS/$1/pg_config PGRX_PG_CONFIG_PATH=$SERVERS/$1/pg_config
shift
exec "$@"
