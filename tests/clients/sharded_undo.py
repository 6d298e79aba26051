#!/usr/bin/python3
"""The ways of undo.py through a proxy over four shards: a presentation commits on its shard, and nothing on the proxy undoes it."""
import sys

import undo
from harness import Tap
from proxies import kin, need_plproxy, store

# The families that undo.py makes up are on any partition. Here they are on that of the code, or the code itself.
NO_FAMILY = {text: "jsonb_build_object('family_id', NULL)" for text in [
    "jsonb_build_object('family_id', gen_random_uuid())", "jsonb_build_object('family_id', 'of the mark')"]}


def without_family(call):
    for text, instead in NO_FAMILY.items():
        call = call.replace(text, instead)
    return call


def fit_to_partitions():
    undo.MARKS = without_family(undo.MARKS)
    undo.KINDS = {name: ([without_family(call) for call in before], without_family(call), status, written)
                  for name, (before, call, status, written) in undo.KINDS.items()}
    put = undo.put
    undo.put = lambda dsn, code, grant=undo.GRANT: put(dsn, code, grant.replace("of %s", kin(code).replace(code, "%s")))
    # The child of client_killed is this program.
    undo.__file__ = __file__


def main():
    need_plproxy()
    tap = Tap()
    with store("undo", undo.SETUP.replace("CREATE EXTENSION attesto_codes;", "")) as ([proxy], _):
        undo.all_ways(tap, proxy, ["independent"])
    tap.done()


if __name__ == "__main__":
    fit_to_partitions()
    if sys.argv[1:2] == ["--present-and-wait"]:
        undo.present_and_wait(*sys.argv[2:])
    else:
        main()
