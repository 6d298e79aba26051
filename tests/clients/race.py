#!/usr/bin/python3
"""Many connections at one code at the same instant: one winner, and an answer for everybody else."""
import contextlib
import itertools
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
ALL_LEVELS = [LEVELS.READ_COMMITTED, LEVELS.REPEATABLE_READ, LEVELS.SERIALIZABLE]

# A client's request for tokens, and those of others who hold the code. The verifier is that of RFC 7636, appendix B.
VERIFIER, CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
RIGHT = {"client_id": "c", "redirect_uri": "r", "code_verifier": VERIFIER, "dpop_jkt": "key"}
WRONG = [RIGHT | {name: value} for name, values in [
    ("client_id", ["d"]), ("redirect_uri", ["r/"]), ("code_verifier", [None, "x" * 43]), ("dpop_jkt", [None, "other"])]
    for value in values]
META = '{"family_id": "meta of %s"}'


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
            conn.execute(f"BEGIN ISOLATION LEVEL {words(level)}")
            conn.execute("SELECT count(*) FROM authorizations")
        answers = racers.race([status(TAKE, code)] * TRANSACTIONS)
        for conn in racers.conns[:TRANSACTIONS]:
            conn.execute("ROLLBACK")
        return answers + [status(TAKE, code)(setup)]

    tap.equal(rounds(10, race), always(10, ok=1, error=TRANSACTIONS),
              f"{TRANSACTIONS} takes in transactions at {level.name}, all rolled back, and one more,"
              " 10 times: one ok, the others error")


def bound(code):
    return json.dumps(json.loads(GRANT) | {"code_challenge": CHALLENGE, "dpop_jkt": "key", "family_id": code})


def redeem(code, sent=RIGHT, meta=None):
    arguments = [code, *sent.values(), meta]
    return lambda conn: conn.execute("SELECT * FROM code_redeem(%s, %s, %s, %s, %s, %s)", arguments).fetchone()[0]


def complete(code):
    """The tokens are stored with their family, or not at all."""
    def work(conn):
        with conn.transaction():
            conn.execute("SELECT code_complete(%s, %s, 4102444800)", [code, code])
        return "tokens"
    return work


def submit(code, meta=None, level=None):
    """All that a token endpoint does: in two transactions, or in one at a level."""
    def work(conn):
        with conn.transaction() if level else contextlib.nullcontext():
            if level:
                conn.execute(f"SET TRANSACTION ISOLATION LEVEL {words(level)}")
            answer = redeem(code, RIGHT, meta)(conn)
            return complete(code)(conn) if answer == "ok" else answer
    return work


def words(level):
    return level.name.replace("_", " ")


def left(setup, code):
    """What there is in the end: the state of the code, whether its names are revoked, and whether a token is good."""
    return setup.execute(
        "SELECT CASE WHEN consumed_at = replayed_at THEN 'closed' WHEN consumed_success THEN 'redeemed' ELSE 'spent' END,"
        " (SELECT array_agg(DISTINCT code_family_revoked(name)) FROM unnest(ARRAY[code_hash, family_id, consumed_meta->>'family_id']) name"
        "  WHERE name IS NOT NULL),"
        " EXISTS (SELECT FROM authorization_access_tokens WHERE jti = code_hash AND NOT code_access_token_revoked(jti))"
        " FROM authorizations WHERE code_hash = %s", [code]).fetchone()


