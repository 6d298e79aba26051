#!/usr/bin/python3
"""Many connections at one code at the same instant: one winner, and an answer for everybody else."""
import contextlib
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg

from harness import Tap, database, until

RACERS = 64
ROUNDS = 200
TRANSACTIONS = 16
TAKE = "SELECT * FROM code_take(%s)"
MARK = "SELECT code_mark_consumed(%s)"
PUT = "SELECT code_put(%s, %s, 1800000000)"
GRANT = json.dumps({"client_id": "c", "subject": "alice", "redirect_uri": "r"})
LEVELS = psycopg.IsolationLevel


class Racers:
    """Connections with a thread each, which all set off at one barrier."""

    def __init__(self, dsn, stack):
        # A racer that waits for another's transaction would wait forever: it fails instead.
        self.conns = [stack.enter_context(psycopg.connect(dsn, autocommit=True,
                                                          options="-c statement_timeout=20s"))
                      for _ in range(RACERS)]
        self.threads = stack.enter_context(ThreadPoolExecutor(RACERS))

    def race(self, works):
        """Each work, given a connection, starts when all are ready; gives results and exceptions."""
        barrier = threading.Barrier(len(works), timeout=60)

        def run(conn, work):
            barrier.wait()
            try:
                return work(conn)
            except psycopg.Error as error:
                return error

        return list(self.threads.map(run, self.conns, works))


def status(sql, code):
    return lambda conn: conn.execute(sql, [code]).fetchone()[0]


def tally(answers):
    """How often each answer came; an exception counts as its SQLSTATE."""
    return Counter(getattr(answer, "sqlstate", answer) for answer in answers)


def rounds(count, race):
    """The different tallies that `race(round)` gave."""
    seen = Counter()
    for number in range(count):
        seen[tuple(sorted(tally(race(number)).items()))] += 1
    return dict(seen)


def always(count, **answers):
    return {tuple(sorted(answers.items())): count}


def take_live(tap, racers, setup):
    def race(number):
        code = f"take-{number}"
        setup.execute(PUT, [code, GRANT])
        return racers.race([status(TAKE, code)] * RACERS)

    tap.equal(rounds(ROUNDS, race), always(ROUNDS, ok=1, error=RACERS - 1),
              f"{RACERS} takes of a live code, {ROUNDS} times: one ok, the others error")


def take_redeemed(tap, racers, setup):
    for sql in [TAKE, MARK]:
        setup.execute(sql, ["take-0"])
    tap.equal(rounds(20, lambda _: racers.race([status(TAKE, "take-0")] * RACERS)),
              always(20, consumed=RACERS),
              f"{RACERS} takes of a redeemed code, 20 times: all consumed")


def put_one_hash(tap, racers, setup):
    errors = []

    def race(number):
        code = f"put-{number}"

        def put(conn):
            conn.execute(PUT, [code, GRANT])
            return "stored"

        answers = racers.race([put] * 16)
        errors.extend((code, a.diag) for a in answers if isinstance(a, psycopg.Error))
        return answers

    tap.equal(rounds(50, race), always(50, **{"stored": 1, "23505": 15}),
              "16 puts of one hash, 50 times: one stored, the others 23505")
    said = [(code, str(text)) for code, diag in errors
            for text in [diag.message_primary, diag.message_detail, diag.message_hint, diag.context]]
    tap.ok(said and not any(code in text for code, text in said), "no error says the hash")


def take_and_mark(tap, racers, setup):
    """A mark races one replay of its code, or many."""
    notices = []
    setup.add_notify_handler(lambda notice: notices.append(notice.payload))
    setup.execute("LISTEN attesto_codes_reuse")
    unexpected = Counter()
    answers = Counter()
    for number in range(ROUNDS):
        code = f"mark-{number}"
        setup.execute(PUT, [code, GRANT])
        setup.execute(TAKE, [code])
        marked, *taken = racers.race([status(MARK, code)] + [status(TAKE, code)] * (1, RACERS - 1)[number % 2])
        answers[marked] += 1
        found = tally(taken)
        unexpected += Counter({k: n for k, n in found.items() if k not in ("error", "consumed")})
        unexpected += Counter() if marked == ("replayed" if found["error"] else "ok") else tally([marked])
        setup.execute(TAKE, [code])
    tap.equal(dict(unexpected), {}, f"1 or {RACERS - 1} takes racing a mark, {ROUNDS} times: "
              "each error or consumed; the mark replayed where one was error, else ok")
    tap.ok(answers["ok"] > 0 and answers["replayed"] > 0, "the mark came first, and it came second")
    # Notifications come in the order of their commits: after this one there are no others.
    setup.execute("NOTIFY attesto_codes_reuse, 'end'")
    until(lambda: setup.execute("SELECT 1") and "end" in notices)
    tap.equal(len(notices), ROUNDS + 1, "each code's reuse is announced once")
    setup.execute("UNLISTEN *")


def take_in_transactions(tap, racers, setup, level):
    """Each racer's transaction began, and took its snapshot, before any of the takes."""
    def race(number):
        code = f"{level.name}-{number}"
        setup.execute(PUT, [code, GRANT])
        for conn in racers.conns[:TRANSACTIONS]:
            conn.execute(f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}")
            conn.execute("SELECT count(*) FROM authorizations")
        answers = racers.race([status(TAKE, code)] * TRANSACTIONS)
        for conn in racers.conns[:TRANSACTIONS]:
            conn.execute("ROLLBACK")
        return answers + [status(TAKE, code)(setup)]

    tap.equal(rounds(10, race), always(10, ok=1, error=TRANSACTIONS),
              f"{TRANSACTIONS} takes in transactions at {level.name}, all rolled back, and one more,"
              " 10 times: one ok, the others error")


def main():
    tap = Tap()
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(database("race", "CREATE EXTENSION attesto_codes"))
        setup = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        racers = Racers(dsn, stack)
        take_live(tap, racers, setup)
        take_redeemed(tap, racers, setup)
        put_one_hash(tap, racers, setup)
        take_and_mark(tap, racers, setup)
        for level in [LEVELS.READ_COMMITTED, LEVELS.REPEATABLE_READ, LEVELS.SERIALIZABLE]:
            take_in_transactions(tap, racers, setup, level)
    tap.done()


if __name__ == "__main__":
    main()
