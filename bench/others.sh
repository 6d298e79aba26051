# The scenario others: the same code stored as others store it; sourced by run.sh. A cycle is the life of
# one code, with the statements and the transactions that its server sends for it.
. "$ROOT/scripts/packages.sh"

OTHERS=(attesto_codes seed hydra spring doorkeeper redis floor)
OTHERS_CLIENTS=${OTHERS_CLIENTS:-8 32}
OTHERS_TITLE="Other ways to store a code"

REDEEMED+=(
  [hydra]="hydra_oauth2_code WHERE NOT active AND NOT EXISTS (SELECT FROM hydra_oauth2_pkce)"
  [spring]="oauth2_authorization WHERE authorization_code_metadata LIKE '%.invalidated\":true%' AND access_token_value IS NOT NULL"
  [doorkeeper]="oauth_access_grants WHERE revoked_at IS NOT NULL AND access_token_id IS NOT NULL"
)

# A token or signature of that many random bytes: what the database cannot compress.
noise() { head -c "$1" /dev/urandom | base64 -w 0 | tr '+/' '-_'; }

# What they store of the same grant in forms of their own. Spring keeps the tokens in the code's row.
others_grant() {
  local issuer=https://login.example.com client=${GRANT[client]} subject=${GRANT[subject]} nonce=${GRANT[nonce]}
  local resource=https://api.example.com/v1 session request claims
  session='{"id_token":{"id_token_claims":{"jti":"","iss":"'$issuer'","sub":"'$subject'","aud":["'$client'"]'
  session+=',"nonce":"'$nonce'","exp":"0001-01-01T00:00:00Z","iat":"2029-12-31T23:59:00Z","rat":"2029-12-31T23:58:40Z"'
  session+=',"auth_time":"2029-12-31T23:58:52Z","at_hash":"","acr":"urn:example:loa:2","amr":["pwd","otp"],"c_hash":""'
  session+=',"ext":{"sid":"'$(noise 24)'"}},"headers":{"extra":{"kid":"'$(noise 24)'"}}'
  session+=',"expires_at":{"authorize_code":"2030-01-01T00:00:00Z"},"username":"","subject":"'$subject'"},"extra":{},"kid":""'
  session+=',"client_id":"'$client'","consent_challenge":"'$(noise 24)'","exclude_not_before_claim":false}'
  GRANT+=(
    [hydra_active]=true [hydra_nid]=5f1c3a52-8d0e-4b7a-9c61-3f2e7d8a4b10
    [hydra_scope]='openid|profile|email' [hydra_audience]=$resource
    [hydra_form]="nonce=$nonce&redirect_uri=https%3A%2F%2Fapp.example.com%2Foauth%2Fcallback"
    [hydra_pkce_form]="code_challenge=${GRANT[challenge]}&code_challenge_method=S256"
    [hydra_session]=$session
  )
  local map='"@class":"java.util.Collections$UnmodifiableMap"' instant='["java.time.Instant",1893456000.000000000]'
  local scopes='["java.util.Collections$UnmodifiableSet",["openid","profile","email"]]' oauth2=org.springframework.security.oauth2
  request='"'$oauth2'.core.endpoint.OAuth2AuthorizationRequest":{"@class":"'$oauth2'.core.endpoint.OAuth2AuthorizationRequest"'
  request+=',"authorizationUri":"'$issuer'/oauth2/authorize","authorizationGrantType":{"value":"authorization_code"}'
  request+=',"responseType":{"value":"code"},"clientId":"'$client'","redirectUri":"'${GRANT[redirect_uri]}'","scopes":'$scopes
  request+=',"state":"'$(noise 24)'","additionalParameters":{'$map',"nonce":"'$nonce'","code_challenge":"'${GRANT[challenge]}'"'
  request+=',"code_challenge_method":"S256","resource":"'$resource'","claims":'${GRANT[claims]}'},"attributes":{'$map'}}'
  request+=',"java.security.Principal":{"@class":"org.springframework.security.authentication.UsernamePasswordAuthenticationToken"'
  request+=',"authorities":["java.util.Collections$UnmodifiableRandomAccessList",[{"authority":"ROLE_USER"'
  request+=',"@class":"org.springframework.security.core.authority.SimpleGrantedAuthority"}]]'
  request+=',"details":{"@class":"org.springframework.security.web.authentication.WebAuthenticationDetails"'
  request+=',"remoteAddress":"192.0.2.1"},"authenticated":true,"principal":"'$subject'","credentials":null}'
  claims='"metadata.token.claims":{'$map',"sub":"'$subject'","aud":["java.util.Collections$SingletonList",["'$client'"]]'
  claims+=',"iss":"'$issuer'","nbf":'$instant',"iat":'$instant',"exp":'$instant
  GRANT+=(
    [spring_client]=7c9e6679-7425-40de-944b-e07fc1f90ae7 [spring_grant_type]=authorization_code
    [spring_scopes]=openid,profile,email [spring_token_type]=Bearer [spring_attributes]="{$map,$request}"
    [spring_live]="{$map,\"metadata.token.invalidated\":false}" [spring_spent]="{$map,\"metadata.token.invalidated\":true}"
    [spring_access_token]=$(noise 600) [spring_id_token]=$(noise 600) [spring_refresh_token]=$(noise 96)
    [spring_access_metadata]="{$map,$claims,\"scope\":$scopes,\"jti\":\"$(noise 24)\"},\"metadata.token.invalidated\":false}"
    [spring_id_metadata]="{$map,$claims,\"azp\":\"$client\",\"nonce\":\"$nonce\"},\"metadata.token.invalidated\":false}"
    [doorkeeper_application]=1 [doorkeeper_expires_in]=60 [doorkeeper_scopes]='openid profile email'
    [doorkeeper_resource]=$resource
  )
}

