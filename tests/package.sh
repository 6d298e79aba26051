#!/usr/bin/env bash
# Installs the package that `make deb` has made with apt, in a Debian root that has PostgreSQL and no Rust: over a
# package of the first version, with a server that runs. Uses it, runs the regress suite, and purges it.
# Needs root, and Debian's archive (MIRROR).
. "$(dirname "$0")/../scripts/env.sh"

need_pg_config
is_root || die "a Debian root is made by root alone"
# In a mount namespace of its own, so that no mount outlives it.
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare --mount "$0" "$@"

package=postgresql-$PG_MAJOR-attesto-codes
deb=$(ls -t "$ROOT"/target/"$package"_*.deb | head -1)
work=$(mktemp -d /var/tmp/attesto_codes.package.XXXXXX)
root=$work/root passed=0 failed=0

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
as_server() { in_root runuser -u postgres -- "$@"; }
sql() { as_server psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
apt_install() { in_root apt-get install -y -qq --no-install-recommends "$@" >>"$work/apt.log" 2>&1; }

cleanup() {
  in_root pg_ctlcluster "$PG_MAJOR" main stop -m immediate >/dev/null 2>&1 || true
  umount "$root/proc" "$root/dev/shm" 2>/dev/null || true
  if [ "$failed" = 0 ]; then rm -rf --one-file-system "$work"; else echo "kept: $work"; fi
}
trap cleanup EXIT

# ok NAME COMMAND …: whether the command succeeds.
ok() {
  local name=$1
  shift
  if "$@" >"$work/last.log" 2>&1; then
    passed=$((passed + 1))
    echo "ok $((passed + failed)) - $name"
  else
    failed=$((failed + 1))
    echo "not ok $((passed + failed)) - $name"
    cat "$work/last.log"
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

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
say "package: a Debian root ($suite) with PostgreSQL $PG_MAJOR"
alive debootstrap --variant=minbase "$suite" "$root" "${MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
  { failed=1; tail "$work/debootstrap.log"; die "debootstrap failed"; }
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
# Nothing is started by a package's scripts.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
in_root apt-get update -qq
alive apt_install "postgresql-$PG_MAJOR"
# The suite connects as roles that it makes.
echo 'local all all trust' >"$root/etc/postgresql/$PG_MAJOR/main/pg_hba.conf"
in_root pg_ctlcluster "$PG_MAJOR" main start

# The first version as a package: its script, and the present library, which refuses its tables until the update.
dpkg-deb -R "$deb" "$work/first"
extensions=$work/first$("$PG_CONFIG" --sharedir)/extension
rm "$extensions"/attesto_codes--*.sql
cp "$ROOT/tests/upgrade/attesto_codes--0.1.0.sql" "$extensions/"
sed -i "s/^default_version = .*/default_version = '0.1.0'/" "$extensions/attesto_codes.control"
sed -i 's/^Version: .*/Version: 0.1.0-1/' "$work/first/DEBIAN/control"
dpkg-deb --root-owner-group --build "$work/first" "$root/tmp/first.deb" >/dev/null
cp "$deb" "$root/tmp/new.deb"
cp -r "$ROOT/tests/regress" "$ROOT/scripts/demo.sql" "$PGXS/../test/regress/pg_regress" "$root/tmp/"
in_root chown -R postgres /tmp/regress

say "package: $(basename "$deb")"
ok "there is no Rust, and no server header" \
  in_root sh -c '! command -v cargo && ! command -v rustc && ! test -e /usr/include/postgresql'
ok "a package of the first version is installed with apt" apt_install /tmp/first.deb
sql -c "CREATE DATABASE upgraded"
ok "and makes the extension" sql upgraded -c "CREATE EXTENSION attesto_codes"
sql upgraded -c "INSERT INTO authorizations (code_hash, expires_at, inserted_at, consumed_success, client_id, subject, redirect_uri,
  scope, resource, claims) VALUES ('h', now() + '1h', now(), false, 'c', 's', 'r', '{}', '{}', '{}')"
started=$(sql -c "SELECT pg_postmaster_start_time()")
ok "the package is installed over it with apt" apt_install /tmp/new.deb
is "with the version of this tree" "$VERSION" \
  sql -c "SELECT default_version FROM pg_available_extensions WHERE name = 'attesto_codes'"
ok "the extension is updated" sql upgraded -c "ALTER EXTENSION attesto_codes UPDATE"
is "a code that was there is taken" "ok|s" sql upgraded -c "SELECT status, data->>'subject' FROM code_take('h')"
is "and it is redeemed" ok sql upgraded -c "SELECT code_mark_consumed('h')"
is "all without a restart of the server" "$started" sql -c "SELECT pg_postmaster_start_time()"
sql -c "CREATE DATABASE demo"
ok "the demo runs" sql demo -f /tmp/demo.sql
ok "the regress suite passes" as_server /tmp/pg_regress --bindir="$PG_BIN" --encoding=UTF8 --no-locale \
  --inputdir=/tmp/regress --outputdir=/tmp/regress --dbname=regression --schedule=/tmp/regress/schedule
in_root pg_ctlcluster "$PG_MAJOR" main stop
echo "shared_preload_libraries = 'attesto_codes'" >>"$root/etc/postgresql/$PG_MAJOR/main/postgresql.conf"
ok "the server starts with the library preloaded" in_root pg_ctlcluster "$PG_MAJOR" main start
is "and sweeps" on sql demo -c "SELECT CASE WHEN count(*) = 1 THEN 'on' END FROM pg_stat_activity WHERE backend_type LIKE 'attesto_codes%launcher'"
in_root pg_ctlcluster "$PG_MAJOR" main stop
ok "the package is purged" in_root apt-get purge -y -qq "$package"
is "and leaves no file" "" in_root find /usr /etc -name '*attesto*'

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
