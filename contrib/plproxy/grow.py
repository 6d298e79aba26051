#!/usr/bin/python3
"""Splits shards: the second half of the partitions of each OLD shard goes to a NEW one, while codes are issued and redeemed.

    grow.py --proxy CONNINFO … --admin 'user=postgres' --split OLD NEW …

NEW is a physical standby of OLD that streams from it. OLD is the connection as it stands in shards.map, and NEW is what is to stand
there, with a new name of the database: on both servers it gets that name. --admin is laid over both, for a superuser. Every proxy
has to be named: one that is forgotten gets errors from the shards that were split, until --map-only is run for it.

Nothing but the map is changed on a proxy. Calls wait meanwhile, and none fails. Until the standbys are promoted, a failure leaves
everything as it was. See docs/scale-out.md.
"""
import argparse
import contextlib
import signal
import sys
import time
import uuid

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

# How long calls of others may wait behind ours for an open transaction, how often that is tried, and how far a standby may be behind.
LOCK_TIMEOUT, TRIES, LAG = "2s", 30, 16 * 1024 * 1024
# How long each later step may take, in seconds.
PATIENCE = 30


def say(text):
    # Whoever reads it may be gone.
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def connect(connection, stack, **members):
    conn = stack.enter_context(contextlib.closing(psycopg.connect(make_conninfo(connection, **members), autocommit=True)))
    # Until PostgreSQL 16 there is no transaction_timeout.
    conn.execute("SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN"
                 " ('statement_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')")
    return conn


def servers(connection):
    """The hosts and ports that a connection names."""
    members = conninfo_to_dict(connection)
    hosts = members.get("host", members.get("hostaddr", "")).split(",")
    ports = str(members.get("port", 5432)).split(",")
    return set(zip(hosts, ports if len(ports) == len(hosts) else ports * len(hosts)))


