#!/usr/bin/python3
"""Every way in which a presenter's work can be undone leaves what the presentation wrote.

Each way presents a code, by code_take or by code_redeem, sees the answer, and loses its work. A live
code stays spent, marked or closed. A replay or reuse stays noted, and the names stay revoked that it
revoked. The same with take_in_transaction = join, which switches the protection off, leaves nothing:
it shows that this way does undo what is not protected.
"""
import os
import signal
import subprocess
import sys
import threading

import psycopg

from harness import Tap, database, until
from wire import Wire

TAKE, REDEEM = "code_take({})", "code_redeem({}, 'c', 'r')"
# Some ways present a code twice, which revokes its names: each code has a family of its own.
MARKS = "code_redeem({}, 'c', 'r', NULL, NULL, jsonb_build_object('family_id', gen_random_uuid()))"
MARK = "code_mark_consumed({}, jsonb_build_object('family_id', 'of the mark'))"
REVOKED = """NOT EXISTS (SELECT FROM unnest(ARRAY[code_hash, family_id, consumed_meta->>'family_id']) name
  WHERE name IS NOT NULL AND NOT code_family_revoked(name))"""

# What is done to a code that was put, the presentation, its answer, and what it wrote.
KINDS = {
    "take of a live code": ([], TAKE, "ok", "consumed_at IS NOT NULL"),
    "take of a spent code": ([TAKE], TAKE, "error", "replayed_at > consumed_at"),
    "take of a redeemed code": ([TAKE, MARK], TAKE, "consumed", "reused_at IS NOT NULL"),
    "redeem of a live code": ([], REDEEM, "ok", "consumed_at IS NOT NULL"),
    "redeem with meta of a live code": ([], MARKS, "ok", "consumed_success AND consumed_meta ? 'family_id'"),
    "redeem of a live code that fails a check": ([], "code_redeem({}, 'd', 'r')", "error", "consumed_at = replayed_at"),
    "redeem of a spent code": ([REDEEM], REDEEM, "error", f"replayed_at > consumed_at AND {REVOKED}"),
    "redeem of a redeemed code": ([REDEEM, MARK], REDEEM, "consumed", f"reused_at IS NOT NULL AND {REVOKED}"),
    "redeem after a replay by take": ([TAKE, TAKE], REDEEM, "error", REVOKED),
    "redeem after a reuse by take": ([TAKE, MARK, TAKE], REDEEM, "consumed", REVOKED),
}


def kind(code):
    """The name of a code begins with what is done to it."""
    return KINDS[code.split(",")[0]]


def call(code, argument=None):
    return kind(code)[1].format(argument or f"'{code}'")


def answer(code):
    return kind(code)[2]


def presented(conn, code):
    status = conn.execute(f"SELECT * FROM {call(code, '%s')}", [code]).fetchone()[0]
    assert status == answer(code), status


def in_transaction(dsn):
    return psycopg.connect(dsn)


def rollback(dsn, code):
    with in_transaction(dsn) as conn:
        presented(conn, code)
        conn.rollback()


