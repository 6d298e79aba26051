# The scenario calls: what one call costs inside the server, in a loop of CALLS in one transaction,
# beside a PL/pgSQL function with the same statement on the same table; sourced by run.sh.

CALLS=${CALLS:-100000}
# Where the functions of each are found.
declare -A FOUND_IN=([attesto_codes]=public [PL/pgSQL]=by_hand)

# Microseconds of a call. The spend of a take joins the loop's transaction, as that of any SQL does.
calls() {
  local contender=$1 call=$2
  query -c "TRUNCATE authorizations"
  [ "$call" = code_put ] || fill attesto_codes "$CALLS"
  query -c "VACUUM ANALYZE authorizations" -c CHECKPOINT
  PGOPTIONS="-c search_path=${FOUND_IN[$contender]},public -c attesto_codes.take_in_transaction=join" \
    query -v call="$call" -v calls="$CALLS" -v key_tail="${GRANT[key_tail]}" \
    -v data="${GRANT[data_head]}1234567890123456789${GRANT[family_tail]}${GRANT[data_tail]}" -v expires_unix="${GRANT[expires_unix]}" \
    -c 'SET client_min_messages = error' -f "$SQL/calls.sql"
}

scenario_calls() {
  local call
  stock_cluster
  query -f "$SQL/by_hand.setup.sql" -f "$SQL/calls.setup.sql"
  say "Calls inside the server: $ROUNDS rounds of $CALLS each"
  synchronous_commit on
  for call in code_put code_get code_take code_redeem; do
    measure "Calls inside the server" on "$call" 1 calls "${!FOUND_IN[@]}"
  done
  query -c 'DROP SCHEMA by_hand CASCADE'
}
