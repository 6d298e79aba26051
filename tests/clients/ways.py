#!/usr/bin/python3
"""The table of drivers in docs/clients.md is so. Each word of its cells is a way to present a code, which the program of that
driver in ways/ or rust/ goes: the counters of code_stats() say whether the statement itself or a worker has committed the spend.
Each way answers the grant, and a second presentation gets nothing, also where the way has ended with a ROLLBACK."""
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from harness import Tap, database, until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/clients.md"
WAYS = ROOT / "tests/clients/ways"
BUILT = ROOT / "target/clients"
DEBIAN, PYPI = sys.executable, str(BUILT / "python/bin/python")
# The call of each presentation, with {} for the hash of the code.
CALLS = {"code_take": "code_take({})", "code_redeem": "code_redeem({}, 'c', 'r')"}
COLUMNS = "status, data, expires_at"
# What is presented before on the connection. After so many a driver has prepared the statement, and PostgreSQL may plan it
# for all parameters at once.
BEFORE = {"on a new connection": [], "after a dozen others": ["nobody's"] * 12}
GRANT = json.dumps({"client_id": "c", "subject": "alice", "redirect_uri": "r"})
EXPIRES_AT = 4102444800
# What each driver of the table writes for a parameter, and its programs.
DRIVERS = {
    "psql": (":'code'", {"": [DEBIAN, WAYS / "with_psql.py"]}),
    "psycopg 3": ("%s", {" of Debian": [DEBIAN, WAYS / "with_psycopg.py"], " of PyPI": [PYPI, WAYS / "with_psycopg.py"]}),
    "asyncpg": ("$1", {"": [PYPI, WAYS / "with_asyncpg.py"]}),
    "SQLAlchemy 2": (":code", {f" with {driver}": [PYPI, WAYS / "with_sqlalchemy.py", driver]
                               for driver in ("psycopg", "asyncpg")}),
    "Django 5": ("%s", {"": [PYPI, WAYS / "with_django.py"]}),
    "pg": ("$1", {"": ["node", WAYS / "with_pg.js"]}),
    "postgres.js": ("$1", {"": ["node", WAYS / "with_postgres.js"]}),
    "drizzle": ("$1", {f" with {driver}": ["node", WAYS / "with_drizzle.js", driver] for driver in ("pg", "postgres.js")}),
    "Prisma 7": ("$1", {"": ["node", WAYS / "with_prisma.js"]}),
    "JDBC": ("?", {"": ["java", "-cp", "/usr/share/java/postgresql.jar", WAYS / "WithJdbc.java"]}),
    "tokio-postgres": ("$1", {"": [BUILT / "rust/debug/ways", "tokio-postgres"]}),
    "sqlx": ("$1", {"": [BUILT / "rust/debug/ways", "sqlx"]}),
}
# What the column on pipelining says, and how the first statement of a pipeline and a later one then go.
PIPELINING = {"–": [], "all are quick": ["quick", "quick"], "the first is quick, later ones are slow": ["quick", "slow"]}
IN_PIPELINE = ["first of a pipeline", "later in a pipeline"]
# What makes a presentation slow with every driver: what is set before, and the statement.
EVERYWHERE = {
    "an expression of its column": ("SELECT 1", "SELECT status, data->>'subject' FROM {}"),
    "expanded": ("SELECT 1", "SELECT ({}).*"),
    "another client encoding": ("SET client_encoding = 'LATIN1'", "SELECT * FROM {}"),
    "a higher isolation level": ("SET default_transaction_isolation = 'repeatable read'", "SELECT * FROM {}"),
    "a lower isolation level": ("SET default_transaction_isolation = 'read uncommitted'", "SELECT * FROM {}"),
}


def table():
    """Its rows: the driver, its ways with the speed of each, and its types."""
    section = PAGE.read_text().split("\n### The drivers\n")[1].split("\n## ")[0].replace("`", "")
    for line in re.findall(r"^\|.*\|$", section, re.MULTILINE)[2:]:
        driver, quick, slow, pipelining, *types = [cell.strip() for cell in line.split("|")[1:-1]]
        speeds = {way: speed for speed, cell in [("quick", quick), ("slow", slow)] for way in cell.split("<br>")}
        yield driver, speeds | dict(zip(IN_PIPELINE, PIPELINING[pipelining])), types


class Program:
    """A program that takes orders; see ways/orders.py."""

    def __init__(self, command, dsn):
        words = conninfo_to_dict(dsn)
        url = "jdbc:postgresql://{host}:{port}/{dbname}?user={user}".format(**words)
        self.process = subprocess.Popen(command, env={**os.environ, "PGDATABASE": words["dbname"], "DSN": dsn, "JDBC_URL": url},
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, bufsize=1)
        self.ways = self.line()

    def line(self):
        """The words of its next line; none if it does not answer."""
        watch = threading.Timer(60, self.process.kill)
        watch.start()
        words = self.process.stdout.readline().rstrip("\n").split("\t")
        watch.cancel()
        return words

    def take(self, way, sql, *codes):
        with contextlib.suppress(BrokenPipeError):
            print(way, sql, *codes, sep="\t", file=self.process.stdin, flush=True)
        return self.line()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()


