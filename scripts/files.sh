#!/usr/bin/env bash
# files.sh install|uninstall [LIBRARIES EXTENSIONS]: puts what was built into these two folders, or takes it
# away. Without them they are those of the PostgreSQL that pg_config names, below DESTDIR.
. "$(dirname "$0")/env.sh"

action=$1
if [ $# -gt 1 ]; then
  libraries=$2 extensions=$3
else
  need_pg_config
  libraries=${DESTDIR:-}$("$PG_CONFIG" --pkglibdir)
  extensions=${DESTDIR:-}$("$PG_CONFIG" --sharedir)/extension
fi

# Whether this user may write FOLDER, or make it.
may_write() {
  local folder=$1
  until [ -e "$folder" ]; do folder=$(dirname "$folder"); done
  [ -w "$folder" ]
}

# A staged folder belongs to whoever stages; only the server's own may need more rights.
write=()
if [ -z "${DESTDIR:-}" ] && [ $# -eq 1 ] && ! { may_write "$libraries" && may_write "$extensions"; }; then
  command -v sudo >/dev/null || die "$libraries or $extensions is not writable, and there is no sudo: be root, or set DESTDIR"
  write=(sudo)
fi

# put MODE FILE FOLDER [NAME]: by a rename, since a server that runs has the library mapped. Written in place
# it would change under the server, which then crashes.
put() {
  local target=$3/${4:-$(basename "$2")}
  "${write[@]}" install -m "$1" "$2" "$target.new"
  "${write[@]}" mv -f "$target.new" "$target"
  echo "$target"
}

case $action in
  install)
    say "Installing attesto_codes $VERSION"
    "${write[@]}" mkdir -p "$libraries" "$extensions"
    put 755 "$ROOT/target/release/libattesto_codes.so" "$libraries" attesto_codes.so
    for script in "$ROOT"/sql/attesto_codes--*.sql; do put 644 "$script" "$extensions"; done
    # It comes last: it names the version that CREATE EXTENSION looks for.
    put 644 "$ROOT/attesto_codes.control" "$extensions"
    ;;
  uninstall)
    say "Removing attesto_codes from $libraries and $extensions"
    "${write[@]}" rm -f "$libraries/attesto_codes.so" "$extensions/attesto_codes.control" \
      "$extensions"/attesto_codes--*.sql
    ;;
  *) die "usage: files.sh install|uninstall [LIBRARIES EXTENSIONS]" ;;
esac
