#!/usr/bin/python3
"""The races of race.py through two proxies over four shards."""
import contextlib

import psycopg

import race
from harness import Tap
from proxies import kin, need_plproxy, store


class Meta(str):
    """A meta whose family is on the shard of its code, as a proxy demands it."""

    def __mod__(self, code):
        return f'{{"family_id": "{kin(code)}"}}'

    def replace(self, _, code):
        return self % code


class Setup:
    """The connection that race.py puts codes with. What a session does on a single server, it does on each shard."""

    def __init__(self, proxies, shards):
        self.proxies, self.shards, self.ends = proxies, shards, 0

    def execute(self, sql, arguments=None):
        if sql.startswith(("LISTEN", "UNLISTEN", "NOTIFY", "SELECT 1")):
            return [shard.execute(sql) for shard in self.shards]
        if sql.startswith("SET attesto_codes.replay_grace"):
            for shard in self.shards:
                shard.execute(f"ALTER DATABASE {shard.info.dbname} {sql}")
            # A new version of the map: the sessions connect anew.
            for proxy in self.proxies:
                proxy.execute("UPDATE shards.map SET connection = connection")
            return None
        return self.proxies[0].execute(sql, arguments)

    def add_notify_handler(self, handler):
        """The end is told when it has come from every shard."""
        def handle(notice):
            self.ends += notice.payload == "end"
            if notice.payload != "end" or self.ends == len(self.shards):
                handler(notice)
        for shard in self.shards:
            shard.add_notify_handler(handle)


class Racers(race.Racers):
    """Half of them at each proxy."""

    def __init__(self, dsns, stack):
        super().__init__(dsns[0], stack)
        for number in range(1, race.RACERS, 2):
            self.conns[number] = stack.enter_context(psycopg.connect(dsns[1], autocommit=True, options="-c statement_timeout=20s"))


def main():
    need_plproxy()
    tap = Tap()
    race.META = Meta(race.META)
    with contextlib.ExitStack() as stack:
        proxies, shards = stack.enter_context(store("race", proxies=2))
        conns = [[stack.enter_context(psycopg.connect(dsn, autocommit=True)) for dsn in dsns] for dsns in (proxies, shards)]
        race.races(tap, Racers(proxies, stack), Setup(*conns))
        rows = [shard.execute("SELECT count(*) FROM authorizations").fetchone()[0] for shard in conns[1]]
        tap.ok(min(rows) > sum(rows) / 8, f"all shards had codes: {rows}")
    tap.done()


if __name__ == "__main__":
    main()
