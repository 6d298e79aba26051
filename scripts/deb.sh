#!/usr/bin/env bash
# Makes postgresql-NN-attesto-codes, a Debian package of what was built, in target/. It is built without debhelper: two
# folders of files need no more than dpkg, and the name of the package depends on the PostgreSQL that is there.
. "$(dirname "$0")/env.sh"
cd "$ROOT"

need_pg_config
command -v dpkg-shlibdeps >/dev/null || die "dpkg-shlibdeps is missing: install dpkg-dev"
package=postgresql-$PG_MAJOR-attesto-codes
revision=${DEB_VERSION:-$VERSION-1}
architecture=$(dpkg --print-architecture)
# Two builds of one commit are the same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-attesto_codes authors} <${DEBEMAIL:-attesto-codes@localhost}>"
stage=$ROOT/target/deb/$package
# Debian's folders, also where this PostgreSQL has others.
libraries=$stage/usr/lib/postgresql/$PG_MAJOR/lib
extensions=$stage/usr/share/postgresql/$PG_MAJOR/extension
doc=$stage/usr/share/doc/$package

rm -rf "$ROOT/target/deb"
umask 022
mkdir -p "$doc" "$stage/DEBIAN"
scripts/files.sh install "$libraries" "$extensions" >/dev/null
strip --strip-unneeded --remove-section=.comment "$libraries/attesto_codes.so"
chmod 644 "$libraries/attesto_codes.so"

cp -r README.md CONTRIBUTING.md SECURITY.md docs contrib "$doc/"
mkdir "$doc/bench"
cp bench/README.md bench/RESULTS.md bench/others.svg "$doc/bench/"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"
gzip -9n >"$doc/changelog.Debian.gz" <<EOF
attesto-codes ($revision) unstable; urgency=medium

  * Version $VERSION, see changelog.gz.

 -- $maintainer  $(date -Ru -d "@$SOURCE_DATE_EPOCH")
EOF
# The library holds the crates, so that their licenses are due.
{
  printf '%s\n' 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/' \
    'Upstream-Name: attesto_codes' '' 'Files: *' 'Copyright: 2026 the attesto_codes authors' 'License: PostgreSQL'
  sed 's/^$/./; s/^/ /' LICENSE
  cat packaging/copyright-crates
  CARGO_NET_OFFLINE=true cargo tree --quiet --locked --edges normal --prefix none --format ' {p}: {l}' "${CARGO_FEATURES[@]}" |
    grep -vE '^ attesto_codes |proc-macro|\(\*\)' | sort -u
} >"$doc/copyright"

# dpkg-shlibdeps wants a source package's control file, and PostgreSQL's symbols are the server's own.
mkdir -p target/deb/source/debian
printf 'Source: attesto-codes\n\nPackage: %s\nArchitecture: any\n' "$package" >target/deb/source/debian/control
depends=$(cd target/deb/source && dpkg-shlibdeps -O -e"$libraries/attesto_codes.so" 2>/dev/null)

cat >"$stage/DEBIAN/control" <<EOF
Package: $package
Source: attesto-codes
Version: $revision
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f1)
Depends: postgresql-$PG_MAJOR, ${depends#shlibs:Depends=}
Section: database
Priority: optional
Description: OAuth 2.0 authorization codes in PostgreSQL $PG_MAJOR
 attesto_codes is an extension that stores OAuth 2.0 authorization codes for
 an authorization server. A code can be taken once, under every race, rollback
 and crash. A second presentation is reported, and all access tokens of a
 stolen code are revoked with one call. Only hashes of codes are stored.
EOF
(cd "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"

deb=$ROOT/target/${package}_${revision}_$architecture.deb
dpkg-deb --root-owner-group --build "$stage" "$deb" >/dev/null
echo "$deb"
