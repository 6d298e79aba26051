"""The ways of psycopg 3."""
import psycopg
from orders import WRITE, serve


def on_its_own(way, autocommit=True):
    """The way, on a connection of its own."""
    def run(sql, codes):
        with psycopg.connect("", autocommit=autocommit) as conn:
            for code in codes:
                row = way(conn, sql, code)
        return row
    return run


def execute(conn, sql, code):
    return conn.execute(sql, [code]).fetchone()


def client_cursor(conn, sql, code):
    return psycopg.ClientCursor(conn).execute(sql, [code]).fetchone()


def stream(conn, sql, code):
    return list(conn.cursor().stream(sql, [code]))[0]


def and_roll_back(conn, sql, code):
    row = execute(conn, sql, code)
    conn.execute(WRITE)
    conn.rollback()
    return row


def transaction(conn, sql, code):
    with conn.transaction(force_rollback=True):
        row = execute(conn, sql, code)
        conn.execute(WRITE)
    return row


def named_cursor(conn, sql, code):
    with conn.cursor("named", withhold=True) as cursor:
        return cursor.execute(sql, [code]).fetchone()


def first(conn, sql, code):
    with conn.pipeline():
        taken = conn.execute(sql, [code])
        conn.execute("SELECT 1")
    return taken.fetchone()


def later(conn, sql, code):
    with conn.pipeline():
        conn.execute("SELECT 1")
        taken = conn.execute(sql, [code])
    return taken.fetchone()


serve({
    "autocommit=True": on_its_own(execute),
    "ClientCursor": on_its_own(client_cursor),
    "cursor.stream()": on_its_own(stream),
    "the default": on_its_own(and_roll_back, autocommit=False),
    "connection.transaction()": on_its_own(transaction),
    "a named cursor": on_its_own(named_cursor),
    "first of a pipeline": on_its_own(first),
    "later in a pipeline": on_its_own(later),
})