def redeem_live(tap, racers, setup, metas, begins):
    """Some prove everything and some do not, some with a meta and some without, each in its own kind of transaction."""
    wrong, outcomes, bad = itertools.cycle(WRONG), Counter(), Counter()
    name = f"{'with' if all(metas) else 'with and without' if any(metas) else 'without'} meta, {' and '.join(map(str, begins))}"
    count = TRANSACTIONS if any(begins) else RACERS
    for number in range(30):
        code = f"redeem, {name}, {number}"
        setup.execute(PUT, [code, bound(code)])
        rights = [count, count - 1, count // 2, 1][number % 4]
        sent = [RIGHT] * rights + [next(wrong) for _ in range(count - rights)]
        if number % 8 > 3:
            sent.reverse()
        works = []
        for conn, values, meta, begin in zip(racers.conns, sent, itertools.cycle(metas), itertools.cycle(begins)):
            if begin:
                conn.execute(f"BEGIN ISOLATION LEVEL {begin}")
                conn.execute("SELECT count(*) FROM authorizations, authorization_revoked_families")
            works.append(redeem(code, values, meta and META % code))
        answers = tally(racers.race(works))
        for conn in racers.conns[:count]:
            conn.execute("ROLLBACK")
        state, revoked, _ = left(setup, code)
        if state == "closed":
            wanted = Counter(error=count), [False], rights < count
        else:
            loser = "consumed" if state == "redeemed" else "error"
            wanted = Counter(ok=1, error=count - rights) + Counter({loser: rights - 1}), [rights > 1], True
        outcomes[state] += 1
        if (answers, revoked, True) != wanted:
            bad[str((state, answers, revoked, wanted))] += 1
    tap.equal(dict(bad), {}, f"{count} redeems of a live code, {name}, 30 times: one ok; none where a wrong one came first;"
              " the names are revoked where a right one came second")
    tap.ok(outcomes["closed"] > 0 and len(outcomes) > 1, f"a right one came first, and a wrong one: {dict(outcomes)}")


def redeem_and_complete(tap, racers, setup, has_meta):
    """A completion races presentations of its code."""
    bad, came = Counter(), Counter()
    for number in range(ROUNDS):
        code = f"complete-{has_meta}-{number}"
        setup.execute(PUT, [code, bound(code)])
        assert redeem(code, RIGHT, META % code if has_meta else None)(setup) == "ok"
        rights = (1, 15, 0)[number % 3]
        first, *others = racers.race([complete(code)] + [redeem(code)] * rights + [redeem(code, sent) for sent in WRONG])
        (first,), others = tally([first]), tally(others)
        loser = "consumed" if has_meta or first == "tokens" else "error"
        wanted = Counter(error=len(WRONG)) + Counter({loser: rights})
        state, revoked, is_good = left(setup, code)
        came[first] += rights > 0
        if others != wanted or first not in ("tokens", "55000")[:2 if rights else 1] or (revoked, is_good) != ([rights > 0], not rights):
            bad[str((first, others, state, revoked, is_good))] += 1
    tap.equal(dict(bad), {}, f"a code_complete, {'after a redeem with meta, ' if has_meta else ''}beside replays, {ROUNDS} times: either tokens"
              " or 55000, and no token stays good where a client that could have redeemed the code came again")
    tap.ok(came["tokens"] > 0 and came["55000"] > 0, f"the completion came first, and it came second: {dict(came)}")


def redeem_beside_completions(tap, racers, setup):
    """The client repeats its completion again and again, from several sessions, until one is refused."""
    bad = Counter()
    for number in range(60):
        code = f"completions-{number}"
        setup.execute(PUT, [code, bound(code)])
        assert redeem(code, RIGHT, "{}")(setup) == "ok"
        begins, ends = [(None, None), ("BEGIN", "COMMIT"), (None, "ROLLBACK")][number % 3]
        started, presented = threading.Barrier(7, timeout=60), threading.Event()

        def hammer(conn):
            complete(code)(conn)
            started.wait()
            is_last = False
            while not is_last:
                is_last = presented.is_set()
                conn.execute("BEGIN")
                conn.execute("SELECT code_complete(%s, %s, 4102444800)", [code, code])
                conn.execute(ends or "COMMIT")

        def present(conn):
            started.wait()
            conn.execute(begins or "SELECT")
            try:
                return redeem(code)(conn)
            finally:
                conn.execute("ROLLBACK")
                presented.set()

        first, *others = racers.race([present] + [hammer] * 6)
        for conn in racers.conns[:7]:
            conn.execute("ROLLBACK")
        outcome = first, tally(others), left(setup, code)
        bad[str(outcome)] += outcome != ("consumed", {"55000": 6}, ("redeemed", [True], False))
    tap.equal(+bad, {}, "a redeem beside six sessions that complete the code again and again, 60 times: consumed, and no token stays good")


def double_submits(tap, racers, setup, grace):
    """The same request many times at once, as from a client that lost its patience."""
    for conn in racers.conns:
        conn.execute(f"SET attesto_codes.replay_grace = {grace}")
    setup.execute(f"SET attesto_codes.replay_grace = {grace}")
    for meta, level in itertools.product([None, "{}", META], [None, *ALL_LEVELS]):
        name = f"meta {meta and len(meta)}, {f'in one transaction at {words(level)}' if level else 'in two transactions'}"
        bad = Counter()
        for number in range(5):
            code = f"double, grace {grace}, {name}, {number}"
            setup.execute(PUT, [code, bound(code)])
            answers = tally(racers.race([submit(code, meta and meta.replace("%s", code), level)] * 20))
            if grace:
                wanted = {"tokens": 1, "error": 19}
                # The answer was lost, and the client tries again; so does somebody without the key.
                later = [redeem(code, sent)(setup) for sent in [RIGHT, *WRONG, RIGHT]] == ["error"] * (len(WRONG) + 2)
                is_as_wanted = answers == wanted and later and left(setup, code)[1:] == ([False], True)
            else:
                answers["error"] += answers.pop("consumed", 0)
                is_as_wanted = (answers in ({"tokens": 1, "error": 19}, {"55000": 1, "error": 19})
                                and left(setup, code)[1:] == ([True], False))
            bad[str((answers, left(setup, code)))] += not is_as_wanted
        tap.equal(+bad, {}, f"20 submits of one request with a grace of {grace} s, {name}, 5 times: "
                  + ("one gets tokens, and they stay good, whatever comes after" if grace else
                     "at most one gets tokens, and they are revoked"))


def races(tap, racers, setup):
    take_live(tap, racers, setup)
    take_redeemed(tap, racers, setup)
    put_one_hash(tap, racers, setup)
    take_and_mark(tap, racers, setup)
    for level in ALL_LEVELS:
        take_in_transactions(tap, racers, setup, level)
    for metas in [[None], [META], [META, None]]:
        for begins in [[None], *([words(level)] for level in ALL_LEVELS), [None, "READ COMMITTED", "SERIALIZABLE"]]:
            redeem_live(tap, racers, setup, metas, begins)
    for has_meta in [False, True]:
        redeem_and_complete(tap, racers, setup, has_meta)
    redeem_beside_completions(tap, racers, setup)
    for grace in [0, 60]:
        double_submits(tap, racers, setup, grace)


def main():
    tap = Tap()
    with contextlib.ExitStack() as stack:
        dsn = stack.enter_context(database("race", "CREATE EXTENSION attesto_codes"))
        setup = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        races(tap, Racers(dsn, stack), setup)
    tap.done()


if __name__ == "__main__":
    main()
