#!/usr/bin/python3
"""pgbouncer between the client and the server, in transaction and in statement mode: a code is redeemed once, whatever is undone,
cancelled or killed on the way."""
import contextlib
import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg

from harness import Tap, until
from pgbouncer import ROLE, connect, pooled_database, pooler, role_has

MODES = ["transaction", "statement"]
CALLS = {"code_take": "SELECT status FROM code_take(%s)", "code_redeem": "SELECT status FROM code_redeem(%s, 'c', 'r')"}
RACERS, ROUNDS, POOL = 20, 20, 5
GRANT = {"client_id": "c", "subject": "s", "redirect_uri": "r"}
SETUP = f"""
CREATE TABLE tokens (jti text PRIMARY KEY);
GRANT INSERT, SELECT ON tokens TO {ROLE};
-- A commit that stores tokens waits here for who holds the lock.
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON tokens DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
"""
COMPLETE = "SELECT code_complete(%s, %s, 4102444800)"
# The tokens and the completion in one statement, for where there are no transactions.
COMPLETE_AND_STORE = "INSERT INTO tokens SELECT %(jti)s FROM code_complete(%(code)s, %(jti)s, 4102444800) ON CONFLICT DO NOTHING"


def put(db, code, **members):
    db.execute("SELECT code_put(%s, %s, 4102444800)", [code, json.dumps(GRANT | members)])


def state(db, code):
    return db.execute("SELECT status FROM code_inspect(%s)", [code]).fetchone()[0]


def present(conn, call, code):
    """Its answer, or the SQLSTATE of its error."""
    try:
        return conn.execute(CALLS[call], [code]).fetchone()[0]
    except psycopg.Error as error:
        return failure(error)


def failure(error):
    return error.sqlstate or type(error).__name__


def lost(answer):
    """Whether the client was left without an answer: by libpq, by the pooler, or by the server."""
    return answer in ("OperationalError", "08P01", "57P01")


@contextlib.contextmanager
def row_held(dsn, code):
    """The row is locked: a presentation waits for the end of this."""
    with psycopg.connect(dsn) as holder:
        holder.execute("SELECT FROM authorizations WHERE code_hash = %s FOR UPDATE", [code])
        yield
        holder.rollback()


def waiting(db):
    """The server process of the pooler that waits for a lock."""
    found = db.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
                       " AND wait_event_type = 'Lock'", [ROLE]).fetchone()
    return found and found[0]


def terminate(db, pid):
    assert db.execute("SELECT pg_terminate_backend(%s, 30000)", [pid]).fetchone()[0]


def race(tap, dsn, db, mode, call):
    """More clients than connections to the server."""
    with pooler(dsn, mode, size=POOL) as pgbouncer, contextlib.ExitStack() as stack:
        conns = [stack.enter_context(connect(pgbouncer.dsn)) for _ in range(RACERS)]
        threads = stack.enter_context(ThreadPoolExecutor(RACERS))
        seen = Counter()
        for number in range(ROUNDS):
            code, barrier = f"race {mode} {call} {number}", threading.Barrier(RACERS, timeout=60)
            put(db, code)

            def run(conn):
                barrier.wait()
                return present(conn, call, code)

            seen[tuple(sorted(Counter(threads.map(run, conns)).items()))] += 1
        tap.equal(dict(seen), {(("error", RACERS - 1), ("ok", 1)): ROUNDS},
                  f"{mode}: {RACERS} presentations of one code by {call}, {ROUNDS} times: one ok, the others error")
        servers = db.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s",
                             [ROLE]).fetchone()[0]
        tap.ok(1 < servers <= POOL, f"{mode}: they shared {POOL} connections")


def is_quick(tap, dsn, db, mode, call):
    """With this setting a presentation that needs a worker raises 25001."""
    with role_has(db, "attesto_codes.take_in_transaction", "refuse"), pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
        put(db, f"quick {mode} {call}")
        tap.equal(present(conn, call, f"quick {mode} {call}"), "ok", f"{mode}: {call} is quick")


def rolled_back(conn, call, code):
    conn.execute("BEGIN")
    answer = present(conn, call, code)
    conn.execute("ROLLBACK")
    return answer


def fails_later(conn, call, code):
    """Several statements in one message are one transaction, also in statement mode."""
    try:
        psycopg.ClientCursor(conn).execute(f"{CALLS[call]}; SELECT 1/0", [code])
    except psycopg.errors.DivisionByZero:
        return "ok"
    return "no error"


def undone(tap, dsn, db, mode, call):
    """What a client undoes stays spent. With the protection off it is live again: the pooler does pass the ROLLBACK on."""
    for protection, after in [("independent", "spent"), ("join", "live")]:
        with role_has(db, "attesto_codes.take_in_transaction", protection), pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
            for way in [fails_later] + [rolled_back] * (mode == "transaction"):
                code = f"{mode} {call} {protection} {way.__name__}"
                put(db, code)
                tap.equal((way(conn, call, code), state(db, code)), ("ok", after),
                          f"{mode}: {call}, {protection}, {way.__name__}: {after}")


