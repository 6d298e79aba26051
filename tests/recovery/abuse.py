#!/usr/bin/python3
"""Clients that abuse the store, while backends are shot and the tables are rewritten below them.

abuse.py CONNINFO SECONDS FOLDER. Judges nothing: each process writes a file into FOLDER, a line a call
(function, code, answer, when it began and when it ended), before it goes on. 13_abuse.pl reads them.
"""
import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import psycopg

CLIENTS = 32
# Clients that present each other's codes.
RIVALS = 4
# What kills and rewrites may answer. Anything else is written down with its message.
EXPECTED = {"40P01", "55P03", "57014", "57P01", "57P02", "57P03"}
# What code_complete may answer: no tokens may be sent, or the code was swept.
NO_TOKENS = {"55000", "P0002"}
# What libpq says without an SQLSTATE, when the server goes away or is not back yet.
LOST = re.compile("server closed the connection|terminating connection|the database system is|connection is lost"
                  "|could not (send|receive) data|Connection (refused|reset)|Broken pipe|connection not open")
BEGIN = ("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE")
TABLES = ("authorizations", "authorization_access_tokens", "authorization_revoked_families", "authorization_runs",
          "authorization_queue")
REWRITES = ("VACUUM FULL {0}", "CLUSTER {0} USING {0}_pkey", "REINDEX TABLE {0}", "REINDEX TABLE CONCURRENTLY {0}",
            "VACUUM (FREEZE, INDEX_CLEANUP ON) {0}")


def outcome(what, error):
    """What the log calls an error of a call."""
    message = " ".join(str(error).split())
    if error.sqlstate in EXPECTED | (NO_TOKENS if what == "code_complete" else set()) and "statement timeout" not in message:
        return error.sqlstate
    if error.sqlstate is None and LOST.search(message):
        return "lost"
    return f"unexpected {error.sqlstate} {message}"


class Worker:
    """A process with a connection, a log, and a new connection after every error."""

    options = ""

    def __init__(self, conninfo, deadline, folder, name):
        self.conninfo, self.deadline, self.conn = conninfo, deadline, None
        self.file = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def log(self, what, code, answer, began=None):
        now = time.monotonic()
        os.write(self.file, f"{what}\t{code}\t{answer}\t{began or now:.6f}\t{now:.6f}\n".encode())

    def attempt(self, what, code, call):
        """Gives what the call gives; an error is logged, and ends the connection."""
        began = time.monotonic()
        try:
            return call()
        except psycopg.Error as error:
            self.log(what, code, outcome(what, error), began)
            raise

    def statement(self, sql, code=""):
        self.attempt(sql, code, lambda: self.conn.execute(sql))

    def ask(self, function, code, *more):
        """Calls a function of the extension as a statement of its own; logs the first column."""
        arguments = [code, *more]
        sql = f"SELECT * FROM {function}({', '.join(['%s'] * len(arguments))})"
        began = time.monotonic()
        row = self.attempt(function, code, lambda: self.conn.execute(sql, arguments).fetchone())
        # What code_get answers is the entry, and what code_redeem answers has a reason.
        answer = row and "live" if function == "code_get" else row[0]
        self.log(function, code, row[1] or answer if function == "code_redeem" else answer, began)
        return row

    def run(self):
        random.seed()
        while time.monotonic() < self.deadline:
            try:
                self.conn = self.attempt("connect", "", lambda: psycopg.connect(
                    self.conninfo, autocommit=True, options=f"-c statement_timeout=30s {self.options}"))
                with self.conn:
                    self.start()
                    while time.monotonic() < self.deadline:
                        self.step()
            except psycopg.Error:
                # While the server recovers it refuses everybody at once.
                time.sleep(0.02)

    def start(self):
        pass


