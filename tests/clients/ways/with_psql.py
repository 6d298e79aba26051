"""The ways of psql. CALL is the statement."""
import os
import subprocess

from orders import WRITE, serve

END = f"{WRITE}; ROLLBACK;"
# Options, and what it reads.
WAYS = {
    "one statement": ([], "CALL;"),
    "\\gset": ([], "CALL \\gset\n\\echo :status '\\t' :data '\\t' :expires_at"),
    "after BEGIN": ([], f"BEGIN; CALL; {END}"),
    "--single-transaction": (["--single-transaction"], f"CALL; {END}"),
    "AUTOCOMMIT off": (["-v", "AUTOCOMMIT=off"], f"CALL; {END}"),
    "FETCH_COUNT, which opens a cursor": (["-v", "FETCH_COUNT=1"], "CALL;"),
    "after another statement in one message (SELECT 1\\; SELECT …)": ([], "SELECT 1 WHERE false \\; CALL;"),
}


class Text(str):
    """psql knows no other type."""


Text.__name__ = "text"


def way(options, script):
    def take(sql, code):
        said = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\t", *options, "-v", f"code={code}", "-f", "-"],
                              input=script.replace("CALL", sql), env={**os.environ, "PGOPTIONS": "-c client_min_messages=error"},
                              text=True, timeout=60, check=True, stdout=subprocess.PIPE).stdout
        status, *entry = [word.strip() for word in said.split("\t")]
        return status, *map(Text, entry)
    return lambda sql, codes: [take(sql, code) for code in codes][-1]


serve({name: way(*how) for name, how in WAYS.items()})
