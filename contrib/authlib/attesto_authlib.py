"""Authorization codes of Authlib 1.x in attesto_codes: each is used once, and a second use revokes its tokens."""
import json
import logging
import time
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from hashlib import sha256
from types import SimpleNamespace

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, list_to_scope, scope_to_list
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator, InvalidTokenError
from authlib.oidc.core import AuthorizationCodeMixin

log = logging.getLogger(__name__)


def s256(text):
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()


def run(db, sql, *arguments):
    return getattr(db, "exec_driver_sql", db.execute)(sql, arguments).fetchone()


class Codes:
    """`connect()` opens an autocommit connection, of psycopg 3, or of SQLAlchemy if tokens are stored with its `session`."""

    def __init__(self, connect, session=None):
        self.connect, self.session = connect, session

    def call(self, sql, *arguments):
        with self.connect() as db:
            return run(db, sql, *arguments)

    @contextmanager
    def transaction(self):
        if self.session is None:
            with self.connect() as db, db.transaction():
                yield db, db
            return
        try:
            yield self.session, self.session.connection()
            self.session.commit()
        finally:
            self.session.rollback()

    def revoke_family(self, family_id):
        self.call("SELECT code_revoke_family(%s)", family_id)

    def is_revoked(self, access_token):
        return self.call("SELECT code_access_token_revoked(%s)", s256(access_token))[0]


class Code(SimpleNamespace, AuthorizationCodeMixin):  # of a redeemed code its code_hash, and the members of its grant
    get_redirect_uri = lambda self: None  # code_redeem has compared it
    get_scope = lambda self: list_to_scope(self.scope)
    get_nonce = lambda self: self.nonce
    get_auth_time = lambda self: getattr(self, "auth_time", None)


class Recorded:
    """Records the access token in the transaction in which the server's save_token stores it, with request.db."""

    def save_token(self, token):
        jti, expires_at = s256(token["access_token"]), int(time.time()) + token["expires_in"]
        with self.codes.transaction() as (self.request.db, connection):
            self.record(connection, jti, expires_at)
            super().save_token(token)


class CodeGrant(Recorded, AuthorizationCodeGrant):
    CODE_LIFETIME = 60
    delete_authorization_code = lambda self, code: None  # it is spent already

    def code_data(self, request):
        """The grant. What you add to it, the Code has, too."""
        client, sent = request.client, request.payload
        return {"client_id": client.get_client_id(), "subject": str(request.user.get_user_id()),
                "scope": scope_to_list(request.scope), "redirect_uri": sent.redirect_uri or client.get_default_redirect_uri(),
                **{name: sent.data.get(name) or None for name in ("nonce", "code_challenge", "code_challenge_method")}}

    def save_authorization_code(self, code, request):
        data = self.code_data(request)
        if data["code_challenge_method"] not in (None, "S256"):
            raise InvalidRequestError("Unsupported 'code_challenge_method'", redirect_uri=data["redirect_uri"])
        self.codes.call("SELECT code_put(%s, %s::jsonb, ceil(extract(epoch FROM now()))::bigint + %s)",
                        s256(code), json.dumps(data), self.CODE_LIFETIME)

    def query_authorization_code(self, code, client):
        code_hash, sent = s256(code), map(self.request.form.get, ("redirect_uri", "code_verifier"))
        text = [value and value.replace("\0", "\ufffd") for value in sent]  # PostgreSQL's text has no NUL
        status, reason, grant = self.codes.call(
            "SELECT status, reason, data FROM code_redeem(%s, %s, %s, %s)", code_hash, client.get_client_id(), *text)
        if status == "ok":
            return Code(**{**grant, "code_hash": code_hash, "family_id": grant["family_id"] or code_hash})
        log.warning("no tokens: %s", reason or status)

    def record(self, db, jti, expires_at):
        code = self.request.authorization_code
        self.request.family_id = code.family_id
        try:
            run(db, "SELECT code_complete(%s, %s, %s)", code.code_hash, jti, expires_at)
        except Exception as error:
            log.warning("no tokens: %s", getattr(error, "orig", error))  # PostgreSQL's error, without SQLAlchemy's around it
            raise InvalidGrantError() from error


class RefreshGrant(Recorded, RefreshTokenGrant):
    def record(self, db, jti, expires_at):
        self.request.family_id = self.request.refresh_token.family_id
        if not run(db, "SELECT code_record_access_token(%s, %s, %s)", self.request.family_id, jti, expires_at)[0]:
            raise InvalidGrantError()  # the family is revoked


class TokenValidator(BearerTokenValidator):
    def validate_token(self, token, scopes, request):
        super().validate_token(token, scopes, request)
        if self.codes.is_revoked(request.headers["Authorization"].split(None, 1)[1]):
            raise InvalidTokenError()
