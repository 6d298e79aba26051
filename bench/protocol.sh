# The scenario protocol: the three calls of a token endpoint, and the two that also mark, beside what servers send
# that make the checks themselves; sourced by run.sh.

PROTOCOL_CLIENTS=${PROTOCOL_CLIENTS:-8 32}
PROTOCOL_TITLE="The protocol"

# Where the contenders leave redeemed codes. Each has a NAME.cycle.sql.
declare -A PROTOCOL=(
  [two_calls]="authorizations WHERE consumed_success"
  [three_calls]="authorizations AS c WHERE consumed_success AND (SELECT count(*) = 1 FROM authorization_access_tokens AS t
    WHERE t.family_id = c.family_id)"
  [seed]="attesto_authorization_codes WHERE consumed_success"
  [seed_token]="attesto_authorization_codes AS c WHERE consumed_success AND EXISTS (SELECT FROM access_tokens AS t
    WHERE t.family_id = c.family_id)"
  [by_hand_in_two]="attesto_authorization_codes WHERE consumed_success"
)

# What code_issue gets: it makes the family itself. And a verifier that leads to the challenge (RFC 7636, appendix B).
protocol_grant() {
  GRANT+=([issued]="${GRANT[data_head]%,\"family_id\":\"}}" [verifier]=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk)
}

# The spend flushes by itself where the role has synchronous_commit = off.
protocol() {
  case $1 in
    redis) others "$@" ;;
    two_calls) PGUSER=${PROTOCOL_USER:-$PGUSER} cycles_on_empty "$@" ;;
    *) cycles_on_empty "$@" ;;
  esac
}

check_protocol() {
  local contender mode redeemed
  for contender in "${!PROTOCOL[@]}"; do
    for mode in prepared simple; do
      empty
      load "$contender.cycle" "$mode" 2 -t 10 >/dev/null
      redeemed=$(query -c "SELECT count(*) FROM ${PROTOCOL[$contender]}")
      [ "$redeemed" = 20 ] || die "$contender, $mode: $redeemed of 20 cycles redeemed their code"
    done
  done
}

scenario_protocol() {
  local clients mode
  local -A TABLE=([attesto_codes]="authorizations authorization_access_tokens" [seed]="attesto_authorization_codes"
    [seed_token]=access_tokens)
  protocol_grant
  say "Starting a private PostgreSQL $PG_MAJOR, and a Redis"
  start protocol
  query -c "CREATE ROLE issuer SUPERUSER LOGIN" -c "ALTER ROLE issuer SET synchronous_commit = off"
  cc -O2 -pthread -o "$work/redis_cycles" "$ROOT/bench/redis_cycles.c"
  redis_start
  synchronous_commit on
  echo "Does every cycle redeem its code?"
  check_protocol
  check_redis
  echo yes
  say "$PROTOCOL_TITLE: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  for clients in $PROTOCOL_CLIENTS; do
    measure "$PROTOCOL_TITLE in two calls" on prepared "$clients" protocol two_calls seed by_hand_in_two redis
    measure "$PROTOCOL_TITLE in two calls" on simple "$clients" protocol two_calls seed by_hand_in_two
    measure "$PROTOCOL_TITLE in three calls, with a token" on prepared "$clients" protocol three_calls seed_token
    PROTOCOL_USER=issuer measure "$PROTOCOL_TITLE in two calls, of which only the spend is flushed" on prepared "$clients" \
      protocol two_calls seed
  done
  redis_stop
}
