#!/usr/bin/python3
"""Many put, take and mark in one connection never read the table from its start to its end.

The statements are prepared while the statistics say that the table is empty, and autovacuum stays
away: the moment at which a cached plan chooses a sequential scan, and keeps it.

Most cycles run inside a function, joined to its transaction, so that not each of them waits for the
disk; the first and the last are the client's own prepared statements, in autocommit.
"""
import psycopg

from harness import Tap, database, until

OUTSIDE = 5_000
INSIDE = 190_000
BATCH = 1_000
CYCLES = OUTSIDE + INSIDE + OUTSIDE

GRANT = '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SETUP = f"""
CREATE EXTENSION attesto_codes;
ANALYZE authorizations;
ALTER TABLE authorizations SET (autovacuum_enabled = off);
CREATE FUNCTION cycles(first int, count int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  FOR n IN first .. first + count - 1 LOOP
    PERFORM code_put('code-' || n, '{GRANT}', 1800000000);
    SELECT status INTO answer FROM code_take('code-' || n);
    ASSERT answer = 'ok';
    answer := code_mark_consumed('code-' || n);
    ASSERT answer = 'ok';
  END LOOP;
END $$;
"""


def outside(conn, first):
    """Cycles of three statements and three transactions each."""
    for number in range(first, first + OUTSIDE):
        code = f"code-{number}"
        conn.execute("SELECT code_put(%s, %s, 1800000000)", [code, GRANT], prepare=True)
        status = conn.execute("SELECT * FROM code_take(%s)", [code], prepare=True).fetchone()[0]
        marked = conn.execute("SELECT code_mark_consumed(%s)", [code], prepare=True).fetchone()[0]
        assert (status, marked) == ("ok", "ok")


def main():
    tap = Tap()
    with database("cycles", SETUP) as dsn, psycopg.connect(dsn, autocommit=True) as other:
        def stats():
            return other.execute("SELECT seq_scan, idx_scan, n_tup_ins, n_tup_upd"
                                 " FROM pg_stat_user_tables WHERE relname = 'authorizations'").fetchone()

        scans_before = stats()[0]
        # Sequential scans would take hours.
        with psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=3s") as conn:
            conn.execute("SET attesto_codes.take_in_transaction = 'join'")
            outside(conn, 0)
            for first in range(OUTSIDE, OUTSIDE + INSIDE, BATCH):
                conn.execute("SELECT cycles(%s, %s)", [first, BATCH], prepare=True)
            outside(conn, OUTSIDE + INSIDE)
        # A session reports the last of what it did when it ends.
        until(lambda: stats()[2] >= CYCLES)
        seq_scan, idx_scan, inserted, updated = stats()
        tap.equal((inserted, updated), (CYCLES, 2 * CYCLES), f"{CYCLES} cycles in one connection")
        tap.ok(idx_scan >= 2 * CYCLES, "each take and mark looked through the index")
        tap.equal(seq_scan, scans_before, "nothing scanned the table")
        redeemed = other.execute("SELECT count(*) FROM authorizations WHERE consumed_success")
        tap.equal(redeemed.fetchone()[0], CYCLES, "every code is redeemed")
    tap.done()


if __name__ == "__main__":
    main()