class Counters:
    """Says how the spends since it was asked last were committed."""

    def __init__(self, db):
        self.db = db
        # Without preload the first worker makes the counters.
        put(db, "the first")
        with db.transaction():
            again(db, "the first")
        until(lambda: None not in self.read())
        self.seen = self.read()

    def read(self):
        return self.db.execute("""SELECT spends_statement, spends_oneshot + spends_resident, spends_joined
                                  FROM code_stats()""").fetchone()

    def speeds(self):
        before, self.seen = self.seen, self.read()
        names = ["quick", "slow", "joined"]
        return [name for name, old, new in zip(names, before, self.seen) for _ in range(new - old)]


def put(db, code):
    db.execute("SELECT code_put(%s, %s, %s)", [code, GRANT, EXPIRES_AT])


def again(db, code):
    return db.execute("SELECT status FROM code_take(%s)", [code]).fetchone()[0]


def undone(db):
    """How many writes beside a presentation were made, and how many are left."""
    return db.execute("""SELECT CASE WHEN is_called THEN last_value ELSE 0 END, (SELECT count(*) FROM undone)
                         FROM undone_id_seq""").fetchone()


def of_driver(tap, db, counters, name, speeds, types, placeholder, program):
    """Goes all ways of a driver."""
    tap.equal(sorted(program.ways), sorted(speeds), f"{name}: the table has the ways that are tested")
    if sorted(program.ways) != sorted(speeds):
        return
    db.execute("TRUNCATE undone")
    writes, _ = undone(db)
    for (call, text), (when, before), (way, speed) in itertools.product(CALLS.items(), BEFORE.items(), speeds.items()):
        case = f"{name}: {call}, {way}, {when}"
        put(db, case)
        counters.speeds()
        got = program.take(way, f"SELECT {COLUMNS} FROM {text.format(placeholder)}", *before, case)
        # Where a way gets no more than one column, the answer is the status alone.
        wanted = ["ok", "alice", str(EXPIRES_AT), *types][:max(1, len(got))]
        tap.equal((got, counters.speeds()), (wanted, [speed]), f"{case}: is {speed}, and answers the grant")
        tap.equal(again(db, case), "error", f"{case}: nobody gets the code again")
    tap.equal((undone(db)[0] > writes, undone(db)[1]), (True, 0), f"{name}: its transactions were rolled back")


def with_every_driver(tap, db, dsn, counters):
    for call, text in CALLS.items():
        for name, (setting, statement) in EVERYWHERE.items():
            code = f"{call}, {name}"
            put(db, code)
            counters.speeds()
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(setting)
                row = conn.execute(statement.format(text.format("%s")), [code]).fetchone()
            tap.equal((row[0], counters.speeds()), ("ok", ["slow"]), f"with every driver: {call}, {name}: is slow")


def void_with_prisma(tap, db, dsn):
    """code_put returns void, which $queryRaw does not know."""
    with contextlib.closing(Program(["node", WAYS / "void_with_prisma.js"], dsn)) as program:
        for way, wanted in [("$queryRaw", "column of type 'void'"), ("$executeRaw", "ok")]:
            said = program.take(way, f"SELECT code_put($1, '{GRANT}', {EXPIRES_AT})", way)
            tap.ok(wanted in said[0], f"Prisma 7: code_put with {way}: {wanted}")
            tap.equal(again(db, way), "ok", f"Prisma 7: code_put with {way}: the code is stored")


def refused(tap, db, dsn, counters):
    """A test environment can have what is slow refused."""
    options = "-c attesto_codes.take_in_transaction=refuse"
    put(db, "refused")
    with psycopg.connect(dsn, options=options) as conn:
        try:
            got = again(conn, "refused")
        except psycopg.Error as error:
            got = error.sqlstate
    tap.equal(got, "25001", "with take_in_transaction = refuse the slow way raises 25001")
    counters.speeds()
    with psycopg.connect(dsn, options=options, autocommit=True) as conn:
        tap.equal((again(conn, "refused"), counters.speeds()), ("ok", ["quick"]), "and the code stays live for the quick way")


def main():
    tap = Tap()
    with database("ways", "CREATE EXTENSION attesto_codes; CREATE TABLE undone (id serial)") as dsn, \
            psycopg.connect(dsn, autocommit=True) as db:
        counters = Counters(db)
        with_every_driver(tap, db, dsn, counters)
        refused(tap, db, dsn, counters)
        void_with_prisma(tap, db, dsn)
        rows = list(table())
        tap.equal([driver for driver, *_ in rows], list(DRIVERS), "the table has the drivers that are tested")
        for driver, speeds, types in rows:
            placeholder, programs = DRIVERS[driver]
            for which, command in programs.items():
                with contextlib.closing(Program(command, dsn)) as program:
                    of_driver(tap, db, counters, driver + which, speeds, types, placeholder, program)
    tap.done()


if __name__ == "__main__":
    main()
