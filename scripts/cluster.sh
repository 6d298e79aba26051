# A private PostgreSQL cluster; sourced after env.sh. It listens on a free port of 127.0.0.1 and on
# a socket in its own folder, and is stopped by its own data folder, so by its own pid.

# cluster_start FOLDER [LINE …]: makes and starts a cluster in FOLDER with these lines in its
# postgresql.conf, and points PGHOST, PGPORT, PGUSER and PGDATABASE at it.
cluster_start() {
  local folder=$1 try
  shift
  as_postgres "$PG_BIN/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
    >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; die "initdb failed"; }
  printf '%s\n' "$@" | as_postgres tee -a "$folder/data/postgresql.conf" >/dev/null
  export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=postgres
  for try in 1 2 3 4 5 6 7 8; do
    PGPORT=$((20000 + RANDOM % 30000))
    export PGPORT
    if as_postgres "$PG_BIN/pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -s \
      -o "-p $PGPORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder/data" \
      start >/dev/null 2>&1; then
      return
    fi
    grep -q 'Address already in use' "$folder/server.log" || break
  done
  cat "$folder/server.log" >&2
  die "the private PostgreSQL in $folder did not start"
}

cluster_stop() {
  if [ -f "$1/data/postmaster.pid" ]; then
    # Asked while it recovers from a crash, PostgreSQL 15 was seen never to end this way.
    as_postgres "$PG_BIN/pg_ctl" -D "$1/data" -m fast -w -s stop ||
      as_postgres "$PG_BIN/pg_ctl" -D "$1/data" -m immediate -w -s stop
  fi
}

# Stops the cluster and removes its folder.
cluster_remove() {
  cluster_stop "$1"
  rm -rf "$1"
}
