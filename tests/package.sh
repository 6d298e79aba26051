#!/usr/bin/env bash
# Makes the package without a network, and installs it with apt in a Debian root that has no Rust: over a package of the version
# before, with a server that runs and has codes in every state. Runs the regress suite there, and purges the package.
# Needs root, and Debian's archive (MIRROR). DEBIAN is the release, by default the one that has this PostgreSQL.
. "$(dirname "$0")/../scripts/env.sh"
. "$ROOT/tests/count.sh"

need_pg_config
is_root || die "a Debian root is made by root alone"
# In a mount namespace of its own, so that no mount outlives it.
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare --mount "$0" "$@"
case $PG_MAJOR in
  15) DEBIAN=${DEBIAN:-bookworm} ;;
  17) DEBIAN=${DEBIAN:-trixie} ;;
  *) [ -n "${DEBIAN:-}" ] || die "which Debian has PostgreSQL $PG_MAJOR? Set DEBIAN" ;;
esac

package=postgresql-$PG_MAJOR-attesto-codes
work=$(mktemp -d /var/tmp/attesto_codes.package.XXXXXX)
root=$work/root
conf=$root/etc/postgresql/$PG_MAJOR/main
# PostgreSQL's user outside of the root connects to the socket inside.
chmod 755 "$work"

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
server() { in_root pg_ctlcluster "$PG_MAJOR" main "$@"; }
sql() { in_root runuser -u postgres -- psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
apt_install() { in_root apt-get install -y -qq --no-install-recommends "$@"; }

cleanup() {
  server stop -m immediate >/dev/null 2>&1 || true
  umount "$root/proc" "$root/dev/shm" 2>/dev/null || true
  if [ "$1" = 0 ]; then rm -rf --one-file-system "$work"; else echo "kept: $work"; fi
  total package "$1"
}
trap 'cleanup $?' EXIT

# The package of the version before, in $work/older.deb: what is in the new one, but for what that version has otherwise. Its install
# script was made by cargo-pgrx; the update scripts make the same of the first version's.
# Without the history that has its commit it is the first version, with the present library.
older_package() {
  local source=$ROOT/target/previous extensions=$work/older/usr/share/postgresql/$PG_MAJOR/extension
  dpkg-deb -R "$deb" "$work/older"
  rm "$extensions"/attesto_codes--*.sql
  cp "$ROOT/tests/upgrade/attesto_codes--0.1.0.sql" "$extensions/"
  if [ -n "$commit" ]; then
    rm -rf "$source"
    mkdir -p "$source"
    git -C "$ROOT" archive "$commit" | tar -x -C "$source"
    # By another name the library can be built in the same folder as the present one, where its crates are.
    sed -i 's/^\[lib\]$/&\nname = "attesto_codes_previous"/' "$source/Cargo.toml"
    (cd "$source" && CARGO_TARGET_DIR=$ROOT/target unshare --net cargo build --quiet --release --locked "${CARGO_FEATURES[@]}")
    cp "$ROOT/target/release/libattesto_codes_previous.so" "$work/older/usr/lib/postgresql/$PG_MAJOR/lib/attesto_codes.so"
    cp "$source/attesto_codes.control" "$source"/sql/attesto_codes--*--*.sql "$extensions/"
  fi
  sed -i "s/^default_version = .*/default_version = '$older'/" "$extensions/attesto_codes.control"
  sed -i "s/^Version: .*/Version: $older-1/" "$work/older/DEBIAN/control"
  dpkg-deb --root-owner-group --build "$work/older" "$work/older.deb"
}

# Codes in every state, twice, and tokens, by the functions of the version before; with the first version by hand.
every_state() {
  if [ -n "$commit" ]; then
    sql upgraded <<'SQL'
SELECT code_put(state || n, jsonb_build_object('client_id', 'c', 'subject', state, 'redirect_uri', 'r', 'family_id', 'fam'), 4102444800)
FROM unnest('{live,spent,redeemed,statement,transaction}'::text[]) state, generate_series(1, 2) n;
SELECT code_take(state || n) FROM unnest('{spent,redeemed}'::text[]) state, generate_series(1, 2) n;
SELECT code_mark_consumed('redeemed' || n, '{"jti": "t"}') FROM generate_series(1, 2) n;
SELECT code_record_access_token('fam', 'good', 4102444800), code_record_access_token('stolen', 'bad', 4102444800);
SELECT code_revoke_family('stolen');
SQL
  else
    sql upgraded <<'SQL'
INSERT INTO authorizations (code_hash, expires_at, inserted_at, consumed_at, consumed_success, consumed_meta, client_id, subject,
  redirect_uri, scope, resource, family_id, claims)
SELECT state || n, now() + '1h', now(), CASE WHEN state <> 'live' THEN now() END, state = 'redeemed',
  CASE WHEN state = 'redeemed' THEN '{"jti": "t"}'::jsonb END, 'c', state, 'r', '{}', '{}', 'fam', '{}'
FROM unnest('{live,spent,redeemed}'::text[]) state, generate_series(1, 2) n;
SQL
  fi
}

# answers N: what each code of the Nth time answers, and then the tokens.
answers() {
  sql upgraded -v n="$1" <<'SQL'
SELECT status, data->>'subject', meta FROM code_take('live' || :n);
SELECT status, data->>'subject', meta FROM code_take('live' || :n);
SELECT code_mark_consumed('live' || :n);
SELECT status, data->>'subject', meta FROM code_take('spent' || :n);
SELECT code_mark_consumed('spent' || :n);
SELECT status, data->>'subject', meta FROM code_take('redeemed' || :n);
SELECT code_access_token_revoked('good'), code_access_token_revoked('bad'), code_record_access_token('stolen', 'late' || :n, 4102444800);
SQL
}

# ask STATEMENT …: what the session that was opened before says to them, in one line.
ask() {
  local line=
  echo "$*" >&"${session[1]}"
  read -r -t 60 line <&"${session[0]}" || true
  echo "$line"
}

# The session goes on with the library that it has loaded. What needs a worker has one with the new library, which refuses it.
session_goes_on() {
  is "the session goes on: it takes a code" ok ask "SELECT status FROM code_take('statement1');"
  is "to take one in a transaction it has to reconnect" "ERROR:  57P01" ask "BEGIN; SELECT status FROM code_take('transaction1');"
  is "and to sweep" "ERROR:  57P01" ask "ROLLBACK; SELECT code_sweep();"
  is "that code is not spent" ok ask "SELECT status FROM code_take('transaction1');"
  has_replaced_library
}

# Once the extension is updated, that library could not see which codes are revoked.
session_is_refused() {
  is "the session has to reconnect to take a code" "ERROR:  42883" ask "SELECT status FROM code_take('statement2');"
  is "also in a transaction" "ERROR:  42883" ask "BEGIN; SELECT status FROM code_take('transaction2');"
  is "and to sweep" "ERROR:  57P01" ask "ROLLBACK; SELECT code_sweep();"
  is "neither code is spent" "$(printf 'live\nlive')" \
    sql upgraded -c "SELECT i.status FROM unnest('{statement2,transaction2}'::text[]) h, code_inspect(h) i"
  has_replaced_library
}

has_replaced_library() {
  is "it has the library that was replaced" "attesto_codes.so (deleted)" \
    sh -c "grep -om 1 'attesto_codes.so (deleted)' /proc/$(ask "SELECT pg_backend_pid();")/maps"
}

say "package: without a network"
host=$(rustc -vV | sed -n 's/^host: //p')
(cd "$ROOT" && cargo fetch --quiet --locked --target "$host") || die "the crates are not to be had"
alive ok "make deb needs no network" unshare --net make -C "$ROOT" deb
deb=$(ls -t "$ROOT"/target/"$package"_*.deb | head -1)
read -r older commit <"$ROOT/packaging/previous"
if ! git -C "$ROOT" cat-file -e "$commit^{commit}" 2>/dev/null; then
  say "package: $older is not in the history that is here. The upgrade is from 0.1.0, with the present library"
  older=0.1.0 commit=
fi
alive ok "a package of $older is made" older_package

say "package: a Debian root, $DEBIAN"
alive debootstrap --variant=minbase "$DEBIAN" "$root" "${MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
  { tail "$work/debootstrap.log"; die "debootstrap failed"; }
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
# Nothing is started by a package's scripts.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
in_root apt-get update -qq
cp "$work/older.deb" "$root/tmp/older.deb"
cp "$deb" "$root/tmp/new.deb"
cp "$ROOT/scripts/demo.sql" "$root/tmp/"

say "package: $(basename "$deb")"
alive ok "a package of $older is installed with apt, and PostgreSQL with it" apt_install /tmp/older.deb
ok "there is no Rust, and no server header" \
  in_root sh -c '! command -v cargo && ! command -v rustc && ! test -e /usr/include/postgresql'
# The suite connects as roles that it makes; a port of the machine may be taken.
echo 'local all all trust' >"$conf/pg_hba.conf"
printf "listen_addresses = ''\nport = 5432\nattesto_codes.sweep_interval = 0\n" >>"$conf/postgresql.conf"
server start
sql -c "CREATE DATABASE upgraded"
ok "and makes the extension" sql upgraded -c "CREATE EXTENSION attesto_codes"
is "of its version" "$older" sql upgraded -c "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"
ok "there are codes in every state" every_state
if [ -n "$commit" ]; then
  coproc session { sql upgraded -v ON_ERROR_STOP=0 -v VERBOSITY=sqlstate 2>&1; }
  is "a session loads its library" error ask "SELECT status FROM code_take('none');"
fi
started=$(sql -c "SELECT pg_postmaster_start_time()")

ok "the package is installed over it with apt" apt_install /tmp/new.deb
is "with the version of this tree" "$VERSION" \
  sql -c "SELECT default_version FROM pg_available_extensions WHERE name = 'attesto_codes'"
[ -z "$commit" ] || session_goes_on
ok "the extension is updated" sql upgraded -c "ALTER EXTENSION attesto_codes UPDATE"
is "to that version" "$VERSION" sql upgraded -c "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"
[ -z "$commit" ] || session_is_refused
wanted='ok|live|
error||
replayed
error||
replayed
consumed||{"jti": "t", "subject": "redeemed", "family_id": "fam"}
f|t|f'
# The first version has no tokens.
[ -n "$commit" ] || sql upgraded -c "SELECT code_record_access_token('stolen', 'bad', 4102444800), code_revoke_family('stolen')" >/dev/null
is "a new session has each code in its state" "$wanted" answers 1
is "all without a restart of the server" "$started" sql -c "SELECT pg_postmaster_start_time()"
server restart
is "and so has one after a restart" "$wanted" answers 2
is "where what was taken stays taken" consumed sql upgraded -c "SELECT status FROM code_take('live1')"
sql -c "CREATE DATABASE demo"
ok "the demo runs" sql demo -f /tmp/demo.sql
alive ok "the regress suite passes" \
  env PGHOST="$root/run/postgresql" PGPORT=5432 PGUSER=postgres "$ROOT/scripts/installcheck.sh"
printf "shared_preload_libraries = 'attesto_codes'\nattesto_codes.sweep_interval = 60\n" >>"$conf/postgresql.conf"
ok "the server starts with the library preloaded" server restart
is "and sweeps" on sql demo -c "SELECT CASE WHEN count(*) = 1 THEN 'on' END FROM pg_stat_activity WHERE backend_type LIKE 'attesto_codes%launcher'"
server stop
ok "the package is purged" in_root apt-get purge -y -qq "$package"
is "and leaves no file" "" in_root find /usr /etc /var -name '*attesto*'
[ "$failed" = 0 ]
