"""The ways of asyncpg."""
import asyncio

import asyncpg
from orders import WRITE, serve


def on_its_own(way):
    """The way, on a connection of its own."""
    async def run(sql, code):
        conn = await asyncpg.connect()
        try:
            return await way(conn, sql, code)
        finally:
            await conn.close()
    return lambda sql, code: asyncio.run(run(sql, code))


async def fetch(conn, sql, code):
    return (await conn.fetch(sql, code))[0]


async def prepared(conn, sql, code):
    return (await (await conn.prepare(sql)).fetch(code))[0]


async def pool(_, sql, code):
    async with asyncpg.create_pool(min_size=1, max_size=1) as conns:
        return (await conns.fetch(sql, code))[0]


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
    "pool.fetch()": on_its_own(pool),
    "prepare().fetch()": on_its_own(prepared),
    "fetchrow()": on_its_own(fetchrow),
    "fetchval()": on_its_own(fetchval),
    "connection.transaction()": on_its_own(transaction),
})
