#!/usr/bin/python3
"""Where the system gives a session no more memory, the call is refused and the server goes on."""
import os
import subprocess

import psycopg

from harness import Tap, database

SETUP = """
CREATE EXTENSION attesto_codes;
CREATE TABLE grants AS SELECT name, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'::jsonb || more AS data
FROM (SELECT 'scope', jsonb_build_object('scope', jsonb_agg(text 'a')) FROM generate_series(1, 1000000)
      UNION ALL SELECT 'members', jsonb_object_agg('m' || i, 1) FROM generate_series(1, 500000) i) AS v (name, more);
"""
CALLS = ["SELECT code_put('new', data, 1) FROM grants WHERE name = '{}'",
         "SELECT length(data::text) FROM code_get('{}')"]
# From too little for anything to enough for most of what the members become on the way.
LIMITS = [more << 20 for more in range(4, 72, 4)]


def limit(pid, more):
    """Lets a process have this many bytes more than it has, or any number."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        size = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmSize"))
    most = "unlimited" if more is None else size + more
    owner = os.stat(f"/proc/{pid}")
    same = {"user": owner.st_uid, "group": owner.st_gid} if os.getuid() == 0 else {}
    subprocess.run(["prlimit", f"--pid={pid}", f"--as={most}:"], check=True, **same)


def answers(dsn, call):
    """What one session is answered with little memory, with more and more, and with much."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT code_hash('')")
        for more in [*LIMITS, None]:
            conn.rollback()
            limit(conn.info.backend_pid, more)
            try:
                conn.execute(call)
                yield "ok"
            except psycopg.Error as error:
                yield error.sqlstate
        conn.rollback()


def main():
    tap = Tap()
    with database("memory", SETUP) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("SELECT code_put(name, data, 1) FROM grants")
        for name in ["scope", "members"]:
            for call in CALLS:
                call = call.format(name)
                first, *others, last = answers(dsn, call)
                tap.equal((first, set(others) - {"53200", "ok"}, last), ("53200", set(), "ok"), call)
    tap.done()


if __name__ == "__main__":
    main()
