"""The ways of SQLAlchemy 2, over the driver that the argument names."""
import asyncio
import sys

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn
from orders import WRITE, serve

DRIVER = sys.argv[1]
URL = f"postgresql+{DRIVER}://"


def over_driver(way):
    """The way with an engine of its own; that of asyncpg runs beneath asyncio, as AsyncConnection.run_sync does it."""
    def run(engine, sql, codes):
        for code in codes:
            row = way(engine, sql, code)
        engine.dispose()
        return row

    async def run_async(sql, codes):
        return await greenlet_spawn(run, create_async_engine(URL).sync_engine, sql, codes)
    if DRIVER == "asyncpg":
        return lambda sql, codes: asyncio.run(run_async(sql, codes))
    return lambda sql, codes: run(create_engine(URL), sql, codes)


def execute(conn, sql, code):
    return tuple(conn.execute(text(sql), {"code": code}).one())


def and_roll_back(conn, sql, code):
    row = execute(conn, sql, code)
    conn.execute(text(WRITE))
    conn.rollback()
    return row


def autocommit_connection(engine, sql, code):
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        return execute(conn, sql, code)


def autocommit_engine(engine, sql, code):
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        return execute(conn, sql, code)


def autocommit_session(engine, sql, code):
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        return execute(session, sql, code)


def default(engine, sql, code):
    with engine.connect() as conn:
        return and_roll_back(conn, sql, code)


def begin(engine, sql, code):
    with engine.connect() as conn, conn.begin() as transaction:
        row = execute(conn, sql, code)
        conn.execute(text(WRITE))
        transaction.rollback()
        return row


def session_default(engine, sql, code):
    with Session(engine) as session:
        return and_roll_back(session, sql, code)


serve({
    'a connection with isolation_level="AUTOCOMMIT"': over_driver(autocommit_connection),
    "an engine with it": over_driver(autocommit_engine),
    "a Session on such an engine": over_driver(autocommit_session),
    "the default": over_driver(default),
    "connection.begin()": over_driver(begin),
    "Session": over_driver(session_default),
})