# Unpacked from their packages, Redis' programs need to be told of their libraries.
REDIS_LIBRARIES=$ROOT/target/tools/lib/$(uname -m)-linux-gnu
redis_cli() { LD_LIBRARY_PATH=$REDIS_LIBRARIES redis-cli -h 127.0.0.1 -p "$REDIS_PORT" "$@"; }

# Each write waits for the disk, as a commit does; no snapshots beside it.
redis_start() {
  local _ folder=$work/redis
  unpack redis-server redis-server redis-tools libjemalloc2 liblzf1
  mkdir "$folder"
  for _ in 1 2 3 4 5 6 7 8; do
    REDIS_PORT=$((20000 + RANDOM % 30000))
    LD_LIBRARY_PATH=$REDIS_LIBRARIES redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --dir "$folder" \
      --save '' --appendonly yes --appendfsync always >"$folder/log" 2>&1 &
    REDIS_PID=$!
    while kill -0 "$REDIS_PID" 2>/dev/null; do
      ! grep -q 'Ready to accept connections' "$folder/log" || return 0
      sleep 0.1
    done
  done
  cat "$folder/log" >&2
  die "redis-server did not start"
}

redis_stop() {
  [ -n "${REDIS_PID:-}" ] || return 0
  kill "$REDIS_PID" 2>/dev/null || true
  wait "$REDIS_PID" || true
  REDIS_PID=
}

# What FLUSHALL leaves in the log of writes would be rewritten in some later run.
redis_empty() {
  redis_cli FLUSHALL >/dev/null
  redis_cli BGREWRITEAOF >/dev/null
  until redis_cli INFO persistence | tr -d '\r' | grep -qx aof_rewrite_in_progress:0; do sleep 0.1; done
}

# redis_cycles CLIENTS OPTION…: cycles a second. A GETDEL that does not find its code ends the benchmark.
redis_cycles() {
  "$work/redis_cycles" "$REDIS_PORT" "$@" "${GRANT[key_tail]}" "${GRANT[data_head]}" "${GRANT[family_tail]}" "${GRANT[data_tail]}"
}

others() {
  if [ "$1" = redis ]; then
    redis_empty
    redis_cycles "$3" -T "$SECONDS_PER_RUN"
  else
    cycles_on_empty "$@"
  fi
}

check_redis() {
  local redeemed
  redis_cli CONFIG RESETSTAT >/dev/null
  redis_cycles 2 -t 10 >/dev/null
  redeemed=$(redis_cli INFO stats | tr -d '\r' | sed -n 's/^keyspace_hits://p')
  [ "$redeemed" = 20 ] || die "redis: $redeemed of 20 cycles redeemed their code"
}

scenario_others() {
  local clients
  # These stores are in no other scenario's cluster.
  local -A TABLE=([attesto_codes]=authorizations [seed]=attesto_authorization_codes [hydra]="hydra_oauth2_code hydra_oauth2_pkce"
    [spring]=oauth2_authorization [doorkeeper]=oauth_access_grants)
  say "Starting a private PostgreSQL $PG_MAJOR with the tables of others, and a Redis"
  others_grant
  start others
  cc -O2 -pthread -o "$work/redis_cycles" "$ROOT/bench/redis_cycles.c"
  redis_start
  echo "Does every cycle redeem its code?"
  check_cycles
  check_redis
  echo yes
  synchronous_commit on
  say "$OTHERS_TITLE: $ROUNDS rounds of $SECONDS_PER_RUN s each"
  for clients in $OTHERS_CLIENTS; do measure "$OTHERS_TITLE" on prepared "$clients" others "${OTHERS[@]}"; done
  redis_stop
  "$ROOT/bench/others.py" "$OTHERS_TITLE" <"$RAW" >"$work/others.svg"
  mv "$work/others.svg" "$(dirname "$RESULTS")/others.svg"
}
