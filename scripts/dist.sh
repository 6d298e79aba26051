#!/usr/bin/env bash
# The archive for PGXN: what is committed, in a folder of the name and version of META.json.
. "$(dirname "$0")/env.sh"
cd "$ROOT"

archive=target/attesto_codes-$VERSION.zip
mkdir -p target
git archive --format=zip --prefix="attesto_codes-$VERSION/" -o "$archive" HEAD
echo "$archive"
