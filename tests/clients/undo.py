#!/usr/bin/python3
"""Every way in which a presenter's work can be undone leaves what the presentation wrote.

Each way takes a code, sees the answer, and loses its work: a live code stays spent, a replay before
the mark stays noted, and so does a reuse after it. The same with take_in_transaction = join, which
switches the protection off, leaves nothing: it shows that this way does undo what is not protected.
"""
import os
import signal
import subprocess
import sys
import threading

import psycopg

from harness import Tap, database, until
from wire import Wire

TAKE = "SELECT * FROM code_take(%s)"


class Lost(Exception):
    """The work was lost as planned."""


def taken(cursor, code):
    status = cursor.execute(TAKE, [code]).fetchone()[0]
    assert status == answer(code), status


def answer(code):
    """What the take of a code says: its name begins with its state."""
    return {"live": "ok", "spent": "error", "redeemed": "consumed"}[code.split()[0]]


def in_transaction(dsn):
    return psycopg.connect(dsn)


def rollback(dsn, code):
    with in_transaction(dsn) as conn:
        taken(conn, code)
        conn.rollback()


def rollback_to_savepoint(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute("SAVEPOINT s")
        taken(conn, code)
        conn.execute("ROLLBACK TO s")
        conn.commit()


def isolation(level):
    def way(dsn, code):
        with in_transaction(dsn) as conn:
            conn.isolation_level = level
            conn.execute("SELECT 1")
            taken(conn, code)
            conn.rollback()
    way.__name__ = f"rollback at {level.name}"
    return way


def fails(conn, error, sql, *arguments):
    try:
        conn.execute(sql, *arguments)
    except error:
        return
    raise AssertionError(f"did not fail: {sql}")


def function_raises(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.RaiseException, "SELECT take_and_raise(%s)", [code])


def function_scanned(dsn, code):
    """The client's statement is a lone call, but of a function that takes and raises."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.RaiseException, "SELECT * FROM take_and_raise(%s)", [code])


def function_catches(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute("SELECT take_and_catch(%s)", [code]).fetchone()[0] == answer(code)


def do_block(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.RaiseException,
              f"DO $$ BEGIN PERFORM code_take('{code}'); RAISE EXCEPTION 'x'; END $$")


def one_message(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              f"SELECT * FROM code_take('{code}'); SELECT 1/0")


def pipeline(dsn, code):
    """The take is not the first statement of the pipeline: it cannot commit by itself."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        try:
            with conn.pipeline():
                conn.execute("SELECT 1")
                take = conn.execute(TAKE, [code])
                conn.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            assert take.fetchone()[0] == answer(code)
            return
        raise AssertionError("the pipeline did not fail")


def pipeline_first(dsn, code):
    """The take is the first statement of the pipeline: it commits at once."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute(f"SELECT * FROM code_take('{code}')")
        wire.parse_bind_execute("SELECT 1/0")
        wire.sync()
        assert wire.until_ready() == [answer(code), "22012"]


def flushed_before_sync(dsn, code):
    """The client reads the entry before the pipeline ends, and then makes it fail."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute("SELECT 'first'")
        wire.parse_bind_execute(f"SELECT * FROM code_take('{code}')")
        wire.flush()
        assert wire.rows(2) == ["first", answer(code)]
        wire.parse_bind_execute("SELECT 1/0")
        wire.sync()
        assert wire.until_ready() == ["22012"]


def limited_portal(dsn, code):
    """A portal that is never run to its end."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute(f"SELECT * FROM code_take('{code}')", limit=1)
        wire.flush()
        assert wire.rows(1) == [answer(code)]
        wire.parse_bind_execute("SELECT 1/0")
        wire.sync()
        assert wire.until_ready() == ["22012"]


def unread(dsn, code):
    """Nothing of the entry is sent before the commit: a client that does not read what it asked for,
    which is more than the server and the network can hold, keeps nothing from being committed."""
    # A number of 17 bytes in a jsonb, and of 131 kB in its text.
    numbers = ", ".join(["1e131071"] * 150)
    with Wire(dsn, "-c client_min_messages=debug5") as wire, psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT code_put(%s, %s, 1800000000)", [code, f'{GRANT[:-1]}, "x": [{numbers}]}}'])
        wire.send(b"Q", f"SELECT * FROM code_take('{code}')".encode() + b"\0")
        until(lambda: trace(dsn, code))
        assert second_take(dsn, code) == "error"
        assert other.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s", [f"%{code}%"]).fetchone()[0]
    return True


def prepared_transaction(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO tokens VALUES (1)")
        taken(conn, code)
        conn.execute(f"PREPARE TRANSACTION '{code}'")
        conn.execute(f"ROLLBACK PREPARED '{code}'")


def deferred_constraint(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO tokens VALUES (2), (2)")
        taken(conn, code)
        fails(conn, psycopg.errors.UniqueViolation, "COMMIT")


def client_killed(dsn, code):
    child = subprocess.Popen([sys.executable, __file__, "--take-and-wait", dsn, code],
                             stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "taken\n"
        child.kill()
    gone(dsn)


def gone(dsn):
    """Waits until no other session is in a transaction."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        until(lambda: conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            " AND datname = current_database()").fetchone()[0] == 0)


def take_and_wait(dsn, code):
    with in_transaction(dsn) as conn:
        taken(conn, code)
        print("taken", flush=True)
        signal.pause()


def terminated(dsn, code):
    with in_transaction(dsn) as conn, psycopg.connect(dsn, autocommit=True) as other:
        taken(conn, code)
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
        fails(conn, psycopg.OperationalError, "SELECT 1")


def statement_timeout(dsn, code):
    """The take and the wait that is cut off are one statement."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET statement_timeout = '200ms'")
        fails(conn, psycopg.errors.QueryCanceled,
              "SELECT status, pg_sleep(60) FROM code_take(%s)", [code])


def cancelled(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn, \
            psycopg.connect(dsn, autocommit=True) as other:
        def cancel():
            until(lambda: other.execute(
                "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s",
                [conn.info.backend_pid]).fetchone()[0])
            conn.cancel()
        thread = threading.Thread(target=cancel)
        thread.start()
        fails(conn, psycopg.errors.QueryCanceled,
              "SELECT status, pg_sleep(60) FROM code_take(%s)", [code])
        thread.join()


def larger_select(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              "SELECT 1 / (length(status) - %s) FROM code_take(%s)", [len(answer(code)), code])


def cte(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              "WITH t AS MATERIALIZED (SELECT * FROM code_take(%s))"
              " SELECT status, 1 / (g - 1) FROM t, generate_series(0, 1) g", [code])


def target_list(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              "SELECT code_take(%s), 1 / (g - 1) FROM generate_series(0, 1) g", [code])


def insert_select(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.CheckViolation,
              "INSERT INTO refused SELECT status FROM code_take(%s)", [code])


def cursor(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM code_take('{code}')")
        assert conn.execute("FETCH 1 FROM c").fetchone()[0] == answer(code)
        conn.rollback()


def sql_prepared(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute("PREPARE p(text) AS SELECT * FROM code_take($1)")
        assert conn.execute(f"EXECUTE p('{code}')").fetchone()[0] == answer(code)
        conn.rollback()


def untranslatable(dsn, code):
    """The answer does not fit the client's encoding: the statement fails after the take."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET client_encoding = 'LATIN1'")
        fails(conn, psycopg.errors.UntranslatableCharacter, TAKE, [code])


def backend_killed(dsn, code):
    """The server restarts, and the transaction is gone."""
    before = last_checkpoint(dsn)
    conn = in_transaction(dsn)
    taken(conn, code)
    os.kill(conn.info.backend_pid, signal.SIGKILL)
    until(lambda: last_checkpoint(dsn) not in (None, before), 60)


def last_checkpoint(dsn):
    """Recovery from a crash ends with one. None: the server takes no connections."""
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            return conn.execute("SELECT checkpoint_lsn FROM pg_control_checkpoint()").fetchone()[0]
    except psycopg.OperationalError:
        return None


LEVELS = psycopg.IsolationLevel
WAYS = [rollback, rollback_to_savepoint, isolation(LEVELS.REPEATABLE_READ),
        isolation(LEVELS.SERIALIZABLE), function_raises, function_scanned, function_catches, do_block, one_message,
        pipeline, flushed_before_sync, limited_portal, prepared_transaction, deferred_constraint,
        client_killed, terminated, statement_timeout, cancelled, larger_select, cte, target_list,
        insert_select, cursor, sql_prepared, untranslatable, backend_killed]

SETUP = """
CREATE EXTENSION attesto_codes;
CREATE TABLE tokens (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE refused (status text CHECK (status NOT IN ('ok', 'error', 'consumed')));
CREATE FUNCTION take_and_raise(code text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN PERFORM code_take(code); RAISE EXCEPTION 'after the take'; END $$;
CREATE FUNCTION take_and_catch(code text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  BEGIN
    SELECT status INTO answer FROM code_take(code);
    RAISE EXCEPTION 'after the take';
  EXCEPTION WHEN raise_exception THEN
    RETURN answer;
  END;
END $$;
"""
# A character that LATIN1 does not have.
GRANT = '{"client_id": "c", "subject": "\u20ac", "redirect_uri": "r"}'


def put(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT code_put(%s, %s, 1800000000)", [code, GRANT])
        if not code.startswith("live"):
            conn.execute(TAKE, [code])
        if code.startswith("redeemed"):
            conn.execute("SELECT code_mark_consumed(%s)", [code])


def trace(dsn, code):
    """Whether what the presentation wrote is there."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute("SELECT CASE answer WHEN 'ok' THEN consumed_at WHEN 'error' THEN replayed_at"
                            " ELSE reused_at END IS NOT NULL FROM authorizations, (VALUES (%s)) AS v(answer)"
                            " WHERE code_hash = %s", [answer(code), code]).fetchone()[0]


def second_take(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(TAKE, [code]).fetchone()[0]


def undone(tap, dsn, state, way):
    """A code in this state, with the protection on and off."""
    for mode in ["independent", "join"]:
        # PostgreSQL cannot prepare a transaction that has notified.
        if (state, mode, way) == ("redeemed", "join", prepared_transaction):
            continue
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {conn.info.dbname} SET attesto_codes.take_in_transaction = '{mode}'")
        code = f"{state} {mode} {way.__name__}"
        put(dsn, code)
        way(dsn, code)
        tap.equal(trace(dsn, code), mode == "independent", f"{state}, {mode}: {way.__doc__ or way.__name__}")
        if state == "live":
            tap.equal(second_take(dsn, code), "error" if mode == "independent" else "ok", "and the next take says so")


def main():
    tap = Tap()
    with database("undo", SETUP) as dsn:
        for state in ["live", "spent", "redeemed"]:
            for way in WAYS:
                # The answer to a replay before the mark has nothing to translate.
                if (state, way) != ("spent", untranslatable):
                    undone(tap, dsn, state, way)
        tap.ok(unread(dsn, "live unread"), unread.__doc__)
        for state in ["live", "spent", "redeemed"]:
            code = f"{state} first"
            put(dsn, code)
            pipeline_first(dsn, code)
            tap.ok(trace(dsn, code), f"{state}: {pipeline_first.__doc__}")
    tap.done()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--take-and-wait"]:
        take_and_wait(*sys.argv[2:])
    else:
        main()
