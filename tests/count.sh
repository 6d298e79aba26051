# What the tests in bash count with; sourced after env.sh.
passed=0 failed=0

# ok NAME COMMAND …: whether the command succeeds.
ok() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok $((passed + failed)) - $name"
  else
    failed=$((failed + 1))
    echo "not ok $((passed + failed)) - $name"
    [ -z "$said" ] || echo "$said"
  fi
}

# is NAME WANTED COMMAND …: whether it says that.
is() {
  local name=$1 wanted=$2 got
  shift 2
  got=$("$@" 2>&1) || true
  ok "$name" test "$got" = "$wanted"
  [ "$got" = "$wanted" ] || printf 'wanted: %s\ngot: %s\n' "$wanted" "$got"
}

# total SUITE STATUS: the last line, at the exit with this status; see tally in run.sh.
total() {
  [ "$2" = 0 ] || [ "$failed" != 0 ] || failed=1
  [ -z "${RESULTS:-}" ] || printf '%s\t%s\t%d\t%d\t\n' "$PG_MAJOR" "$1" "$passed" "$failed" >>"$RESULTS"
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
}
