# What all benchmarks share; sourced after env.sh and cluster.sh. $work is the folder of the run.
shopt -s inherit_errexit

SQL=$ROOT/bench/sql

# What every contender stores. A code's key is 19 characters of its own and key_tail (together 43),
# its family the same 19 and family_tail (36).
declare -A GRANT=(
  [key_tail]=wFrEMTJguCHaoeK1t8URWbuG
  [family_tail]=-4b1e-9c6d-5f2a78
  [client]=s6BhdRkqt3.example-app
  [subject]=0b1f6a52-6a0c-4f7e-9d35-2c8e4f1a7b90
  [redirect_uri]=https://app.example.com/oauth/callback
  [scope]='{openid,profile,email}'
  [resource]='{https://api.example.com/v1}'
  [challenge]=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM [method]=S256 [success]=false
  [nonce]=n-0S6_WzA2Mj8KqLp4Xc
  [claims]='{"acr":"urn:example:loa:2","auth_time":1763870000,"amr":["pwd","otp"]}'
  [expires_unix]=1893456000 [expires_at]='2030-01-01 00:00:00' [now]='2029-12-31 23:59:00'
)
GRANT[data_head]='{"client_id":"'${GRANT[client]}'","subject":"'${GRANT[subject]}'","redirect_uri":"'${GRANT[redirect_uri]}'"'
GRANT[data_head]+=',"scope":["openid","profile","email"],"resource":["https://api.example.com/v1"]'
GRANT[data_head]+=',"code_challenge":"'${GRANT[challenge]}'","code_challenge_method":"S256"'
GRANT[data_head]+=',"nonce":"'${GRANT[nonce]}'","claims":'${GRANT[claims]}',"family_id":"'
GRANT[data_tail]='"}'

query() { "$PG_BIN/psql" -X -qAt -v ON_ERROR_STOP=1 "$@"; }

# load SCRIPT MODE CLIENTS OPTION…: pgbench's report. A variable is a parameter in prepared mode and
# plain text in simple mode, which therefore needs the quotes. A script that reads a value has another text for that mode.
load() {
  local script=$1 mode=$2 clients=$3 quote='' name variables=() threads
  shift 3
  [ "$mode" = prepared ] || quote="'"
  [ "$mode" = prepared ] || [ ! -e "$SQL/$script.simple.sql" ] || script=$script.simple
  for name in "${!GRANT[@]}"; do variables+=(-D "$name=$quote${GRANT[$name]}$quote"); done
  threads=$((clients < $(nproc) ? clients : $(nproc)))
  "$PG_BIN/pgbench" -n -M "$mode" -c "$clients" -j "$threads" "$@" "${variables[@]}" \
    -f "$SQL/$script.sql" 2>"$work/pgbench.log" || { cat "$work/pgbench.log" >&2; die "pgbench: $script"; }
}

# fill STORE ROWS [KEY]: puts that many codes, of which KEY makes the keys out of a number i.
fill() {
  local name variables=(-v "rows=$2" -v "key=${3:-substr(md5(i::text), 1, 19)}")
  for name in "${!GRANT[@]}"; do variables+=(-v "$name=${GRANT[$name]}"); done
  query "${variables[@]}" -f "$SQL/$1.fill.sql"
}

# What was measured, and on what.
machine() {
  cat <<END
$(date -u +%F), attesto_codes $(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || echo "of no git checkout"), PostgreSQL $(query -c 'SHOW server_version'),
$(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores, $(awk '/^MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo)${SHARED:+, $SHARED}; pgbench runs on the same ones.
END
}

# section TITLE: puts its input into RESULTS.md, below "Life after the take", in place of what has that title.
section() { "$ROOT/bench/report.py" section "$RESULTS" "$1"; }