def no_transactions(tap, dsn, db):
    """In statement mode pgbouncer refuses BEGIN, which psycopg sends unless it is in autocommit."""
    put(db, "no transactions")
    with pooler(dsn, "statement") as pgbouncer:
        for autocommit, sql in [(True, "BEGIN"), (False, CALLS["code_take"])]:
            with connect(pgbouncer.dsn) as conn:
                conn.autocommit = autocommit
                try:
                    conn.execute(sql, ["no transactions"] * (not autocommit))
                    said = "no error"
                except psycopg.Error as error:
                    said = str(error)
                tap.ok("transaction blocks not allowed" in said, f"statement: {sql} is refused, autocommit {autocommit}")
                tap.ok(conn.closed, "and the client's connection is closed")
    tap.equal(state(db, "no transactions"), "live", "and the code is live")


def complete(conn, mode, code, jti):
    """Stores the token and completes; gives the SQLSTATE where that fails."""
    try:
        if mode == "statement":
            conn.execute(COMPLETE_AND_STORE, {"code": code, "jti": jti})
        else:
            with conn.transaction():
                conn.execute("INSERT INTO tokens VALUES (%s) ON CONFLICT DO NOTHING", [jti])
                conn.execute(COMPLETE, [code, jti])
        return "ok"
    except psycopg.Error as error:
        return failure(error)


def stored(db, jti):
    return db.execute("SELECT count(*) FROM tokens WHERE jti = %s", [jti]).fetchone()[0]


def whole(tap, dsn, db, mode):
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn, connect(pgbouncer.dsn) as thief:
        def issued():
            return conn.execute("SELECT code_hash(code_issue(%s))", [json.dumps(GRANT)]).fetchone()[0]

        code, jti = issued(), f"token of {mode}"
        answers = [present(conn, "code_redeem", code), complete(conn, mode, code, jti), present(thief, "code_redeem", code)]
        tap.equal((answers, stored(db, jti)), (["ok", "ok", "consumed"], 1), f"{mode}: issued, redeemed, completed, and used again")
        tap.ok(db.execute("SELECT code_access_token_revoked(%s)", [jti]).fetchone()[0],
               f"{mode}: which revokes the token, without a listener")
        code, jti = issued(), f"refused token of {mode}"
        answers = [present(conn, "code_redeem", code), present(thief, "code_redeem", code), complete(conn, mode, code, jti)]
        tap.equal((answers, stored(db, jti)), (["ok", "error", "55000"], 0), f"{mode}: a replay before the completion: no token is stored")
        tap.equal(conn.execute("SELECT 1").fetchone(), (1,), f"{mode}: and the connection goes on")


def cancelled(tap, dsn, db, mode, call):
    code = f"cancelled {mode} {call}"
    put(db, code)
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn, ThreadPoolExecutor(1) as threads:
        with row_held(dsn, code):
            answer = threads.submit(present, conn, call, code)
            until(lambda: waiting(db))
            conn.cancel()
            tap.equal(answer.result(60), "57014", f"{mode}: {call} that waits is cancelled")
        tap.equal((present(conn, call, code), present(conn, call, code)), ("ok", "error"), f"{mode}: and after it one presentation wins")


@contextlib.contextmanager
def queue(dsn, db, mode, **settings):
    """A pool of one connection, which a presentation holds until it is released: the next statement waits in the pooler."""
    code = f"holds the pool {mode} {uuid.uuid4()}"
    put(db, code)
    with pooler(dsn, mode, size=1, **settings) as pgbouncer, connect(pgbouncer.dsn) as first, \
            ThreadPoolExecutor(2) as threads, contextlib.ExitStack() as lock:
        lock.enter_context(row_held(dsn, code))
        answer = threads.submit(present, first, "code_take", code)
        until(lambda: waiting(db))
        yield pgbouncer, threads, lock.close
        assert answer.result(60) == "ok"


def queued(pgbouncer):
    return sum(int(pool["cl_waiting"]) for pool in pgbouncer.command("SHOW POOLS"))


def cancelled_in_the_queue(tap, dsn, db, mode):
    """The cancel of a statement that the server has not got yet is lost: the statement has its turn."""
    code = f"cancelled in the queue {mode}"
    put(db, code)
    with queue(dsn, db, mode) as (pgbouncer, threads, release), connect(pgbouncer.dsn) as conn:
        answer = threads.submit(present, conn, "code_take", code)
        until(lambda: queued(pgbouncer))
        conn.cancel()
        release()
        tap.equal((answer.result(60), state(db, code)), ("ok", "spent"),
                  f"{mode}: a presentation in the pooler's queue is not cancelled")


def times_out_in_the_queue(tap, dsn, db, mode):
    code = f"timed out {mode}"
    put(db, code)
    with queue(dsn, db, mode, query_wait_timeout=1) as (pgbouncer, _, release), connect(pgbouncer.dsn) as conn:
        answer = present(conn, "code_take", code)
        release()
        tap.ok(lost(answer), f"{mode}: query_wait_timeout ends a presentation in the pooler's queue: {answer}")
    tap.equal(state(db, code), "live", f"{mode}: and its code is live")


