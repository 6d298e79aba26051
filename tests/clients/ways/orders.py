"""What the Python programs of this folder share. Such a program says its ways in one line. Then it reads orders, each a way, a
statement and some hashes. It presents these codes in this way, one after the other on one connection, and says what it got for
the last: the status, the subject of the grant, the expiry, and the types of the expiry and of the grant. A way that is a
transaction also runs WRITE, and rolls back."""
import json
import sys

WRITE = "INSERT INTO undone DEFAULT VALUES"


def said_of(row):
    """fetchval and its like get the status alone."""
    status, *entry = row
    if not entry:
        return status
    data, expires_at = entry
    grant = json.loads(data) if isinstance(data, str) else data
    return "\t".join([status, grant["subject"], str(expires_at), type(expires_at).__name__, type(data).__name__])


def serve(ways):
    """Each way is a function of the statement and the hashes that gives a row."""
    print(*ways, sep="\t", flush=True)
    for order in sys.stdin:
        way, sql, *codes = order.rstrip("\n").split("\t")
        try:
            print(said_of(ways[way](sql, codes)), flush=True)
        except Exception as error:  # pylint: disable=broad-exception-caught
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
