#!/usr/bin/python3
"""What docs/clients.md calls quick commits with its own statement, and what it calls slow needs a worker: with
take_in_transaction = refuse the first answers, and the second raises 25001."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from harness import Tap, database

# The call of each presentation, with {} for the hash of the code.
CALLS = {"code_take": "code_take({})", "code_redeem": "code_redeem({}, 'c', 'r')"}
OPTIONS = "-c attesto_codes.take_in_transaction=refuse"
GRANT = json.dumps({"client_id": "c", "subject": "s", "redirect_uri": "r"})
POSTGRESQL_JAR = "/usr/share/java/postgresql.jar"


def autocommit(conn, call, code):
    return conn.execute(f"SELECT * FROM {call}", [code]).fetchone()


def some_columns(conn, call, code):
    return conn.execute(f"SELECT status, data FROM {call}", [code]).fetchone()


def client_side_binding(conn, call, code):
    return psycopg.ClientCursor(conn).execute(f"SELECT * FROM {call}", [code]).fetchone()


def stream(conn, call, code):
    return next(iter(list(conn.cursor().stream(f"SELECT * FROM {call}", [code]))))


def first_of_pipeline(conn, call, code):
    with conn.pipeline():
        taken = conn.execute(f"SELECT * FROM {call}", [code])
        conn.execute("SELECT 1")
    return taken.fetchone()


def transaction(conn, call, code):
    with conn.transaction():
        return autocommit(conn, call, code)


def no_autocommit(conn, call, code):
    conn.autocommit = False
    return autocommit(conn, call, code)


def later_in_pipeline(conn, call, code):
    with conn.pipeline():
        conn.execute("SELECT 1")
        taken = conn.execute(f"SELECT * FROM {call}", [code])
    return taken.fetchone()


def named_cursor(conn, call, code):
    with conn.cursor("named", withhold=True) as cursor:
        return cursor.execute(f"SELECT * FROM {call}", [code]).fetchone()


def expanded(conn, call, code):
    return conn.execute(f"SELECT ({call}).*", [code]).fetchone()


def expression(conn, call, code):
    return conn.execute(f"SELECT status, data->>'subject' FROM {call}", [code]).fetchone()


def other_encoding(conn, call, code):
    conn.execute("SET client_encoding = 'LATIN1'")
    return autocommit(conn, call, code)


def other_isolation(conn, call, code):
    conn.execute("SET default_transaction_isolation = 'repeatable read'")
    return autocommit(conn, call, code)


QUICK = [autocommit, some_columns, client_side_binding, stream, first_of_pipeline]
SLOW = [transaction, no_autocommit, later_in_pipeline, named_cursor, expanded, expression, other_encoding, other_isolation]

# Options of psql, and what it reads. CALL is the presentation.
PSQL = {
    "quick": [([], "SELECT status FROM CALL;"),
              ([], "SELECT * FROM CALL \\gset\n\\echo :status")],
    "slow": [([], "BEGIN; SELECT status FROM CALL;"),
             (["--single-transaction"], "SELECT status FROM CALL;"),
             (["-v", "AUTOCOMMIT=off"], "SELECT status FROM CALL;"),
             (["-v", "FETCH_COUNT=1"], "SELECT status FROM CALL;"),
             ([], "SELECT 'ok' WHERE false \\; SELECT status FROM CALL;")],
}

# Each prints a line for each way: whether it is quick, and its name. The code follows from the name.
NODE = """
const { Client, Pool } = require('pg')
const take = process.env.TAKE
async function way(name, work) {
  const db = new Client()
  await db.connect()
  const said = await work(db, `node ${name}`).then(() => 'quick', error => error.code === '25001' ? 'slow' : error.message)
  console.log(`${said}: ${name}`)
}
async function main() {
  await way('query', (db, code) => db.query(take, [code]))
  await way('named query', (db, code) => db.query({ name: 'take', text: take, values: [code] }))
  await way('pool.query', (db, code) => new Pool().query(take, [code]))
  await way('BEGIN', async (db, code) => { await db.query('BEGIN'); await db.query(take, [code]) })
  await way('rows', (db, code) => db.query({ text: take, values: [code], rows: 1 }))
  process.exit()
}
main()
"""
NODE_SAYS = ["quick: query", "quick: named query", "quick: pool.query", "slow: BEGIN", "slow: rows"]

JAVA = """
import java.sql.*;
class Ways {
  interface Way { void take(Connection db, String code) throws SQLException; }
  static final String CALL = System.getenv("CALL"), TAKE = "SELECT * FROM " + CALL;
  static void run(PreparedStatement statement, String code) throws SQLException {
    statement.setString(1, code);
    if (!statement.executeQuery().next()) throw new SQLException("no row");
  }
  static void way(String name, Way way) throws SQLException {
    var said = "quick";
    try (var db = DriverManager.getConnection(System.getenv("JDBC_URL"))) {
      way.take(db, "java " + name);
    } catch (SQLException error) {
      said = "25001".equals(error.getSQLState()) ? "slow" : error.getMessage();
    }
    System.out.println(said + ": " + name);
  }
  public static void main(String[] none) throws SQLException {
    way("autocommit", (db, code) -> run(db.prepareStatement(TAKE), code));
    way("call", (db, code) -> run(db.prepareCall("{call " + CALL + "}"), code));
    way("setFetchSize", (db, code) -> { var take = db.prepareStatement(TAKE); take.setFetchSize(1); run(take, code); });
    way("setAutoCommit", (db, code) -> { db.setAutoCommit(false); run(db.prepareStatement(TAKE), code); });
    way("setMaxRows", (db, code) -> { var take = db.prepareStatement(TAKE); take.setMaxRows(1); run(take, code); });
    way("setTransactionIsolation", (db, code) -> {
      db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE); run(db.prepareStatement(TAKE), code); });
  }
}
"""
JAVA_SAYS = ["quick: autocommit", "quick: call", "quick: setFetchSize", "slow: setAutoCommit", "slow: setMaxRows",
             "slow: setTransactionIsolation"]


def put(db, code):
    db.execute("SELECT code_put(%s, %s, 4102444800)", [code, GRANT])


def of_python(tap, dsn, db, name, call):
    for speed, ways in [("quick", QUICK), ("slow", SLOW)]:
        for way in ways:
            code = f"psycopg {name} {way.__name__}"
            put(db, code)
            try:
                with psycopg.connect(dsn, autocommit=True, options=OPTIONS) as conn:
                    got = "quick" if way(conn, call.format("%s"), code)[0] == "ok" else "another answer"
            except psycopg.errors.ActiveSqlTransaction:
                got = "slow"
            tap.equal(got, speed, f"psycopg: {name}, {way.__name__} is {speed}")


def of_psql(tap, dsn, db, name, call):
    for speed, ways in PSQL.items():
        for options, script in ways:
            script = script.replace("CALL", call.format(":'code'"))
            code = f"psql {options} {script}"
            put(db, code)
            said = subprocess.run(["psql", "-X", "-q", "-A", "-t", *options, "-v", "VERBOSITY=sqlstate", "-v", f"code={code}", "-f", "-", dsn],
                                  env={**os.environ, "PGOPTIONS": OPTIONS}, input=script, text=True, timeout=60, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
            got = "quick" if said == "ok\n" else "slow" if "ERROR:  25001" in said else said
            tap.equal(got, speed, f"psql: {' '.join([*options, script.splitlines()[0]])} is {speed}")


def of_program(tap, dsn, db, call, name, file, text, command, wanted):
    for line in wanted:
        put(db, f"{name} {line.split(': ')[1]}")
    words = conninfo_to_dict(dsn)
    url = "jdbc:postgresql://{host}:{port}/{dbname}?user={user}&options=".format(**words) + OPTIONS.replace(" ", "%20").replace("=", "%3D")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, file)
        path.write_text(text)
        said = subprocess.run([*command, path], env={**os.environ, "PGDATABASE": words["dbname"], "PGOPTIONS": OPTIONS, "JDBC_URL": url,
                                                          "CALL": call, "TAKE": f"SELECT * FROM {call}"},
                              text=True, timeout=120, check=False, stdout=subprocess.PIPE, stderr=sys.stderr).stdout.splitlines()
    for number, line in enumerate(wanted):
        tap.equal(said[number] if number < len(said) else None, line, f"{name}: {line}")


def main():
    tap = Tap()
    with database("ways", "CREATE EXTENSION attesto_codes") as dsn, psycopg.connect(dsn, autocommit=True) as db:
        for name, call in CALLS.items():
            of_python(tap, dsn, db, name, call)
            of_psql(tap, dsn, db, name, call)
            of_program(tap, dsn, db, call.format("$1"), "node", "ways.js", NODE, ["node"], NODE_SAYS)
            of_program(tap, dsn, db, call.format("?"), "java", "Ways.java", JAVA, ["java", "-cp", POSTGRESQL_JAR], JAVA_SAYS)
            db.execute("TRUNCATE authorizations")
    tap.done()


if __name__ == "__main__":
    main()