class Split:
    """One old shard, and the standby of it that becomes a new one."""

    def __init__(self, old, new, admin, stack):
        self.old, self.new = old, new
        self.database, self.new_database = (conninfo_to_dict(connection)["dbname"] for connection in (old, new))
        members = conninfo_to_dict(admin) | {"dbname": "postgres"}
        # A standby takes no writes yet, whatever NEW asks for.
        self.primary, self.standby = connect(old, stack, **members), connect(new, stack, **(members | {"target_session_attrs": "any"}))
        # The fence has to outlive a crash of the old shard, and has to be on its standbys.
        self.primary.execute("SET synchronous_commit = on")
        # By it the two of a pair are known. All shards may have grown out of one.
        self.mark, self.former_mark = str(uuid.uuid4()), self.mark_of(self.primary, self.database)

    def check(self):
        if f"dbname={self.database}" not in self.old or self.database == self.new_database:
            sys.exit(f"the database has to get a new name, and to stand in the map as dbname={self.database}")
        if self.is_in_recovery(self.primary) or not self.is_in_recovery(self.standby) or not self.is_of_one_origin():
            sys.exit(f"{self.new} is no standby of {self.old}")
        if not self.has(self.primary, self.database) or self.has(self.primary, self.new_database):
            sys.exit(f"{self.old}: there is no {self.database}, or there is a {self.new_database} already")
        if self.lag() > LAG:
            sys.exit(f"{self.new} is far behind {self.old}")
        waits = self.standby.execute("SELECT current_setting('synchronous_standby_names') <> '' AND NOT EXISTS (SELECT FROM pg_stat_replication)")
        if waits.fetchone()[0]:
            sys.exit(f"{self.new} would wait for a standby that it does not have: empty synchronous_standby_names there")

    def check_done(self):
        for connection, conn in ((self.old, self.primary), (self.new, self.standby)):
            if self.is_in_recovery(conn) or not self.has(conn, self.new_database):
                sys.exit(f"{connection}: this server is not split. It is a standby, or has no database {self.new_database}")
        mark = self.mark_of(self.primary, self.new_database)
        if not self.is_of_one_origin() or mark is None or mark != self.mark_of(self.standby, self.new_database):
            sys.exit(f"{self.new} was not split from {self.old}")

    def is_in_recovery(self, conn):
        return conn.execute("SELECT pg_is_in_recovery()").fetchone()[0]

    def is_of_one_origin(self):
        ask = "SELECT system_identifier FROM pg_control_system()"
        return self.primary.execute(ask).fetchone() == self.standby.execute(ask).fetchone()

    def has(self, conn, database):
        return conn.execute("SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s)", [database]).fetchone()[0]

    def mark_of(self, conn, database):
        row = conn.execute("SELECT split_part(setting, '=', 2) FROM pg_database JOIN pg_db_role_setting ON setdatabase = oid AND setrole = 0,"
                           " unnest(setconfig) AS setting WHERE datname = %s AND setting LIKE 'shards.split=%%'", [database]).fetchone()
        return row and row[0]

    def set_mark(self, database, mark):
        change = sql.SQL("RESET shards.split") if mark is None else sql.SQL("SET shards.split = {}").format(sql.Literal(mark))
        self.primary.execute(sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(database), change))

    def lag(self):
        position = self.primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        return self.standby.execute("SELECT %s::pg_lsn - coalesce(pg_last_wal_replay_lsn(), '0/0')", [position]).fetchone()[0]

    def allow(self, conn, database, is_allowed):
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.SQL(str(is_allowed))))

    def rename(self, database, new_database):
        self.primary.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(new_database)))

    def check_map(self, connections):
        """That no server stands there as two."""
        for connection in connections:
            if servers(connection) & servers(self.new):
                sys.exit(f"the server of {self.new} stands in the map already")
            is_same = servers(connection) & servers(self.old) and conninfo_to_dict(connection)["dbname"] == self.database
            if is_same and connection != self.old:
                sys.exit(f"{self.old} stands in the map in another spelling, too")

    def claim(self):
        """For as long as this connection lasts: whoever names other proxies is kept out, too."""
        if not self.primary.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [f"attesto_codes split {self.database}"]).fetchone()[0]:
            sys.exit(f"{self.old} is being split already")

    def close(self):
        self.allow(self.primary, self.database, False)

    def fence(self):
        """From here on nobody who has the old map writes to the old shard. Before the name changes every session is ended, of proxies
        that we do not know of, too."""
        self.until(self.primary, "SELECT count(pg_terminate_backend(pid)) = 0 FROM pg_stat_activity WHERE datname = %s", self.database)
        self.rename(self.database, self.new_database)
        self.set_mark(self.new_database, self.mark)

    def take_back(self):
        """As it was. The new name is there only if the fence was finished."""
        on_signals(signal.SIG_IGN)
        try:
            with contextlib.suppress(psycopg.errors.InvalidCatalogName):
                self.rename(self.new_database, self.database)
            self.allow(self.primary, self.database, True)
            self.set_mark(self.database, self.former_mark)
            say(f"{self.old}: as it was")
        except psycopg.Error as error:
            say(f"{self.old}: take this back by hand, as docs/scale-out.md says: {str(error).strip()}")

    def catch_up(self):
        """The standby has all that the old shard has written: the mark came last."""
        self.until(self.standby, "SELECT EXISTS (SELECT FROM pg_db_role_setting WHERE %s = ANY (setconfig))", f"shards.split={self.mark}")

    def promote(self):
        # Two shards of one server have one standby.
        with contextlib.suppress(psycopg.errors.ObjectNotInPrerequisiteState):
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
            # No standby has to know it.
            conn.execute("SET synchronous_commit = local")
            self.allow(conn, self.new_database, True)

    def change_map(self, proxy):
        proxy.execute("UPDATE shards.map SET connection = %s FROM (SELECT partition, row_number() OVER (ORDER BY partition) > count(*) OVER () / 2"
                      " AS is_second FROM shards.map WHERE connection = %s) half WHERE map.partition = half.partition AND is_second",
                      [self.new, self.old])
        proxy.execute("UPDATE shards.map SET connection = replace(connection, %s, %s) WHERE connection = %s",
                      [f"dbname={self.database}", f"dbname={self.new_database}", self.old])


