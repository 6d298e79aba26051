"""An Authlib server that stores its tokens with psycopg 3."""
import time

import psycopg
from authlib.integrations.sqla_oauth2 import OAuth2TokenMixin
from psycopg.rows import class_row

from authlib_flask import Codes, serve

COLUMNS = "access_token, refresh_token, family_id, client_id, scope, issued_at, expires_in"


class Token(OAuth2TokenMixin):
    """A row, without SQLAlchemy."""
    access_token_revoked_at = refresh_token_revoked_at = 0

    def __init__(self, **columns):
        vars(self).update(columns)


def connect():
    return psycopg.connect("", autocommit=True)


def save_token(token, request):
    request.db.execute(f"INSERT INTO tokens ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s)", [
        token["access_token"], token.get("refresh_token"), request.family_id, request.client.client_id, token["scope"],
        int(time.time()), token["expires_in"]])


def find_token(column, value):
    with connect() as db:
        return db.cursor(row_factory=class_row(Token)).execute(f"SELECT * FROM tokens WHERE {column} = %s", [value]).fetchone()


with connect() as start:
    start.execute("CREATE TABLE IF NOT EXISTS tokens (access_token text PRIMARY KEY, refresh_token text, family_id text,"
                  " client_id text NOT NULL, scope text NOT NULL, issued_at bigint NOT NULL, expires_in bigint NOT NULL)")
serve(Codes(connect), save_token, find_token)
