#!/usr/bin/python3
"""What of a session there is through pgbouncer: prepared statements, LISTEN, and settings."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from harness import Tap, until
from pgbouncer import connect, pooled_database, pooler, role_has

ROOT = Path(__file__).resolve().parents[2]
POSTGRESQL_JAR = "/usr/share/java/postgresql.jar"
PYTHON = ROOT / "target/clients/python/bin/python"
GRANT = json.dumps({"client_id": "c", "subject": "s", "redirect_uri": "r"})
PRESENTATIONS = 24

# Each program presents the codes "NAME 0" to "NAME 23" in three connections, eight in each. It prints how many were ok, and the
# SQLSTATE that ended it.
NODE = """
const { Client } = require('pg')
let ok = 0
async function main([name, count]) {
  const clients = [new Client(), new Client(), new Client()]
  for (const db of clients) await db.connect()
  for (let i = 0; i < count; i++) {
    const query = { text: 'SELECT status FROM code_take($1)', values: [`${name} ${i}`] }
    if (name.includes('with a name')) query.name = 'take'
    ok += (await clients[i >> 3].query(query)).rows[0].status === 'ok'
  }
}
main(process.argv.slice(2)).catch(error => error.code).then(said => { console.log(ok, said ?? 'none'); process.exit() })
"""
POSTGRES_JS = """
const postgres = require('postgres')
let ok = 0
async function main([name, count]) {
  const clients = [0, 1, 2].map(() => postgres({ max: 1, prepare: !name.includes('prepare: false') }))
  for (let i = 0; i < count; i++)
    ok += (await clients[i >> 3]`SELECT status FROM code_take(${`${name} ${i}`})`)[0].status === 'ok'
}
main(process.argv.slice(2)).catch(error => error.code).then(said => { console.log(ok, said ?? 'none'); process.exit() })
"""
ASYNCPG = """
import asyncio, sys, asyncpg
async def run(name, count):
    options = {"statement_cache_size": 0} if "statement_cache_size=0" in name else {}
    clients = [await asyncpg.connect(**options) for _ in range(3)]
    ok = 0
    for i in range(count):
        try:
            ok += (await clients[i >> 3].fetch("SELECT status FROM code_take($1)", f"{name} {i}"))[0]["status"] == "ok"
        except asyncpg.PostgresError as error:
            return ok, error.sqlstate
    return ok, "none"
