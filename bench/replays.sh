# The scenario replays: what it costs to present one spent code again and again, beside the cheapest
# query that there is; sourced by run.sh.

REPLAYS=("replay of a spent code" "primary-key SELECT")
declare -A REPLAY=(["replay of a spent code"]=replay ["primary-key SELECT"]=select)

replays() { load "${REPLAY[$1]}" "$2" "$3" -T "$SECONDS_PER_RUN" | awk '/^tps/ {print $3}'; }

scenario_replays() {
  stock_cluster
  empty
  fill attesto_codes 10000
  query -c "VACUUM ANALYZE authorizations" >/dev/null
  # The take, and the first replay, which is written down.
  load replay prepared 1 -t 2 >/dev/null
  say "Replays of one code: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  measure "Replays of one spent code" on prepared 64 replays "${REPLAYS[@]}"
}
