"""Shards and proxy databases for tests, all on the server that the environment names. See docs/scale-out.md."""
import contextlib
import hashlib
import itertools
import os
import subprocess
import sys

import psycopg
from psycopg.conninfo import make_conninfo

from harness import database

SHARDS = 4
SCRIPT = os.path.join(os.path.dirname(__file__), "..", "..", "contrib", "plproxy", "proxy.sql")
TABLES = ["authorizations", "authorization_access_tokens", "authorization_revoked_families"]


def need_plproxy():
    with psycopg.connect("", autocommit=True) as conn:
        if conn.execute("SELECT FROM pg_available_extensions WHERE name = 'plproxy'").fetchone() is None:
            print("ok 1 # skip this PostgreSQL has no PL/Proxy: there is no package of it, or scripts/setup.sh --tests did not run\n1..1")
            sys.exit()


def partition(name):
    """That of shards.partition(), as a program in any language computes it."""
    return hashlib.sha256(name.encode()).digest()[0]


def kin(code_hash):
    """A family that is on the partition of a code."""
    return next(name for number in itertools.count() if partition(name := f"{number} of {code_hash}") == partition(code_hash))


def name_shards(conn, dsns):
    """The map of a proxy database: each shard gets every so many partitions."""
    for number, dsn in enumerate(dsns):
        conn.execute("UPDATE shards.map SET connection = %s WHERE partition %% %s = %s", [dsn, len(dsns), number])


def show_tables(proxy, shard):
    """The tables of all shards as views on the proxy, for what a test wants to see."""
    for table in TABLES:
        columns = shard.execute(
            "SELECT string_agg(format('%%I %%s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)"
            " FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [table]).fetchone()[0]
        proxy.execute(f"CREATE TYPE shards.{table} AS ({columns})")
        proxy.execute(f"CREATE FUNCTION shards.all_{table}() RETURNS SETOF shards.{table} LANGUAGE plproxy AS"
                      f" $$ CLUSTER 'codes'; RUN ON ALL; SELECT * FROM {table}; $$")
        proxy.execute(f"CREATE VIEW {table} AS SELECT * FROM shards.all_{table}()")


def without_user(dsn):
    """PL/Proxy adds that of the caller."""
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    return make_conninfo(host=given["host"], port=given["port"], dbname=given["dbname"])


def run_script(dsn, schema="public", **options):
    return subprocess.run(["psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", SCRIPT, dsn],
                          env=os.environ | {"PGOPTIONS": f"-c search_path={schema}"}, **options)


@contextlib.contextmanager
def store(name, setup="", proxies=1, shards=SHARDS, schema="public"):
    """A store of several shards; gives the connection strings of the proxies, and those of the shards."""
    schema_exists = f"CREATE SCHEMA IF NOT EXISTS {schema};"
    with contextlib.ExitStack() as stack:
        shard_dsns = [stack.enter_context(database(f"{name}_shard_{number}", f"{schema_exists} CREATE EXTENSION attesto_codes SCHEMA {schema}"))
                      for number in range(shards)]
        proxy_dsns = [stack.enter_context(database(f"{name}_proxy_{number}", schema_exists)) for number in range(proxies)]
        for dsn in proxy_dsns:
            run_script(dsn, schema, check=True)
            with psycopg.connect(dsn, autocommit=True) as proxy, psycopg.connect(shard_dsns[0], autocommit=True) as shard:
                name_shards(proxy, [without_user(dsn) for dsn in shard_dsns])
                if schema == "public":
                    show_tables(proxy, shard)
                proxy.execute(setup)
        yield proxy_dsns, shard_dsns
