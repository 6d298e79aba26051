#!/usr/bin/env bash
# Installs what is missing to build and run the extension, and with --tests what the tests need, or
# with --deb what the test of the package needs.
. "$(dirname "$0")/env.sh"
. "$ROOT/scripts/packages.sh"

# A package that not every Debian or Ubuntu has.
want_package() {
  installed "$1" && return
  as_root apt-get update -qq
  if apt-cache show "$1" >/dev/null 2>&1; then need_packages "$1"; else say "There is no $1 here"; fi
}

# The version that the upgrade test starts from. PostgreSQL looks for it among the others.
install_first_version() {
  local script=attesto_codes--0.1.0.sql folder
  folder=$("$PG_CONFIG" --sharedir)/extension
  ! cmp -s "$ROOT/tests/upgrade/$script" "$folder/$script" || return 0
  say "Copying $script, which the upgrade test starts from, to $folder"
  local as=as_root
  [ -z "$IS_OWN_SERVER" ] || as=
  $as install -m 644 "$ROOT/tests/upgrade/$script" "$folder/$script"
}

# is_older MADE FROM: whether what was made is missing, or older than what it is made from.
is_older() { [ ! "$1" -nt "$2" ]; }

install_node_packages() {
  local folder=$ROOT/target/clients
  is_older "$folder/node_modules/.package-lock.json" "$ROOT/tests/clients/package-lock.json" || return 0
  say "Installing the Node packages of the tests into target/clients"
  mkdir -p "$folder"
  cp "$ROOT"/tests/clients/package*.json "$folder/"
  alive npm ci --prefix "$folder" --silent
}

install_python_packages() {
  local folder=$ROOT/target/clients/python wanted=$ROOT/tests/clients/requirements.txt
  is_older "$folder/installed" "$wanted" || return 0
  say "Installing the Python packages of the tests into target/clients/python"
  /usr/bin/python3 -m venv --clear "$folder"
  alive "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  touch "$folder/installed"
}

build_rust_program() {
  say "Building the Rust program of the tests in target/clients/rust"
  CARGO_TARGET_DIR=$ROOT/target/clients/rust alive cargo build --quiet --locked --manifest-path "$ROOT/tests/clients/rust/Cargo.toml"
}

command -v cargo >/dev/null || die "cargo is missing: install a Rust toolchain (https://rustup.rs) first"

need_packages build-essential pkg-config libclang-dev
if [ -z "${PG_CONFIG:-}" ]; then
  as_root apt-get update -qq
  major=$(apt-cache depends postgresql | grep -oE 'postgresql-[0-9]+' | head -1 | grep -oE '[0-9]+')
  need_packages "postgresql-$major" "postgresql-server-dev-$major"
  . "$ROOT/scripts/env.sh"
fi
[ "${1:-}" != --deb ] || need_packages debootstrap debian-archive-keyring dpkg-dev
if [ "${1:-}" = --tests ]; then
  need_packages libipc-run-perl python3 python3-venv python3-psycopg default-jdk-headless libpostgresql-jdbc-java \
    elixir erlang-p1-pgsql erlang-jiffy
  if [ -z "$IS_OWN_SERVER" ]; then
    want_package "postgresql-$PG_MAJOR-cron"
    want_package "postgresql-$PG_MAJOR-repack"
    want_package "postgresql-$PG_MAJOR-plproxy"
  fi
  unpack prometheus-postgres-exporter prometheus-postgres-exporter
  unpack pgbouncer pgbouncer
  unpack pgpool pgpool2
  mapfile -t needed < <(libraries pgbouncer pgpool2)
  need_packages "${needed[@]}"
  install_first_version
  # Other sources' Node.js brings npm along and conflicts with Debian's.
  command -v npm >/dev/null || need_packages nodejs npm
  install_node_packages
  install_python_packages
  build_rust_program
fi
