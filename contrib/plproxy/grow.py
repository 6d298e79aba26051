#!/usr/bin/python3
"""Splits shards: the second half of the partitions of each OLD shard goes to a NEW one, while codes are issued and redeemed.

    grow.py --proxy CONNINFO … --admin 'user=postgres' --split OLD NEW …

NEW is a physical standby of OLD that streams from it. OLD is the connection as it stands in shards.map, and NEW is what is to stand
there, with a new name of the database: on both servers it gets that name. --admin is laid over both, for a superuser. Every proxy
has to be named: one that is forgotten gets errors from the shards that were split, until --map-only is run for it.

Nothing but the map is changed on a proxy. Calls wait meanwhile, and none fails. See docs/scale-out.md.
"""
import argparse
import contextlib
import sys
import time

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# How long calls of others may wait behind ours for an open transaction, how often that is tried, and how far a standby may be behind.
LOCK_TIMEOUT, TRIES, LAG = "2s", 30, 16 * 1024 * 1024
# Of each later step, in seconds.
PATIENCE = 30


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Split:
    """One old shard, and the standby of it that becomes a new one."""

    def __init__(self, old, new, admin, stack):
        self.old, self.new = old, new
        self.database, self.new_database = (conninfo_to_dict(connection)["dbname"] for connection in (old, new))
        self.primary, self.standby = (
            stack.enter_context(psycopg.connect(make_conninfo(connection, **(conninfo_to_dict(admin) | {"dbname": "postgres"})), autocommit=True))
            for connection in (old, new))

    def check(self):
        if f"dbname={self.database}" not in self.old or self.database == self.new_database:
            sys.exit(f"the database has to get a new name, and to stand in the map as dbname={self.database}")
        is_standby, primary = self.standby.execute(
            "SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system())").fetchone()
        same = self.primary.execute("SELECT NOT pg_is_in_recovery() AND system_identifier = %s FROM pg_control_system()", [primary])
        if not (is_standby and same.fetchone()[0]):
            sys.exit(f"{self.new} is no standby of {self.old}")
        if self.lag() > LAG:
            sys.exit(f"{self.new} is far behind {self.old}")

    def lag(self):
        position = self.primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        return self.standby.execute("SELECT %s::pg_lsn - coalesce(pg_last_wal_replay_lsn(), '0/0')", [position]).fetchone()[0]

    def allow(self, conn, database, is_allowed):
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.SQL(str(is_allowed))))

    def rename(self, database, new_database):
        self.primary.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(new_database)))

    def close(self):
        """Ends the sessions of proxies that we do not know of, too."""
        self.allow(self.primary, self.database, False)
        self.primary.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.database])

    def fence(self):
        """From here on nobody who has the old map writes to the old shard. Every session is gone when the name changes."""
        self.until(self.primary, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = %s)", self.database)
        self.rename(self.database, self.new_database)

    def unfence(self):
        """As it was. The new name is there only if the fence was finished."""
        with contextlib.suppress(psycopg.errors.InvalidCatalogName):
            self.rename(self.new_database, self.database)
        self.allow(self.primary, self.database, True)

    def catch_up(self):
        """The standby has all that the old shard has written."""
        position = self.primary.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0]
        self.until(self.standby, "SELECT pg_last_wal_replay_lsn() >= %s", position)

    def promote(self):
        self.standby.execute("SELECT pg_promote(false)")

    def promoted(self):
        self.until(self.standby, "SELECT NOT pg_is_in_recovery() OR %s", False)

    def until(self, conn, query, argument):
        deadline = time.monotonic() + PATIENCE
        while not conn.execute(query, [argument]).fetchone()[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.old} to {self.new}: in {PATIENCE} s this did not come true: {query}")
            time.sleep(0.005)

    def open(self):
        for conn in (self.primary, self.standby):
            self.allow(conn, self.new_database, True)

    def change_map(self, proxy):
        """Once: a second time finds no old name."""
        proxy.execute("UPDATE shards.map SET connection = %s FROM (SELECT partition, row_number() OVER (ORDER BY partition) > count(*) OVER () / 2"
                      " AS is_second FROM shards.map WHERE connection = %s) half WHERE map.partition = half.partition AND is_second",
                      [self.new, self.old])
        proxy.execute("UPDATE shards.map SET connection = replace(connection, %s, %s) WHERE connection = %s",
                      [f"dbname={self.database}", f"dbname={self.new_database}", self.old])


def read_map(proxy):
    return proxy.execute("SELECT connection FROM shards.map ORDER BY partition").fetchall()


def pause(proxies):
    """Locks out new calls on every proxy, when the older ones have ended. All or none."""
    for _ in range(TRIES):
        try:
            for proxy in proxies:
                proxy.execute("BEGIN")
                proxy.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                proxy.execute("LOCK TABLE shards.version IN ACCESS EXCLUSIVE MODE")
            return
        except psycopg.errors.LockNotAvailable:
            resume(proxies)
            say("a call or an open transaction on a proxy did not end: once more")
            time.sleep(1)
    sys.exit("a transaction on a proxy stays open: end it first. Nothing was changed")


def resume(proxies):
    for proxy in proxies:
        proxy.execute("ROLLBACK")


def split_all(splits, proxies):
    pause(proxies)
    began = time.monotonic()
    try:
        for step in (Split.close, Split.fence, Split.catch_up):
            for split in splits:
                step(split)
    except BaseException:
        for split in splits:
            split.unfence()
        resume(proxies)
        say("nothing was changed")
        raise
    # There is no way back from here.
    for step in (Split.promote, Split.promoted, Split.open):
        for split in splits:
            step(split)
    change_maps(splits, proxies)
    say(f"calls waited for {time.monotonic() - began:.2f} s")


def change_maps(splits, proxies):
    for proxy in proxies:
        for split in splits:
            split.change_map(proxy)
        proxy.execute("COMMIT")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", action="append", required=True)
    parser.add_argument("--admin", default="")
    parser.add_argument("--split", action="append", nargs=2, metavar=("OLD", "NEW"), required=True)
    parser.add_argument("--map-only", action="store_true", help="after a split, for proxies that it did not reach")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(psycopg.connect(proxy, autocommit=True)) for proxy in given.proxy]
        splits = [Split(old, new, given.admin, stack) for old, new in given.split]
        if given.map_only:
            for proxy in proxies:
                proxy.execute("BEGIN")
            change_maps(splits, proxies)
            return
        maps = [read_map(proxy) for proxy in proxies]
        if any(other != maps[0] for other in maps) or any((split.old,) not in maps[0] for split in splits):
            sys.exit("the maps of the proxies differ, or an OLD does not stand there")
        for split in splits:
            split.check()
        split_all(splits, proxies)


if __name__ == "__main__":
    main()