print(*asyncio.run(run(sys.argv[1], int(sys.argv[2]))))
"""
JAVA = """
import java.sql.*;
class Pooled {
  public static void main(String[] args) throws SQLException {
    var ok = 0;
    var said = "none";
    var url = System.getenv("JDBC_URL") + (args[0].contains("prepareThreshold=0") ? "&prepareThreshold=0" : "");
    try {
      PreparedStatement take = null;
      for (int i = 0; i < Integer.parseInt(args[1]); i++) {
        if (i % 8 == 0) take = DriverManager.getConnection(url).prepareStatement("SELECT status FROM code_take(?)");
        take.setString(1, args[0] + " " + i);
        var row = take.executeQuery();
        if (row.next() && row.getString(1).equals("ok")) ok++;
      }
    } catch (SQLException error) {
      said = error.getSQLState();
    }
    System.out.println(ok + " " + said);
  }
}
"""


@contextlib.contextmanager
def two_servers(dsn, **settings):
    """A pooler whose two connections to the server take turns: each statement of a client meets another one than the last."""
    with pooler(dsn, "transaction", size=2, server_round_robin=1, **settings) as pgbouncer:
        with connect(pgbouncer.dsn) as one, connect(pgbouncer.dsn) as other, one.transaction(), other.transaction():
            assert pid(one) != pid(other)
        yield pgbouncer


def pid(conn):
    return conn.execute("SELECT pg_backend_pid()").fetchone()[0]


def put(db, *codes):
    for code in codes:
        db.execute("SELECT code_put(%s, %s, 4102444800)", [code, GRANT])


def live(db, name):
    return db.execute("SELECT count(*) FROM authorizations WHERE consumed_at IS NULL AND code_hash LIKE %s", [f"{name} %"]).fetchone()[0]


def psycopg_presents(name, pgbouncer):
    threshold = None if name.endswith("None") else int(name.split(" = ")[1])
    ok = 0
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(pgbouncer.dsn, prepare_threshold=threshold)) for _ in range(3)]
        for number in range(PRESENTATIONS):
            try:
                ok += clients[number >> 3].execute("SELECT status FROM code_take(%s)", [f"{name} {number}"]).fetchone()[0] == "ok"
            except psycopg.Error as error:
                return f"{ok} {error.sqlstate}"
    return f"{ok} none"


def program_presents(name, pgbouncer, file, text, command):
    words = conninfo_to_dict(pgbouncer.dsn)
    url = "jdbc:postgresql://{host}:{port}/{dbname}?user={user}".format(**words)
    environment = {**os.environ, "PGHOST": words["host"], "PGPORT": words["port"], "PGUSER": words["user"], "PGDATABASE": words["dbname"],
                   "JDBC_URL": url}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, file)
        path.write_text(text)
        return subprocess.run([*command, path, name, str(PRESENTATIONS)], env=environment, text=True, timeout=120, check=False,
                              stdout=subprocess.PIPE, stderr=sys.stderr).stdout.strip()


NODE_PROGRAM = "pooled.js", NODE, ["node"]
POSTGRES_PROGRAM = "pooled.js", POSTGRES_JS, ["node"]
JAVA_PROGRAM = "Pooled.java", JAVA, ["java", "-cp", POSTGRESQL_JAR]
ASYNCPG_PROGRAM = "pooled.py", ASYNCPG, [PYTHON]
# Whether it works.
DRIVERS = [
    ("psycopg, prepare_threshold = None", None, True),
    ("psycopg, prepare_threshold = 0", None, False),
    ("psycopg, prepare_threshold = 5", None, False),
    ("pg", NODE_PROGRAM, True),
    ("pg, with a name", NODE_PROGRAM, False),
    ("postgres, prepare: false", POSTGRES_PROGRAM, True),
    # Its names are random, and it prepares a statement anew that the server does not know.
    ("postgres", POSTGRES_PROGRAM, True),
    ("JDBC, prepareThreshold=0", JAVA_PROGRAM, True),
    ("JDBC", JAVA_PROGRAM, False),
    ("asyncpg, statement_cache_size=0", ASYNCPG_PROGRAM, True),
    ("asyncpg", ASYNCPG_PROGRAM, False),
]
# There is no such statement, or there is one already.
STATEMENT_ERRORS = ["26000", "42P05"]


def drivers(tap, dsn, db):
    for name, program, works in DRIVERS:
        put(db, *[f"{name} {number}" for number in range(PRESENTATIONS)])
        with two_servers(dsn, ignore_startup_parameters="extra_float_digits") as pgbouncer:
            said = program_presents(name, pgbouncer, *program) if program else psycopg_presents(name, pgbouncer)
        ok, error = said.split()
        tap.ok(error == "none" if works else error in STATEMENT_ERRORS, f"{name} {'works' if works else 'fails'}: {said}")
        tap.equal(live(db, name), PRESENTATIONS - int(ok), "and no code is spent without an answer")


def jdbc_asks_for_float_digits(tap, dsn, db):
    put(db, "JDBC, refused 0")
    with pooler(dsn, "transaction") as pgbouncer:
        tap.equal(program_presents("JDBC, refused", pgbouncer, *JAVA_PROGRAM), "0 08P01", "JDBC cannot connect without ignore_startup_parameters")


def another_statement(tap, dsn, db):
    """Drivers number their statements. On another connection to the server the same name is another client's statement: who
    meant to look spends the code."""
    put(db, "looked at")
    with pooler(dsn, "transaction", size=2) as pgbouncer, connect(pgbouncer.dsn) as other, \
            connect(pgbouncer.dsn, prepare_threshold=0) as looks, connect(pgbouncer.dsn, prepare_threshold=0) as takes:
        def look():
            return looks.execute("SELECT status FROM code_inspect(%s)", ["looked at"]).fetchone()[0]

        with takes.transaction():
            takes.execute("SELECT status FROM code_take(%s)", ["unknown"])
            tap.equal(look(), "live", "a prepared code_inspect looks")
            other.execute("BEGIN")
        tap.equal((look(), state(db, "looked at")), ("ok", "spent"),
                  "on the connection where another client has prepared a code_take the same code_inspect spends the code")


def state(db, code):
    return db.execute("SELECT status FROM code_inspect(%s)", [code]).fetchone()[0]


def listen(tap, dsn, db):
    """The connection to the server listens, and not the client: whoever uses it next gets the notification."""
    for mode in ["transaction", "statement"]:
        code, heard = f"listen {mode}", Counter()
        put(db, code)
        with pooler(dsn, mode, size=1) as pgbouncer, connect(pgbouncer.dsn) as listener, connect(pgbouncer.dsn) as other, \
                connect(dsn) as direct:
            conns = {"listener": listener, "other": other, "direct": direct}
            for name, conn in conns.items():
                conn.add_notify_handler(lambda _, name=name: heard.update([name]))
            for conn in [listener, direct]:
                conn.execute("LISTEN attesto_codes_reuse")
            for _ in range(2):
                other.execute("SELECT FROM code_redeem(%s, 'c', 'r', meta => '{}')", [code])
            # A notification comes before the answer to a later statement.
            until(lambda: direct.execute("SELECT 1") and heard["direct"])
            for conn in conns.values():
                conn.execute("SELECT 1")
            tap.equal(heard, {"direct": 1, "other": 1},
                      f"{mode}: a reuse is announced to a direct listener, and to another client of the pooler, not to the one that listens")
        tap.ok(db.execute("SELECT code_family_revoked(%s)", [code]).fetchone()[0], f"{mode}: the reuse has revoked, without a listener")


def startup_options(tap, dsn, db):
    """They are refused; or ignored, which is worse: whoever relies on them is not told."""
    with_options = {"options": "-c attesto_codes.take_in_transaction=refuse -c search_path=elsewhere"}
    with pooler(dsn, "transaction") as pgbouncer:
        try:
            connect(pgbouncer.dsn, **with_options)
            said = "connected"
        except psycopg.OperationalError as error:
            said = str(error)
        tap.ok("unsupported startup parameter: options" in said, "options are refused")
    with pooler(dsn, "transaction", ignore_startup_parameters="options") as pgbouncer, connect(pgbouncer.dsn, **with_options) as conn:
        conn.execute("SELECT code_hash('loads the library')")
        tap.equal([shown(conn, name) for name in ["attesto_codes.take_in_transaction", "search_path"]], ["independent", "oauth, public"],
                  "or ignored, with ignore_startup_parameters = options")


def shown(conn, setting):
    return conn.execute("SELECT current_setting(%s, true)", [setting]).fetchone()[0]


def set_leaks(tap, dsn, db):
    """SET changes the connection to the server, for whoever uses it."""
    for always, leaks in [(0, True), (1, False)]:
        with pooler(dsn, "transaction", size=1, server_reset_query_always=always) as pgbouncer, connect(pgbouncer.dsn) as one, \
                connect(pgbouncer.dsn) as other:
            one.execute("SET search_path = elsewhere")
            tap.equal((shown(one, "search_path"), shown(other, "search_path")), ("elsewhere",) * 2 if leaks else ("oauth, public",) * 2,
                      f"SET {'reaches all clients' if leaks else 'lasts for one statement, with server_reset_query_always = 1'}")
            with one.transaction():
                one.execute("SET LOCAL search_path = here")
                tap.equal(shown(one, "search_path"), "here", "SET LOCAL reaches the end of the transaction")
            tap.ok(shown(other, "search_path") != "here", "and nobody else")


def role_settings(tap, dsn, db):
    """They hold for each connection to the server that is made from then on."""
    put(db, "refused")
    with pooler(dsn, "transaction", size=1) as pgbouncer, connect(pgbouncer.dsn) as conn:
        tap.equal(shown(conn, "search_path"), "oauth, public", "the search_path of the role holds")
        with role_has(db, "attesto_codes.take_in_transaction", "refuse"):
            conn.execute("SELECT code_hash('loads the library')")
            tap.equal(shown(conn, "attesto_codes.take_in_transaction"), "independent", "a setting of the role is not yet there")
            pgbouncer.command("RECONNECT")
            until(lambda: shown(conn, "attesto_codes.take_in_transaction") == "refuse")
            conn.execute("BEGIN")
            try:
                conn.execute("SELECT FROM code_take('refused')")
                said = "no error"
            except psycopg.Error as error:
                said = error.sqlstate
            tap.equal((said, state(db, "refused")), ("25001", "live"), "after RECONNECT it is")
            conn.execute("ROLLBACK")


def main():
    tap = Tap()
    with pooled_database("pooled_sessions") as (dsn, db):
        for test in [drivers, jdbc_asks_for_float_digits, another_statement, listen, startup_options, set_leaks, role_settings]:
            test(tap, dsn, db)
    tap.done()


if __name__ == "__main__":
    main()
