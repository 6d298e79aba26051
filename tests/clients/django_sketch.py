"""Gives the sketch for Django of docs/clients.md, which is the file of the first argument, the command line that the programs of
the other languages have. What the sketch leaves out is here: s256, the settings, and the answers."""
import hashlib
import os
import runpy
import sys
import time
import uuid
from base64 import urlsafe_b64encode

import django
from django.conf import settings
from django.db import Error, connection


def s256(text):
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def issue(grant):
    with connection.cursor() as cursor:
        cursor.execute("SELECT code_issue(%s)", [grant])
        return cursor.fetchone()[0]


def redeem(sketch, code, *request):
    grant = sketch["redeem"](code, *request)
    sketch["complete"](grant, code, str(uuid.uuid4()), int(time.time()) + 300)
    return f"tokens for {grant['subject']}"


def main():
    settings.configure(DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
        "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"]}})
    django.setup()
    sketch = runpy.run_path(sys.argv[1], {"s256": s256})
    try:
        print(issue(*sys.argv[3:]) if sys.argv[2] == "issue" else redeem(sketch, *sys.argv[3:]))
    except (ValueError, Error) as error:
        print("no tokens:", error, file=sys.stderr)
        print("invalid_grant")


main()
