# Debian's packages; sourced after env.sh.

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

need_packages() {
  local package missing=()
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing Debian packages: ${missing[*]}"
  as_root apt-get update -qq
  alive as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}

# libraries PACKAGE…: the libraries that they need.
libraries() { apt-cache depends "$@" | sed -n 's/^ *Depends: \(lib.*\)/\1/p' | sort -u; }

# Programs whose packages would start a daemon.
# unpack PROGRAM PACKAGE…: unpacks the packages into target/tools, unless there is such a program.
unpack() {
  local program=$1 tools=$ROOT/target/tools package
  shift
  ! command -v "$program" >/dev/null || return 0
  say "Unpacking $* into target/tools"
  as_root apt-get update -qq
  mkdir -p "$tools"
  (
    cd "$tools"
    apt-get download -qq -o APT::Sandbox::User=root "$@"
    for package in *.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x --strip-components=2 --exclude=./usr/share ./usr; done
    rm -f ./*.deb
  )
}