def check_maps(splits, proxies):
    maps = [proxy.execute("SELECT connection FROM shards.map ORDER BY partition").fetchall() for proxy in proxies]
    if any(other != maps[0] for other in maps) or any((split.old,) not in maps[0] for split in splits):
        sys.exit("the maps of the proxies differ, or an OLD does not stand there")
    return {connection for connection, in maps[0]}


def check(splits, proxies):
    connections = check_maps(splits, proxies)
    for split in splits:
        split.check_map(connections)
        split.check()


def pause(proxies):
    """Locks out new calls on every proxy, when the older ones have ended. All or none."""
    for _ in range(TRIES):
        try:
            for proxy in proxies:
                proxy.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
                proxy.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                # In the order in which an UPDATE of the map locks them.
                proxy.execute("LOCK TABLE shards.map IN SHARE ROW EXCLUSIVE MODE")
                proxy.execute("LOCK TABLE shards.version IN ACCESS EXCLUSIVE MODE")
                proxy.execute("SAVEPOINT before")
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            resume(proxies)
            say("a call or an open transaction on a proxy did not end: once more")
            time.sleep(1)
    sys.exit("a transaction on a proxy stays open: end it first. Nothing was changed")


def resume(proxies):
    for proxy in proxies:
        proxy.execute("ROLLBACK")


def take_back_maps(proxies):
    """With a new version, so that sessions let go of the connections that the old shard has ended."""
    for proxy in proxies:
        # One that is gone has its old map, and no sessions.
        with contextlib.suppress(psycopg.OperationalError):
            proxy.execute("ROLLBACK TO SAVEPOINT before")
            proxy.execute("UPDATE shards.version SET version = version + 1")
            proxy.execute("COMMIT")


def change_maps(splits, proxies):
    """To be committed when the shards are split."""
    for proxy in proxies:
        for split in splits:
            split.change_map(proxy)


def commit_maps(proxies):
    """Returns how many have the old map."""
    failed = 0
    for proxy in proxies:
        try:
            proxy.execute("COMMIT")
            say(f"{proxy.info.dsn}: the map is changed")
        except psycopg.Error as error:
            failed += 1
            say(f"{proxy.info.dsn}: the map is not changed, use --map-only: {str(error).strip()}")
    return failed


def on_signals(handler):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def end(*_):
    # psycopg knows this one: a statement that runs is cancelled, and the connection stays good.
    raise KeyboardInterrupt


def split_all(splits, proxies):
    check(splits, proxies)
    pause(proxies)
    began = time.monotonic()
    with contextlib.ExitStack() as way_back:
        way_back.callback(take_back_maps, proxies)
        # Another one may have split them since.
        check(splits, proxies)
        change_maps(splits, proxies)
        for split in splits:
            split.claim()
        for split in splits:
            way_back.callback(split.take_back)
            split.close()
        for step in (Split.fence, Split.catch_up):
            for split in splits:
                step(split)
        say("from here there is no way back")
        on_signals(signal.SIG_IGN)
        way_back.pop_all()
    for step in (Split.promote, Split.promoted, Split.open):
        for split in splits:
            step(split)
    failed = commit_maps(proxies)
    say(f"calls waited for {time.monotonic() - began:.2f} s")
    return failed


def change_maps_alone(splits, proxies):
    """After a split, on proxies that it did not reach."""
    pause(proxies)
    check_maps(splits, proxies)
    for split in splits:
        split.check_done()
    change_maps(splits, proxies)
    return commit_maps(proxies)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", action="append", required=True)
    parser.add_argument("--admin", default="")
    parser.add_argument("--split", action="append", nargs=2, metavar=("OLD", "NEW"), required=True)
    parser.add_argument("--map-only", action="store_true", help="after a split, for proxies that it did not reach")
    given = parser.parse_args()
    on_signals(end)
    with contextlib.ExitStack() as stack:
        proxies = [connect(proxy, stack) for proxy in given.proxy]
        splits = [Split(old, new, given.admin, stack) for old, new in given.split]
        return change_maps_alone(splits, proxies) if given.map_only else split_all(splits, proxies)


if __name__ == "__main__":
    try:
        sys.exit(main() and 1)
    except KeyboardInterrupt:
        sys.exit("ended by a signal")
