"""pgbouncer in front of the server that the environment names."""
import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from harness import database, free_port, listens, until

# Who connects through it. The extension is in a schema of its own, which the role finds by its search_path.
ROLE = "pooled_token_endpoint"
SETUP = f"""
CREATE SCHEMA oauth;
CREATE EXTENSION attesto_codes SCHEMA oauth;
CREATE ROLE {ROLE} LOGIN;
ALTER ROLE {ROLE} SET search_path = oauth, public;
GRANT USAGE ON SCHEMA oauth TO {ROLE};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA oauth TO {ROLE};
"""


class Pooler:
    """A running pgbouncer."""

    def __init__(self, process, dsn):
        self.process, self.dsn = process, dsn

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def command(self, command):
        """A command of its console; gives what that shows, as dictionaries."""
        with connect(make_conninfo(self.dsn, user="postgres", dbname="pgbouncer")) as console:
            shown = psycopg.ClientCursor(console, row_factory=dict_row).execute(command)
            return shown.fetchall() if shown.description else []


@contextlib.contextmanager
def pooler(dsn, mode, size=5, **settings):
    """Runs pgbouncer in front of the server. It refuses to be root, and becomes the user postgres then."""
    words, port = conninfo_to_dict(dsn), free_port()
    settings = {"pool_mode": mode, "default_pool_size": size, "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "",
                "auth_type": "trust", "admin_users": "postgres", **settings}
    with tempfile.TemporaryDirectory() as folder, open(Path(folder, "log"), "w") as log:
        os.chmod(folder, 0o755)
        users, conf = Path(folder, "users"), Path(folder, "pgbouncer.ini")
        users.write_text(f'"postgres" ""\n"{ROLE}" ""\n')
        conf.write_text("[databases]\n* = host={host} port={port}\n[pgbouncer]\n".format(**words)
                        + "".join(f"{name} = {value}\n" for name, value in {**settings, "auth_file": users}.items()))
        process = subprocess.Popen(["pgbouncer", *(["-u", "postgres"] if os.getuid() == 0 else []), conf], stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or listens(port))
            yield Pooler(process, make_conninfo(host="127.0.0.1", port=port, user=ROLE, dbname=words["dbname"]))
        finally:
            process.kill()
            process.wait()


def connect(dsn, **options):
    """As docs/poolers.md says: in autocommit, and without prepared statements."""
    return psycopg.connect(dsn, autocommit=True, **{"prepare_threshold": None, **options})


@contextlib.contextmanager
def pooled_database(name, setup=""):
    """A new database with the extension; gives its connection string and a connection to it, past the pooler."""
    with database(name, SETUP + setup) as dsn:
        dsn = make_conninfo(dsn, options="-c search_path=oauth,public")
        with connect(dsn) as db:
            try:
                yield dsn, db
            finally:
                db.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@contextlib.contextmanager
def role_has(db, setting, value):
    """New connections of the pooler have this setting."""
    db.execute(f"ALTER ROLE {ROLE} SET {setting} = '{value}'")
    yield
    db.execute(f"ALTER ROLE {ROLE} RESET {setting}")