class Client(Worker):
    """Puts codes, and presents its own and those of its rivals."""

    def __init__(self, *process, number, latest):
        super().__init__(*process)
        self.number, self.latest, self.count = number, latest, 0
        # A take that was answered is on disk also where the rest is not.
        self.commit = "on" if number % 2 else "off"
        # The codes of some are spent by a crash.
        self.survive = "off" if number % 3 else "on"
        self.options = f"-c synchronous_commit={self.commit} -c attesto_codes.codes_survive_crash={self.survive}"

    @staticmethod
    def code(number, count):
        """Every third code outlives the run."""
        return f"{'short' if count % 3 else 'long'}-{number}-{count}"

    @staticmethod
    def expiry(code):
        return int(time.time()) + (random.randint(1, 3) if code.startswith("short") else 86400)

    def recent(self):
        """One of the last codes of a rival; most often the last."""
        rival = self.number // RIVALS * RIVALS + random.randrange(RIVALS)
        return self.code(rival, max(0, self.latest[rival] - int(random.expovariate(1))))

    def step(self):
        code = self.put() if random.random() < 0.4 else self.recent()
        # Some codes wait for a rival, or a crash.
        random.choice((self.take, self.redeem))(random.choice((code, self.recent())))
        if random.random() < 0.05:
            self.redeem(self.issue())
        if random.random() < 0.1:
            self.ask("code_get", self.recent())
            self.ask("code_access_token_revoked", self.recent())
        if random.random() < 0.001:
            self.ask("code_sweep", 100)

    def put(self):
        """A code is put once, whatever became of it: another one of its name could be taken again."""
        self.count += 1
        code = self.code(self.number, self.count)
        grant = {"client_id": "c", "subject": code, "redirect_uri": "r", "family_id": code}
        if random.random() < 0.02:
            grant["padding"] = os.urandom(6000).hex()
        # Now and then it is taken in the very transaction that may take it back.
        end = random.choice(("COMMIT", "ROLLBACK")) if random.random() < 0.05 else None
        if end:
            self.statement("BEGIN")
        self.ask("code_put", code, json.dumps(grant), self.expiry(code))
        if end:
            self.ask(*random.choice((["code_take", code], ["code_redeem", code, "c", "r"])))
            self.statement(end, code)
        if end != "ROLLBACK":
            self.log("stored", code, self.commit if self.survive == "on" else "of a run")
            self.latest[self.number] = self.count
        return code

    def issue(self):
        """A code of the server's making. It is known by its hash; no rival knows it."""
        def call():
            grant = json.dumps({"client_id": "c", "subject": "s", "redirect_uri": "r"})
            return self.conn.execute("SELECT code_hash(code_issue(%s))", [grant]).fetchone()[0]
        code = self.attempt("code_issue", "", call)
        self.log("code_issue", code, "ok")
        return code

    def redeem(self, code):
        """By code_redeem and code_complete; now and then with the wrong values, and now and then all in one transaction."""
        begin, end = random.choice((None, None, *BEGIN)), random.choice(("COMMIT", "ROLLBACK"))
        meta = random.choice((None, "{}", json.dumps({"family_id": f"meta {code}", "padding": "x" * random.randrange(3000)})))
        values = random.choice((["c", "r"], ["c", "r"], ["c", "r"], ["d", "r"], ["c", "s"]))
        in_one = begin and random.random() < 0.2
        if begin:
            self.statement(begin)
        if meta:
            self.log("redeeming", code, "")
        status, *_ = self.ask("code_redeem", code, *values, None, None, meta)
        if status == "ok" and meta:
            self.log("redeemed at once", code, "")
        completes = status == "ok" and random.random() < 0.9
        if begin and not (in_one and completes):
            self.statement(end, code)
        if completes:
            if not in_one:
                self.statement("BEGIN")
            # Two tokens, or one twice as after a lost answer.
            for token in random.choice(([1], [1, 1], [1, 2])):
                self.ask("code_complete", code, f"{code} {token}", 4102444800, meta or "{}")
            end = random.choice(("COMMIT", "COMMIT", "ROLLBACK"))
            if end == "COMMIT":
                self.log("redeeming", code, "")
            self.statement(end, code)
            if end == "COMMIT":
                self.log("completed", code, self.commit)

    def take(self, code):
        begin = random.choice((None, None, *BEGIN))
        if begin:
            self.statement(begin)
        status, grant, _, meta = self.ask("code_take", code)
        if begin:
            self.statement(random.choice(("COMMIT", "ROLLBACK")), code)
        if status == "ok" and grant["subject"] != code:
            self.log("code_take", code, "unexpected grant")
        if status == "ok" and random.random() < 0.8:
            self.mark(code)
        if status == "consumed":
            self.ask("code_revoke_family", meta["family_id"])
            self.log("revoked", meta["family_id"], self.commit)

    def mark(self, code):
        for end in random.choice((["COMMIT"], ["COMMIT"], ["ROLLBACK"], ["ROLLBACK", "COMMIT"])):
            self.statement("BEGIN")
            self.ask("code_record_access_token", code, code, self.expiry(code))
            self.ask("code_mark_consumed", code)
            # A second code: here two clients may deadlock.
            other = self.recent()
            if other != code and random.random() < 0.1:
                self.ask("code_take", other)
            if end == "COMMIT":
                self.log("redeeming", code, "")
            self.statement(end, code)
            if end == "COMMIT":
                self.log("redeemed", code, self.commit)


