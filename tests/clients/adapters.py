#!/usr/bin/python3
"""contrib/: each adapter in a server of its framework, over HTTP, with the scenarios of flow.py. ADAPTERS names some of them."""
import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from flow import Flow
from harness import Tap, database

ROOT = Path(__file__).resolve().parents[2]
SERVERS = Path(__file__).resolve().parent / "servers"
PYTHON = str(ROOT / "target/clients/python/bin/python")


class Adapter(NamedTuple):
    name: str
    # The folder below contrib/, whose README has the rights of the server's role.
    contrib: str
    command: list
    # What the framework answers by itself, by the cases of flow.py, instead of 400 invalid_grant.
    errors: dict = {}
    # Whether the server stores its access tokens in a table `tokens`, in the transaction that completes the redemption.
    table: bool = True
    # Whether the framework gives ID tokens and refresh tokens, requires PKCE, and shows the adapter what the client sent.
    id_token: bool = False
    refreshes: bool = True
    insists_on_pkce: bool = False
    grace: bool = True
    # Whether the server gives tokens for a password, and, if asked to, JWTs that are known by what is in them.
    password: bool = False
    jwt: bool = False


ADAPTERS = [
    Adapter("authlib_psycopg", "authlib", [PYTHON, str(SERVERS / "authlib_psycopg.py")], id_token=True, password=True,
            jwt=True),
    Adapter("authlib_sqlalchemy", "authlib", [PYTHON, str(SERVERS / "authlib_sqlalchemy.py")], id_token=True, password=True,
            jwt=True),
    Adapter("oauth2_server", "node-oauth2-server", ["node", str(SERVERS / "oauth2_server.mjs")],
            {"no redirect_uri": (400, "invalid_request")}, jwt=True),
    Adapter("oidc_provider", "node-oidc-provider",
            ["node", "--import", str(SERVERS / "modules.mjs"), str(SERVERS / "oidc_provider.mjs")],
            {"no redirect_uri": (400, "invalid_request")}, table=False, id_token=True),
]
# With everything in the log that a server can log.
SETUP = """
CREATE SCHEMA oauth;
CREATE EXTENSION attesto_codes SCHEMA oauth;
ALTER DATABASE {name} SET log_statement = 'all';
ALTER DATABASE {name} SET log_min_duration_statement = 0;
ALTER DATABASE {name} SET log_parameter_max_length_on_error = -1;
ALTER DATABASE {name} SET attesto_codes.take_in_transaction = 'refuse';
{role}
CREATE SCHEMA app AUTHORIZATION oauth_server;
ALTER ROLE oauth_server IN DATABASE {name} SET search_path = app, oauth;
"""


@contextlib.contextmanager
def prepared(adapter):
    """A database in which the server may do what its README says."""
    (role,) = re.findall(r"^```sql role\n(.*?)^```$", (ROOT / "contrib" / adapter.contrib / "README.md").read_text(),
                         re.DOTALL | re.MULTILINE)
    with psycopg.connect("", autocommit=True) as admin:
        # Keeps the WAL for the search.
        admin.execute("SELECT pg_create_physical_replication_slot('adapters', true)")
        try:
            with database(adapter.name, SETUP.format(name=adapter.name, role=role)) as dsn:
                yield dsn
        finally:
            admin.execute("DROP ROLE IF EXISTS oauth_server")
            admin.execute("SELECT pg_drop_replication_slot('adapters')")


def run(tap, adapter):
    with prepared(adapter) as dsn, psycopg.connect(dsn, autocommit=True) as db, tempfile.TemporaryDirectory() as folder:
        words = conninfo_to_dict(dsn)
        environment = {**os.environ, "PGUSER": "oauth_server", "PGDATABASE": words["dbname"], "PYTHONUNBUFFERED": "1"}
        Flow(tap, adapter, db, environment, folder).run()


def main():
    tap = Tap()
    chosen = os.environ.get("ADAPTERS", "").split()
    for adapter in ADAPTERS:
        if not chosen or adapter.name in chosen:
            run(tap, adapter)
    tap.done()


if __name__ == "__main__":
    main()
