#!/usr/bin/python3
"""Clients of a sharded store, until SIGTERM; then every code is presented once more.

shards.py PROXY … prints one JSON object: how many codes were issued and redeemed, which were redeemed twice or lost, which reuse was
missed, the errors, and the longest call. A code whose presentation failed with an error may be spent, and is not lost.
"""
import hashlib
import json
import random
import signal
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg

CLIENTS = 6
GRANT = json.dumps({"client_id": "c", "subject": "s", "redirect_uri": "r"})


def s256(code):
    return urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).rstrip(b"=").decode()


class Code:
    def __init__(self, code_hash):
        self.code_hash, self.answers = code_hash, Counter()


class Client:
    def __init__(self, proxies, report):
        self.proxies, self.report, self.conns = proxies, report, {}
        self.codes, self.pair = [], ThreadPoolExecutor(2)

    def ask(self, sql, arguments, who=0, proxy=None):
        """The answer, or None after an error. Two at once are made by two connections."""
        proxy = random.choice(self.proxies) if proxy is None else proxy
        began = time.monotonic()
        try:
            if (proxy, who) not in self.conns:
                self.conns[proxy, who] = psycopg.connect(proxy, autocommit=True)
            return self.conns[proxy, who].execute(sql, arguments).fetchone()
        except psycopg.Error as error:
            self.report["errors"][f"{error.sqlstate} {str(error).splitlines()[0][:150]}"] += 1
            if (proxy, who) in self.conns and self.conns[proxy, who].broken:
                del self.conns[proxy, who]
            time.sleep(0.02)
            return None
        finally:
            self.report["longest"] = max(self.report["longest"], time.monotonic() - began)

    def issue(self):
        answer = self.ask("SELECT code_issue(%s, 600)", [GRANT])
        if answer:
            self.codes.append(Code(s256(answer[0])))

    def present(self, code, who=0):
        answer = self.ask("SELECT status, reason FROM code_redeem(%s, 'c', 'r', meta => '{}')", [code.code_hash], who)
        code.answers[answer and (answer[0] if answer[0] != "error" else answer[1])] += 1

    def step(self):
        """A code is redeemed at once, by two at once, or later; and presented again at once, or later."""
        self.issue()
        for _ in range(random.randint(0, 2)):
            if self.codes:
                code = self.codes[-1] if random.random() < 0.5 else random.choice(self.codes)
                if random.random() < 0.3:
                    list(self.pair.map(lambda who: self.present(code, who), range(2)))
                else:
                    self.present(code)

    def run(self, stop):
        while not stop.is_set():
            self.step()

    def finish(self):
        """Every code twice more, and its family."""
        for code in self.codes:
            for _ in range(2):
                self.present(code)
            is_revoked = self.ask("SELECT code_family_revoked(%s)", [code.code_hash])
            if not is_revoked or not is_revoked[0] or not code.answers["consumed"]:
                self.report["missed"].append(str(code.answers))
            if code.answers["ok"] > 1:
                self.report["twice"].append(str(code.answers))
            if not code.answers["ok"] and not code.answers[None] or code.answers.keys() - {"ok", "consumed", None}:
                self.report["lost"].append(str(code.answers))
        self.report["issued"] += len(self.codes)
        self.report["redeemed"] += sum(code.answers["ok"] for code in self.codes)


def main():
    report = {"issued": 0, "redeemed": 0, "twice": [], "lost": [], "missed": [], "errors": Counter(), "longest": 0}
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    clients = [Client(sys.argv[1:], report) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        runs = [threads.submit(client.run, stop) for client in clients]
        print("running", flush=True)
        stop.wait()
        for run in runs:
            run.result()
        list(threads.map(Client.finish, clients))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
