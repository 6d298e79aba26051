"""Authorization codes of Authlib 1.x in attesto_codes: each is used once, and a second use revokes its tokens."""
import json
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import contextmanager, suppress
from hashlib import sha256
from types import SimpleNamespace

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, list_to_scope, scope_to_list
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenValidator, InvalidTokenError
from authlib.oidc.core import AuthorizationCodeMixin

log = logging.getLogger(__name__)
s256 = lambda text: urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
run = lambda db, sql, *arguments: getattr(db, "exec_driver_sql", db.execute)(sql, arguments).fetchone()


def token_id(token):
    """What the database knows an access token by. Who has no key can rewrite a JWT's signature: it is no part of this."""
    with suppress(AttributeError, RecursionError, ValueError):  # one of them says that this is no JWT
        header, payload, _ = token.split(".", 2)
        jti = json.loads(urlsafe_b64decode(payload + "==")).get("jti")
        good = isinstance(jti, str) and "\0" not in jti and 1 <= len(jti.encode()) <= 1024
        return jti if good else s256(f"{header}.{payload}")
    return s256(token)


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

    revoke_family = lambda self, family_id: self.call("SELECT code_revoke_family(%s)", family_id)
    is_revoked = lambda self, access_token: self.call("SELECT code_access_token_revoked(%s)", token_id(access_token))[0]


class Code(SimpleNamespace, AuthorizationCodeMixin):  # of a redeemed code its code_hash, and the members of its grant
    get_redirect_uri = lambda self: None  # code_redeem has compared it
    get_scope = lambda self: list_to_scope(self.scope)
    get_nonce = lambda self: self.nonce
    get_auth_time = lambda self: getattr(self, "auth_time", None)


class Stored:  # The first base of every grant. A token that no code began has no family, and is not recorded.
    def save_token(self, token):
        source = self.request.authorization_code or self.request.refresh_token
        self.request.family_id = source and source.family_id
        with self.codes.transaction() as (self.request.db, connection):
            if source and source.family_id is not None:
                jti, expires_at = token_id(token["access_token"]), int(time.time()) + token["expires_in"]
                if not self.record(connection, jti, expires_at):
                    raise InvalidGrantError()
            super().save_token(token)


class CodeGrant(Stored, AuthorizationCodeGrant):
    CODE_LIFETIME = 60
    delete_authorization_code = lambda self, code: None  # it is spent already

    def code_data(self, request):  # The grant. What you add to it, the Code has, too.
        client, sent = request.client, request.payload
        return {"client_id": client.get_client_id(), "subject": str(request.user.get_user_id()),
                "scope": scope_to_list(request.scope), "redirect_uri": sent.redirect_uri or client.get_default_redirect_uri(),
                **{name: sent.data.get(name) or None for name in ("nonce", "code_challenge", "code_challenge_method")}}

    def save_authorization_code(self, code, request):
        data = self.code_data(request)
        if data["code_challenge_method"] not in (None, "S256") or "\0" in (data["nonce"] or ""):
            raise InvalidRequestError("Unsupported 'code_challenge_method' or 'nonce'", redirect_uri=data["redirect_uri"])
        self.codes.call("SELECT code_put(%s, %s::jsonb, ceil(extract(epoch FROM now()))::bigint + %s)",
                        s256(code), json.dumps(data), self.CODE_LIFETIME)

    def query_authorization_code(self, code, client):
        code_hash, sent = s256(code), map(self.request.form.get, ("redirect_uri", "code_verifier"))
        sent = (value and value.replace("\0", "\ufffd") for value in sent)  # PostgreSQL's text has no NUL
        status, reason, grant = self.codes.call(
            "SELECT status, reason, data FROM code_redeem(%s, %s, %s, %s)", code_hash, client.get_client_id(), *sent)
        if status == "ok":
            return Code(**{**grant, "code_hash": code_hash, "family_id": grant["family_id"] or code_hash})
        log.warning("no tokens: %s", reason or status)

    def record(self, db, *token):
        try:
            return run(db, "SELECT code_complete(%s, %s, %s)", self.request.authorization_code.code_hash, *token)
        except Exception as error:
            cause = getattr(error, "orig", error)  # PostgreSQL's error, without SQLAlchemy's around it
            if getattr(cause, "sqlstate", None) not in ("55000", "P0002"):
                raise
            log.warning("no tokens: %s", cause)


class RefreshGrant(Stored, RefreshTokenGrant):
    def record(self, db, *token):
        return run(db, "SELECT code_record_access_token(%s, %s, %s)", self.request.family_id, *token)[0]


class TokenValidator(BearerTokenValidator):
    def validate_token(self, token, scopes, request, **more):
        super().validate_token(token, scopes, request, **more)
        if self.codes.is_revoked(request.headers["Authorization"].split(None, 1)[1]):
            raise InvalidTokenError()
