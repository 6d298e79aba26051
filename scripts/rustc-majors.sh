#!/usr/bin/env bash
# RUSTC_WRAPPER of lint.sh: pgrx-pg-sys alone is built as docs.rs does it, with the bindings that it
# ships for every major, so that a type check needs no headers of that major.
case " $* " in
  *" --crate-name pgrx_pg_sys "*) exec "$@" --cfg docsrs ;;
  *" --crate-name attesto_codes "*) exec "$@" -D warnings ;;
  *) exec "$@" ;;
esac
