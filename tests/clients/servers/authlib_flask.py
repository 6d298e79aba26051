"""What the two Authlib servers share: Flask, the clients, and the adapter. They differ in how they store tokens."""
import os
import sys
import time
import uuid
from pathlib import Path

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "contrib/authlib"))

import attesto_authlib  # noqa: E402
from attesto_authlib import Codes  # noqa: E402, F401
from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector  # noqa: E402
from authlib.integrations.sqla_oauth2 import OAuth2ClientMixin, OAuth2TokenMixin  # noqa: E402
from authlib.oauth2 import OAuth2Error  # noqa: E402
from authlib.oauth2.rfc6749.grants import ResourceOwnerPasswordCredentialsGrant  # noqa: E402
from authlib.oauth2.rfc7636 import CodeChallenge  # noqa: E402
from authlib.oidc.core import UserInfo  # noqa: E402
from authlib.oidc.core.grants import OpenIDCode  # noqa: E402
from flask import Flask, request  # noqa: E402
from joserfc import jwt  # noqa: E402
from joserfc.jwk import ECKey, OctKey  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


class Client(OAuth2ClientMixin):
    def __init__(self, name, *redirect_uris):
        self.client_id, self.client_secret = name, f"{name}-secret"
        self.set_client_metadata({"redirect_uris": redirect_uris, "scope": "openid", "response_types": ["code"],
                                  "grant_types": ["authorization_code", "refresh_token", "password"]})


class User:
    def get_user_id(self):
        return "alice"


class OpenID(OpenIDCode):
    def exists_nonce(self, nonce, request):
        return False

    def resolve_client_private_key(self, client):
        return OctKey.import_key("a key of the tests, which is long enough")

    def get_client_algorithm(self, client):
        return "HS256"

    def get_client_claims(self, client):
        return {"iss": "https://server.example"}

    def generate_user_info(self, user, scope):
        return UserInfo(sub=user.get_user_id())


class JWT(OAuth2TokenMixin):
    """An access token that is known by what is in it."""
    KEY = ECKey.generate_key("P-256")
    access_token_revoked_at = refresh_token_revoked_at = 0

    def __init__(self, access_token):
        claims = jwt.decode(access_token, self.KEY).claims
        self.issued_at, self.expires_in, self.scope = claims["iat"], 3600, claims["scope"]

    @classmethod
    def generate(cls, scope, **_):
        jti = {"jti": str(uuid.uuid4())} if os.environ["JWT"] == "jti" else {}
        return jwt.encode({"alg": "ES256"}, {"iat": int(time.time()), "scope": scope, **jti}, cls.KEY)


CLIENTS = {
    "app": Client("app", "https://app.example/cb", "https://app.example/other"),
    "other": Client("other", "https://other.example/cb"),
}


def serve(codes, save_token, find_token, close=lambda: None):
    """save_token(token, request) stores tokens, find_token(column, value) finds them, close() ends a request."""
    class CodeGrant(attesto_authlib.CodeGrant):
        CODE_LIFETIME = int(os.environ.get("CODE_TTL", "60"))

        def authenticate_user(self, code):
            return User()

        def save_token(self, token):
            if "DIE" in os.environ:
                os._exit(1)
            super().save_token(token)

    class PasswordGrant(attesto_authlib.Stored, ResourceOwnerPasswordCredentialsGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]

        def authenticate_user(self, username, password):
            return User()

    class RefreshGrant(attesto_authlib.RefreshGrant):
        def authenticate_refresh_token(self, refresh_token):
            return find_token("refresh_token", refresh_token)

        def authenticate_user(self, token):
            return User()

        def revoke_old_credential(self, token):
            pass

    class TokenValidator(attesto_authlib.TokenValidator):
        def authenticate_token(self, access_token):
            return JWT(access_token) if "JWT" in os.environ else find_token("access_token", access_token)

    CodeGrant.codes = PasswordGrant.codes = RefreshGrant.codes = TokenValidator.codes = codes
    app = Flask(__name__)
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    app.config["OAUTH2_ACCESS_TOKEN_GENERATOR"] = JWT.generate if "JWT" in os.environ else True
    app.teardown_appcontext(lambda error: close())
    server = AuthorizationServer(app, CLIENTS.get, save_token)
    server.register_grant(CodeGrant, [CodeChallenge(), OpenID()])
    server.register_grant(PasswordGrant)
    server.register_grant(RefreshGrant)
    guard = ResourceProtector()
    guard.register_token_validator(TokenValidator())

    @app.get("/authorize")
    def authorize():
        try:
            grant = server.get_consent_grant(end_user=User())
        except OAuth2Error as error:
            return server.handle_error_response(request, error)
        return server.create_authorization_response(grant_user=User(), grant=grant)

    @app.post("/token")
    def token():
        return server.create_token_response()

    @app.get("/me")
    @guard("openid")
    def me():
        return {"sub": "alice"}

    @app.post("/test/revoke")
    def revoke():
        codes.revoke_family(find_token("access_token", request.form["token"]).family_id)
        return {}

    listener = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"listening http://127.0.0.1:{listener.port}", flush=True)
    listener.serve_forever()
