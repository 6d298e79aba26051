# The scenario wal: how much of the write-ahead log a cycle needs, and how many of its updates are
# heap-only; sourced by run.sh.

# How many cycles there are to a checkpoint, whose full page images are counted.
WAL_CYCLES=${WAL_CYCLES:-40000}

# updates STORE: how many there were on its table, and how many of them heap-only.
updates() { query -c "SELECT pg_stat_get_tuples_updated(oid), pg_stat_get_tuples_hot_updated(oid) FROM pg_class WHERE relname = '${TABLE[$1]}'"; }

# Bytes of a cycle, and the part of the updates that is heap-only.
wal() {
  local store=$1 mode=$2 clients=$3 from to before after
  query -c CHECKPOINT
  before=$(updates "$store")
  from=$(query -c 'SELECT pg_current_wal_insert_lsn()')
  load "$store.cycle" "$mode" "$clients" -t $((WAL_CYCLES / clients)) >/dev/null
  to=$(query -c 'SELECT pg_current_wal_insert_lsn()')
  # The backends report what they did when they end.
  until after=$(updates "$store") && [ $((${after%|*} - ${before%|*})) -ge $((WAL_CYCLES / clients * clients * 2)) ]; do sleep 0.1; done
  query -F $'\t' -c "SELECT round(pg_wal_lsn_diff('$to', '$from') / ($WAL_CYCLES / $clients * $clients)),
    round((${after#*|} - ${before#*|})::numeric / (${after%|*} - ${before%|*}), 4)"
}
wal_on_empty() { empty; wal "$@"; }

# Keys as the cycles make them, so that these meet them all over the index.
CYCLE_KEY="lpad((hashint8extended(i, 0) & 9223372036854775807)::text, 19, '0')"

scenario_wal() {
  local store
  stock_cluster
  synchronous_commit on
  say "WAL: $ROUNDS rounds of $WAL_CYCLES cycles each, on empty tables, then with $ROWS rows in place"
  measure "WAL of a cycle on empty tables" on prepared 8 wal_on_empty attesto_codes seed
  empty
  for store in attesto_codes seed; do
    fill "$store" "$ROWS" "$CYCLE_KEY"
    query -c "VACUUM (ANALYZE) ${TABLE[$store]}" -c "ALTER TABLE ${TABLE[$store]} SET (autovacuum_enabled = off)"
  done
  measure "WAL of a cycle with $ROWS rows in place" on prepared 8 wal attesto_codes seed
  for store in attesto_codes seed; do query -c "ALTER TABLE ${TABLE[$store]} RESET (autovacuum_enabled)"; done
}