def rollback_to_savepoint(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute("SAVEPOINT s")
        presented(conn, code)
        conn.execute("ROLLBACK TO s")
        conn.commit()


def isolation(level):
    def way(dsn, code):
        with in_transaction(dsn) as conn:
            conn.isolation_level = level
            conn.execute("SELECT 1")
            presented(conn, code)
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
        fails(conn, psycopg.errors.RaiseException, "SELECT present_and_raise(%s)", [call(code)])


def function_scanned(dsn, code):
    """The client's statement is a lone call, but of a function that presents and raises."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.RaiseException, "SELECT * FROM present_and_raise(%s)", [call(code)])


def function_catches(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute("SELECT present_and_catch(%s)", [call(code)]).fetchone()[0] == answer(code)


def do_block(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.RaiseException,
              f"DO $$ BEGIN PERFORM {call(code)}; RAISE EXCEPTION 'x'; END $$")


def one_message(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              f"SELECT * FROM {call(code)}; SELECT 1/0")


def pipeline(dsn, code):
    """The take is not the first statement of the pipeline: it cannot commit by itself."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        try:
            with conn.pipeline():
                conn.execute("SELECT 1")
                given = conn.execute(f"SELECT * FROM {call(code, '%s')}", [code])
                conn.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            assert given.fetchone()[0] == answer(code)
            return
        raise AssertionError("the pipeline did not fail")


def pipeline_first(dsn, code):
    """The take is the first statement of the pipeline: it commits at once."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute(f"SELECT * FROM {call(code)}")
        wire.parse_bind_execute("SELECT 1/0")
        wire.sync()
        assert wire.until_ready() == [answer(code), "22012"]


def flushed_before_sync(dsn, code):
    """The client reads the entry before the pipeline ends, and then makes it fail."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute("SELECT 'first'")
        wire.parse_bind_execute(f"SELECT * FROM {call(code)}")
        wire.flush()
        assert wire.rows(2) == ["first", answer(code)]
        wire.parse_bind_execute("SELECT 1/0")
        wire.sync()
        assert wire.until_ready() == ["22012"]


def limited_portal(dsn, code):
    """A portal that is never run to its end."""
    with Wire(dsn) as wire:
        wire.parse_bind_execute(f"SELECT * FROM {call(code)}", limit=1)
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
        put(dsn, code, f'{GRANT[:-1]}, "x": [{numbers}]}}')
        wire.send(b"Q", f"SELECT * FROM {call(code)}".encode() + b"\0")
        until(lambda: trace(dsn, code))
        assert later_take(dsn, code) != "ok"
        assert other.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s", [f"%{code}%"]).fetchone()[0]
    return True


def prepared_transaction(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO tokens VALUES (1)")
        presented(conn, code)
        conn.execute(f"PREPARE TRANSACTION '{code}'")
        conn.execute(f"ROLLBACK PREPARED '{code}'")


def deferred_constraint(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO tokens VALUES (2), (2)")
        presented(conn, code)
        fails(conn, psycopg.errors.UniqueViolation, "COMMIT")


def client_killed(dsn, code):
    child = subprocess.Popen([sys.executable, __file__, "--present-and-wait", dsn, code],
                             stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "presented\n"
        child.kill()
    gone(dsn)


def gone(dsn):
    """Waits until no other session is in a transaction."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        until(lambda: conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            " AND datname = current_database()").fetchone()[0] == 0)


def present_and_wait(dsn, code):
    with in_transaction(dsn) as conn:
        presented(conn, code)
        print("presented", flush=True)
        signal.pause()


def terminated(dsn, code):
    with in_transaction(dsn) as conn, psycopg.connect(dsn, autocommit=True) as other:
        presented(conn, code)
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
        fails(conn, psycopg.OperationalError, "SELECT 1")


def statement_timeout(dsn, code):
    """The take and the wait that is cut off are one statement."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET statement_timeout = '200ms'")
        fails(conn, psycopg.errors.QueryCanceled,
              f"SELECT status, pg_sleep(60) FROM {call(code)}")


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
              f"SELECT status, pg_sleep(60) FROM {call(code)}")
        thread.join()


def larger_select(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              f"SELECT 1 / (length(status) - {len(answer(code))}) FROM {call(code)}")


def cte(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              f"WITH t AS MATERIALIZED (SELECT * FROM {call(code)})"
              " SELECT status, 1 / (g - 1) FROM t, generate_series(0, 1) g")


def target_list(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.DivisionByZero,
              f"SELECT {call(code)}, 1 / (g - 1) FROM generate_series(0, 1) g")


def insert_select(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        fails(conn, psycopg.errors.CheckViolation,
              f"INSERT INTO refused SELECT status FROM {call(code)}")


def cursor(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {call(code)}")
        assert conn.execute("FETCH 1 FROM c").fetchone()[0] == answer(code)
        conn.rollback()


def sql_prepared(dsn, code):
    with in_transaction(dsn) as conn:
        conn.execute(f"PREPARE p(text) AS SELECT * FROM {call(code, '$1')}")
        assert conn.execute(f"EXECUTE p('{code}')").fetchone()[0] == answer(code)
        conn.rollback()


def untranslatable(dsn, code):
    """The answer does not fit the client's encoding: the statement fails after the take."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET client_encoding = 'LATIN1'")
        fails(conn, psycopg.errors.UntranslatableCharacter, f"SELECT * FROM {call(code, '%s')}", [code])


def backend_killed(dsn, code):
    """The server restarts, and the transaction is gone."""
    before = last_checkpoint(dsn)
    conn = in_transaction(dsn)
    presented(conn, code)
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
CREATE FUNCTION present_and_raise(call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'SELECT FROM ' || call; RAISE EXCEPTION 'after the presentation'; END $$;
CREATE FUNCTION present_and_catch(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  BEGIN
    EXECUTE 'SELECT status FROM ' || call INTO answer;
    RAISE EXCEPTION 'after the presentation';
  EXCEPTION WHEN raise_exception THEN
    RETURN answer;
  END;
END $$;
"""
# A character that LATIN1 does not have.
GRANT = '{"client_id": "c", "subject": "\u20ac", "redirect_uri": "r", "family_id": "of %s"}'


def put(dsn, code, grant=GRANT):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT code_put(%s, %s, 4102444800)", [code, grant % code])
        for before in kind(code)[0]:
            conn.execute(f"SELECT * FROM {before}".format(f"'{code}'"))


def trace(dsn, code):
    """Whether what the presentation wrote is there."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(f"SELECT ({kind(code)[3]}) IS TRUE FROM authorizations WHERE code_hash = '{code}'").fetchone()[0]


def later_take(dsn, code):
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute("SELECT status FROM code_take(%s)", [code]).fetchone()[0]


def undone(tap, dsn, name, way, modes):
    """A presentation with the protection on and off."""
    before, _, status, written = KINDS[name]
    for mode in modes:
        # PostgreSQL cannot prepare a transaction that has notified.
        if (mode, way) == ("join", prepared_transaction) and "reused_at" in written:
            continue
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {conn.info.dbname} SET attesto_codes.take_in_transaction = '{mode}'")
        code = f"{name}, {mode}, {way.__name__}"
        put(dsn, code)
        way(dsn, code)
        tap.equal(trace(dsn, code), mode == "independent", f"{name}, {mode}: {way.__doc__ or way.__name__}")
        if not before:
            later = "ok" if mode == "join" else "consumed" if call(code) == MARKS.format(f"'{code}'") else "error"
            tap.equal(later_take(dsn, code), later, "and a later take says so")


def all_ways(tap, dsn, modes):
    for name, (_, _, status, _) in KINDS.items():
        for way in WAYS:
            # The answer error has nothing to translate.
            if (status, way) != ("error", untranslatable):
                undone(tap, dsn, name, way, modes)
        code = f"{name}, first"
        put(dsn, code)
        pipeline_first(dsn, code)
        tap.ok(trace(dsn, code), f"{name}: {pipeline_first.__doc__}")
        if status == "ok":
            unread(dsn, f"{name}, unread")
            tap.ok(True, f"{name}: {unread.__doc__}")


def main():
    tap = Tap()
    with database("undo", SETUP) as dsn:
        all_ways(tap, dsn, ["independent", "join"])
    tap.done()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--present-and-wait"]:
        present_and_wait(*sys.argv[2:])
    else:
        main()
