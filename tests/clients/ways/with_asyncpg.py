"""The ways of asyncpg."""
import asyncio

import asyncpg
from orders import WRITE, serve


def on_its_own(way, connect=asyncpg.connect):
    """The way, on a connection or a pool of its own."""
    async def run(sql, codes):
        conn = await connect()
        try:
            for code in codes:
                row = await way(conn, sql, code)
            return row
        finally:
            await conn.close()
    return lambda sql, codes: asyncio.run(run(sql, codes))


async def fetch(conn, sql, code):
    return (await conn.fetch(sql, code))[0]


async def prepared(conn, sql, code):
    return (await (await conn.prepare(sql)).fetch(code))[0]


async def fetchrow(conn, sql, code):
    return await conn.fetchrow(sql, code)


async def fetchval(conn, sql, code):
    return [await conn.fetchval(sql, code)]


async def transaction(conn, sql, code):
    rolled_back = conn.transaction()
    await rolled_back.start()
    row = await fetch(conn, sql, code)
    await conn.execute(WRITE)
    await rolled_back.rollback()
    return row


serve({
    "connection.fetch()": on_its_own(fetch),
    "pool.fetch()": on_its_own(fetch, lambda: asyncpg.create_pool(min_size=1, max_size=1)),
    "prepare().fetch()": on_its_own(prepared),
    "fetchrow()": on_its_own(fetchrow),
    "fetchval()": on_its_own(fetchval),
    "connection.transaction()": on_its_own(transaction),
})