def pooler_killed(tap, dsn, db, mode, call):
    """Between the spend and its answer."""
    code = f"killed {mode} {call}"
    put(db, code)
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn, ThreadPoolExecutor(1) as threads:
        with row_held(dsn, code):
            answer = threads.submit(present, conn, call, code)
            until(lambda: waiting(db))
            pgbouncer.pause()
        until(lambda: state(db, code) == "spent")
        pgbouncer.kill()
        tap.ok(lost(answer.result(60)), f"{mode}: {call}, the pooler is killed between spend and answer: the client gets no entry")
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
        tap.equal(present(conn, call, code), "error", f"{mode}: {call}, nor does its second try")


def pooler_killed_in_a_transaction(tap, dsn, db, mode, call):
    if mode == "statement":
        return
    code = f"killed in a transaction {call}"
    put(db, code)
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
        conn.execute("BEGIN")
        answer, server = present(conn, call, code), conn.execute("SELECT pg_backend_pid()").fetchone()[0]
        pgbouncer.kill()
        conn.close()
        until(lambda: not db.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [server]).fetchall())
        tap.equal((answer, state(db, code)), ("ok", "spent"), f"{mode}: {call}, the pooler is killed in the transaction: spent")


def pooler_killed_with_grace(tap, dsn, db, mode):
    """The second try of who lost his answer is a replay, and revokes, unless it is within the grace."""
    verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    for grace, revoked in [(0, True), (60, False)]:
        code = f"grace {mode} {grace}"
        put(db, code, code_challenge=challenge)
        with role_has(db, "attesto_codes.replay_grace", grace), pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
            for _ in range(2):
                conn.execute("SELECT status FROM code_redeem(%s, 'c', 'r', %s)", [code, verifier])
        tap.equal(db.execute("SELECT code_family_revoked(%s)", [code]).fetchone()[0], revoked,
                  f"{mode}: a second try with replay_grace = {grace} {'revokes' if revoked else 'revokes nothing'}")


def commit_lost(tap, dsn, db, mode):
    """The pooler is killed between the commit of the completion and its answer. The same again is ok."""
    code, jti = f"commit {mode}", f"token of commit {mode}"
    put(db, code)
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn, ThreadPoolExecutor(1) as threads:
        assert present(conn, "code_redeem", code) == "ok"
        db.execute("SELECT pg_advisory_lock(1)")
        answer = threads.submit(complete, conn, mode, code, jti)
        until(lambda: waiting(db))
        pgbouncer.pause()
        db.execute("SELECT pg_advisory_unlock(1)")
        until(lambda: stored(db, jti))
        pgbouncer.kill()
        tap.ok(lost(answer.result(60)), f"{mode}: the pooler is killed between the completion's commit and its answer")
    with pooler(dsn, mode) as pgbouncer, connect(pgbouncer.dsn) as conn:
        tap.equal((complete(conn, mode, code, jti), stored(db, jti), state(db, code)), ("ok", 1, "redeemed"),
                  f"{mode}: the same completion again is ok, and the token is stored once")


def server_killed(tap, dsn, db, mode, call):
    with pooler(dsn, mode) as pgbouncer:
        code = f"waiting, server killed {mode} {call}"
        put(db, code)
        with connect(pgbouncer.dsn) as conn, ThreadPoolExecutor(1) as threads, row_held(dsn, code):
            answer = threads.submit(present, conn, call, code)
            until(lambda: waiting(db))
            terminate(db, waiting(db))
            tap.ok(lost(answer.result(60)), f"{mode}: {call} that waits loses its connection to the server")
        with connect(pgbouncer.dsn) as conn:
            tap.equal((present(conn, call, code), present(conn, call, code)), ("ok", "error"), f"{mode}: and after it one presentation wins")
        if mode == "transaction":
            code = f"server killed {call}"
            put(db, code)
            with connect(pgbouncer.dsn) as conn:
                conn.execute("BEGIN")
                tap.equal(present(conn, call, code), "ok", f"{mode}: {call} in a transaction")
                terminate(db, conn.execute("SELECT pg_backend_pid()").fetchone()[0])
                tap.ok(lost(present(conn, call, code)), f"{mode}: which loses its connection to the server")
            with connect(pgbouncer.dsn) as conn:
                tap.equal(present(conn, call, code), "error", f"{mode}: and the code stays spent")


def main():
    tap = Tap()
    with pooled_database("poolers", SETUP) as (dsn, db):
        for mode in MODES:
            for call in CALLS:
                for test in [race, is_quick, undone, cancelled, pooler_killed, pooler_killed_in_a_transaction, server_killed]:
                    test(tap, dsn, db, mode, call)
            for test in [whole, cancelled_in_the_queue, times_out_in_the_queue, pooler_killed_with_grace, commit_lost]:
                test(tap, dsn, db, mode)
        no_transactions(tap, dsn, db)
    tap.done()


if __name__ == "__main__":
    main()
