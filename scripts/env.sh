# What every script here needs to know; sourced. Finds PostgreSQL, installs nothing.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The server's environment is ours: a backtrace in its errors would go to the client.
unset RUST_BACKTRACE
export CARGO_TERM_PROGRESS_WHEN=never LC_ALL=C.UTF-8
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
export PATH="$ROOT/target/tools/bin:$ROOT/target/tools/sbin:$PATH"

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

# alive COMMAND …: runs it, and says every ten seconds that it is still at it.
alive() {
  local status=0 clock
  while sleep 10 >/dev/null 2>&1; do echo "   … $SECONDS s" >&2; done &
  clock=$!
  "$@" || status=$?
  kill "$clock" 2>/dev/null
  wait "$clock" 2>/dev/null || true
  return "$status"
}

# PostgreSQL refuses to run as root: its programs then run as the user postgres.
as_postgres() {
  if is_root; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

# Where scripts/server.sh puts servers: below target/, unless PostgreSQL's user cannot get there, as in
# root's home.
SERVERS=$ROOT/target/servers
if is_root && id postgres >/dev/null 2>&1 && ! as_postgres test -x "$ROOT"; then
  SERVERS=/var/tmp/attesto_codes.servers
fi

# PG_CONFIG from the environment, or the newest supported major that has server headers.
find_pg_config() {
  local major candidate
  if [ -n "${PG_CONFIG:-}" ]; then printf '%s\n' "$PG_CONFIG"; return; fi
  for major in 18 17 16 15 14; do
    candidate=/usr/lib/postgresql/$major/bin/pg_config
    if [ -x "$candidate" ] && [ -x "${candidate%pg_config}postgres" ] &&
      [ -f "$("$candidate" --includedir-server)/postgres.h" ]; then
      printf '%s\n' "$candidate"
      return
    fi
  done
}

need_pg_config() {
  [ -n "$PG_CONFIG" ] || die "no PostgreSQL with server headers here: install postgresql-server-dev-NN, or set PG_CONFIG.
make demo and make test install what is missing."
}

PG_CONFIG=$(find_pg_config)
if [ -n "$PG_CONFIG" ]; then
  command -v "$PG_CONFIG" >/dev/null || die "there is no pg_config at PG_CONFIG=$PG_CONFIG"
  # pgrx's build script then asks this pg_config, and needs no configuration of its own.
  export PG_CONFIG PGRX_PG_CONFIG_PATH="$PG_CONFIG"
  PG_BIN=$("$PG_CONFIG" --bindir)
  PG_MAJOR=$("$PG_CONFIG" --version | grep -oE '[0-9]+' | head -1)
  PGXS=$(dirname "$("$PG_CONFIG" --pgxs)")
  CARGO_FEATURES=(--no-default-features --features "pg$PG_MAJOR")
  # A server of scripts/server.sh: not the machine's, so that it takes no package of the machine.
  case $PG_CONFIG in "$SERVERS"/*) IS_OWN_SERVER=1 ;; *) IS_OWN_SERVER= ;; esac
fi

# A new empty folder that PostgreSQL's user may write: below target/ where that user can reach it
# (root's home is closed to it), else below /var/tmp.
work_folder() {
  local folder
  mkdir -p "$ROOT/target"
  folder=$(mktemp -d "$ROOT/target/$1.XXXXXX")
  if is_root; then
    chown postgres "$folder"
    if ! as_postgres test -w "$folder"; then
      rmdir "$folder"
      folder=$(mktemp -d "/var/tmp/attesto_codes.$1.XXXXXX")
      chown postgres "$folder"
    fi
  fi
  printf '%s\n' "$folder"
}
