"""What the client tests share: TAP lines, a database of their own, and waiting for an event."""
import contextlib
import socket
import sys
import time

import psycopg
from psycopg.conninfo import make_conninfo


class Tap:
    """Counts and prints what was checked."""

    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)

    def equal(self, got, wanted, name):
        self.ok(got == wanted, name)
        if got != wanted:
            print(f"# got {got!r}, wanted {wanted!r}", flush=True)

    def done(self):
        print(f"1..{self.count}")
        sys.exit(self.failed > 0)


@contextlib.contextmanager
def database(name, setup, options=""):
    """A new database on the server that the environment names; gives its connection string."""
    with psycopg.connect("", autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} {options}")
        dsn = make_conninfo(host=conn.info.host, port=conn.info.port, user=conn.info.user, dbname=name)
    try:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(setup)
        yield dsn
    finally:
        with psycopg.connect("", autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


def until(condition, seconds=30):
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.01)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port):
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
