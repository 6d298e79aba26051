# Programs whose Debian packages would start a daemon; sourced after env.sh.

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
