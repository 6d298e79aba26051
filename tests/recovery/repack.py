#!/usr/bin/python3
"""Clients of the store, as those of abuse.py are, and one that sweeps, until the standard input ends.

repack.py CONNINFO FOLDER. What they write into FOLDER, and who reads it: see abuse.py and 15_repack.pl.
"""
import multiprocessing
import random
import sys
import time
from pathlib import Path

import abuse

CLIENTS = 8


class Stop:
    """A deadline that is any time after the event."""

    def __init__(self, event):
        self.event = event

    def __gt__(self, _now):
        return not self.event.is_set()


class Client(abuse.Client):
    def recent(self):
        """Now and then an older one: some codes wait for pg_repack."""
        rival = self.number // abuse.RIVALS * abuse.RIVALS + random.randrange(abuse.RIVALS)
        return random.choice((super().recent(), self.code(rival, random.randint(0, self.latest[rival]))))


class Sweeper(abuse.Worker):
    def step(self):
        self.ask("code_sweep", 100)
        time.sleep(0.1)


def main():
    conninfo, folder = sys.argv[1], Path(sys.argv[2])
    fork = multiprocessing.get_context("fork")
    latest, stop = fork.Array("q", CLIENTS, lock=False), fork.Event()
    workers = [Client(conninfo, Stop(stop), folder, f"client-{number}", number=number, latest=latest)
               for number in range(CLIENTS)]
    workers.append(Sweeper(conninfo, Stop(stop), folder, "sweeper"))
    processes = [fork.Process(target=worker.run) for worker in workers]
    for process in processes:
        process.start()
    sys.stdin.read()
    stop.set()
    for process in processes:
        # Longer than the clients' statement_timeout.
        process.join(60)
    stuck = [process for process in processes if process.is_alive()]
    for process in stuck:
        process.kill()
        process.join()
    sys.exit(f"{len(stuck)} processes did not end" if stuck else any(process.exitcode for process in processes))


if __name__ == "__main__":
    main()