class Killer(Worker):
    """Terminates and cancels backends and workers, and now and then crashes the whole server."""

    crash_at = 0

    def start(self):
        self.server = parent(self.conn.info.backend_pid)
        self.log("connected", "", "")
        self.crash_at = time.monotonic() + random.uniform(4, 8)

    def step(self):
        time.sleep(random.uniform(0.1, 0.4))
        processes = self.conn.execute(
            "SELECT pid, backend_type FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type NOT IN"
            " ('checkpointer', 'background writer', 'walwriter')").fetchall()
        if time.monotonic() > self.crash_at:
            if self.shoot(processes, signal.SIGKILL):
                # The server takes all its backends with it, this one, too: the next shot is after that.
                self.statement("SELECT pg_sleep(60)")
        elif random.random() < 0.3:
            # An autovacuum launcher is not back for some time.
            self.shoot([(pid, kind) for pid, kind in processes if kind != "client backend"
                        and ("launcher" not in kind or random.random() < 0.1)], signal.SIGTERM)
        else:
            self.shoot([(pid, kind) for pid, kind in processes if kind == "client backend"],
                       random.choice((signal.SIGTERM, signal.SIGTERM, signal.SIGINT)))

    def shoot(self, processes, number):
        """Signals one of them, each kind as likely as the others; says whether it was still there."""
        kinds = {kind for _, kind in processes}
        if not kinds:
            return False
        kind = random.choice(sorted(kinds))
        pid = random.choice([pid for pid, its in processes if its == kind])
        # A pid may be another's by now: holds on to the process while it looks whether it is one of ours.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), os.fdopen(os.pidfd_open(pid)) as handle:
            if parent(pid) == self.server:
                signal.pidfd_send_signal(handle.fileno(), number)
                self.log(signal.Signals(number).name, pid, kind)
                return True
        return False


class Rewriter(Worker):
    """Builds tables and indexes anew, and gives way to the clients."""

    options = "-c lock_timeout=500ms"

    def start(self):
        # What a REINDEX CONCURRENTLY leaves that was shot.
        for (index,) in self.conn.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid").fetchall():
            self.statement(f"DROP INDEX {index}")

    def step(self):
        time.sleep(random.uniform(0.1, 0.5))
        table = random.choice(TABLES)
        sql = random.choice(REWRITES).format(table)
        self.statement(sql)
        self.log("rewritten", table, sql)


def parent(pid):
    """The pid of the process that started this one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def main():
    conninfo, seconds, folder = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    fork = multiprocessing.get_context("fork")
    latest = fork.Array("q", CLIENTS, lock=False)
    deadline = time.monotonic() + seconds
    workers = [Client(conninfo, deadline, folder, f"client-{number}", number=number, latest=latest)
               for number in range(CLIENTS)]
    workers += [Killer(conninfo, deadline, folder, "killer"), Rewriter(conninfo, deadline, folder, "rewriter")]
    processes = [fork.Process(target=worker.run) for worker in workers]
    for process in processes:
        process.start()
    for process in processes:
        process.join(max(0, deadline + 60 - time.monotonic()))
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
        process.join()
    sys.exit(f"{len(stuck)} processes did not end" if stuck else any(process.exitcode for process in processes))


if __name__ == "__main__":
    main()
