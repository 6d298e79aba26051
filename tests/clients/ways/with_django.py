"""The ways of Django 5."""
import logging
import os

import django
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from orders import WRITE, serve

# The order of a request to a view, and its row.
order, got = None, None


def execute(sql, code):
    with connection.cursor() as cursor:
        cursor.execute(sql, [code])
        return cursor.fetchone()


def atomic(sql, code):
    with transaction.atomic():
        row = execute(sql, code)
        connection.cursor().execute(WRITE)
        transaction.set_rollback(True)
    return row


def atomic_request(_):
    """Its exception rolls back what ATOMIC_REQUESTS has begun."""
    global got
    got = execute(*order)
    connection.cursor().execute(WRITE)
    raise ValueError


@transaction.non_atomic_requests
def not_atomic(_):
    global got
    got = execute(*order)
    return HttpResponse()


def of_request(address):
    def way(*sql_and_code):
        global order
        order = sql_and_code
        Client(raise_request_exception=False).get(address)
        return got
    return way


def on_its_own(way):
    """The way, on a connection of its own."""
    def run(sql, codes):
        connection.close()
        for code in codes:
            row = way(sql, code)
        return row
    return run


urlpatterns = [path("atomic", atomic_request), path("not", not_atomic)]
settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True, "HOST": os.environ["PGHOST"],
                           "PORT": os.environ["PGPORT"], "USER": os.environ["PGUSER"], "NAME": os.environ["PGDATABASE"]}})
django.setup()
logging.disable()
serve({
    "the default": on_its_own(execute),
    "a view with @transaction.non_atomic_requests": on_its_own(of_request("/not")),
    "transaction.atomic()": on_its_own(atomic),
    "a view with ATOMIC_REQUESTS": on_its_own(of_request("/atomic")),
})
