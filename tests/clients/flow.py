"""The authorization code flow against an authorization server that keeps its codes in attesto_codes, whatever its framework.

What a test server (tests/clients/servers) is to the scenarios:
- It connects by the libpq variables of its environment, with a role that has only the rights of its adapter's README: the
  block "sql role" there makes the role `oauth_server`. The extension is in the schema oauth. The server makes its tables in the
  first schema of its search_path. A presentation that is not a statement of its own raises 25001 (take_in_transaction = refuse).
- It listens on a free port of 127.0.0.1, and prints `listening http://127.0.0.1:PORT`.
- GET /authorize: the user is signed in and consents. It ends with a redirect to the redirect_uri.
- POST /token, with client_secret_basic. GET /me with a bearer token: 200 while the token is alive, else 401.
- POST /test/revoke with `token`, an access token: revokes its family.
- Clients: `app` (secret `app-secret`, https://app.example/cb and https://app.example/other), and `other` (`other-secret`,
  https://other.example/cb). The scope is `openid`. PKCE is not required, unless the framework insists.
- DIE=1: it exits hard between the redemption of a code and its completion. CODE_TTL: how many seconds codes live (60).
- JWT=jti and JWT=plain, where the adapter has `jwt`: access tokens are JWTs, signed with ES256, with and without a jti. /me verifies
  them and does not look them up.
"""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from gate import gate
from harness import until


def s256(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
WRONG = VERIFIER[::-1]
# The order of P-256.
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PKCE = {"code_challenge": s256(VERIFIER), "code_challenge_method": "S256"}
CLIENTS = 20
ROUNDS = 10
# What may be a code, in whatever it stands.
WORDS = re.compile(rb"[\w~.-]{16,}", re.ASCII)


class Client(NamedTuple):
    client_id: str
    secret: str
    redirect_uri: str

    def basic(self):
        return "Basic " + base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()


APP = Client("app", "app-secret", "https://app.example/cb")
OTHER = Client("other", "other-secret", "https://other.example/cb")


class Answer(NamedTuple):
    status: int
    location: str
    body: dict

    @property
    def error(self):
        return self.status, self.body.get("error")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def browser():
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), NoRedirect())


def claims(jwt):
    return json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))


def resigned(jwt):
    """The JWT with another good signature, which needs no key: ECDSA takes (r, n - s) for (r, s)."""
    signed, signature = jwt.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    other = raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    return f"{signed}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"


class Server:
    """A test server as a process of its own. It writes to `output`."""

    def __init__(self, command, environment, output):
        self.output = output
        self.codes = []
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            until(self.is_up)
        except BaseException as error:
            self.__exit__(error)
            raise

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self.process.kill()
        self.process.wait()
        if error:
            print(self.output.read_text()[-4000:], flush=True)

    def is_up(self):
        if self.process.poll() is not None:
            raise ChildProcessError("the server ended at its start")
        listening = re.search(r"^listening (\S+)$", self.output.read_text(), re.MULTILINE)
        self.url = listening and listening[1]
        return self.url

    def ask(self, path, form=None, opener=None, **headers):
        request = urllib.request.Request(urljoin(self.url, path), form and urlencode(form).encode(), headers)
        try:
            response = (opener or browser()).open(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            body = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, response.headers.get("Location"), json.loads(body) if is_json else {})

    def authorize(self, opener=None, **parameters):
        """What the user brings to the client: the query of the last redirect. Without one, an error."""
        opener = opener or browser()
        url = "/authorize?" + urlencode({"response_type": "code", "client_id": APP.client_id, "redirect_uri": APP.redirect_uri,
                                         "scope": "openid", "state": "s", **parameters})
        while not url.startswith("https:"):
            url = self.ask(url, opener=opener).location
            if url is None:
                return {"error": "not redirected"}
        brought = dict(parse_qsl(urlsplit(url).query))
        self.codes += filter(None, [brought.get("code")])
        return brought

    def code(self, opener=None, **parameters):
        return self.authorize(opener, **(parameters or PKCE))["code"]

    def token(self, code, client=APP, **changes):
        """The answer to a token request; a change to None leaves a parameter out."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": APP.redirect_uri,
                "code_verifier": VERIFIER, **changes}
        return self.ask("/token", {name: value for name, value in form.items() if value is not None},
                        Authorization=client.basic())

    def refresh(self, refresh_token):
        return self.ask("/token", {"grant_type": "refresh_token", "refresh_token": refresh_token}, Authorization=APP.basic())

    def me(self, access_token):
        return self.ask("/me", Authorization=f"Bearer {access_token}").status

    def revoke(self, access_token):
        return self.ask("/test/revoke", {"token": access_token}).status


class Flow:
    """The scenarios, for one adapter on a database of its own."""

    def __init__(self, tap, adapter, db, environment, folder):
        self.tap, self.adapter, self.db = tap, adapter, db
        self.environment, self.folder = environment, Path(folder)
        self.servers = []

    def run(self):
        with self.server() as server:
            self.success(server)
            self.reuse(server)
            self.failed_checks(server)
            self.downgrades(server)
            self.revocation(server)
            self.failed_store(server)
            self.failed_database(server)
            self.failed_completion(server)
            self.other_grant(server)
            self.race(server)
        self.jwts()
        self.expiry()
        self.replay()
        self.disconnection()
        self.death()
        self.grace()
        self.nothing_leaked()

    def server(self, **environment):
        output = self.folder / f"{len(self.servers)}.log"
        server = Server(self.adapter.command, {**self.environment, **environment}, output)
        self.servers.append(server)
        return server

    def ok(self, good, name):
        self.tap.ok(good, f"{self.adapter.name}: {name}")

    def equal(self, got, wanted, name):
        self.tap.equal(got, wanted, f"{self.adapter.name}: {name}")

    def refused(self, answer, name, case=None):
        """`case` is one in which the framework may answer with an error of its own."""
        self.equal(answer.error, self.adapter.errors.get(case, (400, "invalid_grant")), name)

    def tokens(self):
        """How many access tokens were recorded."""
        return self.db.execute("SELECT count(*) FROM oauth.authorization_access_tokens").fetchone()[0]

    def kept(self):
        """How many access tokens were recorded, and how many are in the server's own table."""
        return self.tokens(), self.adapter.table and self.db.execute("SELECT count(*) FROM app.tokens").fetchone()[0]

    def success(self, server):
        before = self.tokens()
        tokens = server.token(server.code(**PKCE, nonce="n-0S6_WzA2Mj"))
        self.equal(tokens.status, 200, "a code gets tokens")
        if self.adapter.id_token:
            self.equal(claims(tokens.body["id_token"]).get("nonce"), "n-0S6_WzA2Mj", "the ID token has the nonce")
            self.equal(server.authorize(**PKCE, nonce="n\0").get("error"), "invalid_request", "a NUL in the nonce")
        self.equal(server.me(tokens.body.get("access_token")), 200, "the access token is good")
        self.equal(server.me("no-token"), 401, "another one is not")
        self.equal(self.tokens(), before + 1, "the access token was recorded")
        if self.adapter.refreshes:
            again = server.refresh(tokens.body.get("refresh_token"))
            self.equal((again.status, server.me(again.body.get("access_token"))), (200, 200), "so does the refresh token")

    def reuse(self, server):
        user = browser()
        code = server.code(user)
        tokens = server.token(code).body
        refreshed = server.refresh(tokens["refresh_token"]).body if self.adapter.refreshes else tokens
        self.refused(server.token(code), "a reuse gets no tokens")
        self.equal(server.me(tokens["access_token"]), 401, "a reuse revokes the access token")
        if self.adapter.refreshes:
            self.equal(server.me(refreshed["access_token"]), 401, "and the one that came from the refresh token")
            self.refused(server.refresh(refreshed.get("refresh_token", tokens["refresh_token"])),
                         "and the refresh token is refused", "refresh")
        again = server.token(server.code(user)).body
        self.equal(server.me(again.get("access_token")), 200, "the user starts again, in the same browser")

    def replay(self):
        """While the redeemer is between redemption and completion."""
        with gate() as relay, self.server(PGHOST="127.0.0.1", PGPORT=str(relay.server_address[1])) as server, \
                ThreadPoolExecutor() as pool:
            before = self.kept()
            code = server.code()
            first = pool.submit(server.token, code)
            self.ok(relay.reached.wait(30), "a redeemer is stopped before the completion")
            self.refused(server.token(code), "a replay gets no tokens")
            relay.opened.set()
            self.refused(first.result(), "and the redeemer gets none either")
            self.equal(self.kept(), before, "no token was recorded or stored then")

    def failed_checks(self, server):
        def presents(case, client=APP, **changes):
            code = server.code()
            self.refused(server.token(code, client, **changes), f"{case}: no tokens", case)
            self.refused(server.token(code), f"{case}: the code is burnt")
            code = server.code()
            tokens = server.token(code).body
            self.refused(server.token(code, client, **changes), f"{case} after the redemption: no tokens", case)
            self.equal(server.me(tokens["access_token"]), 200, f"{case} after the redemption: nothing is revoked")

        presents("wrong verifier", code_verifier=WRONG)
        presents("no verifier", code_verifier=None)
        presents("wrong redirect_uri", redirect_uri="https://app.example/other")
        presents("wrong client", OTHER)
        presents("wrong client with its own redirect_uri", OTHER, redirect_uri=OTHER.redirect_uri)
        code = server.code()
        self.equal(server.token(code, APP._replace(secret="wrong")).status, 401, "a client that is not authenticated: no tokens")
        self.equal(server.token(code).status, 200, "a client that is not authenticated burns nothing")
        self.refused(server.token("no-code"), "an unknown code: no tokens")
        self.equal(server.token(server.code(), code_verifier=VERIFIER + "\0").status, 400, "a NUL in the verifier: no tokens")
        # OAuth 2.1 leaves it out.
        self.equal(server.token(server.code(), redirect_uri=None).error, self.adapter.errors.get("no redirect_uri", (200, None)),
                   "without redirect_uri, with PKCE")

    def downgrades(self, server):
        def plain(case, **parameters):
            code = server.authorize(code_challenge=VERIFIER, **parameters).get("code")
            self.ok(not code or server.token(code).status == 400, f"{case}: no tokens")

        plain("a plain challenge without a method")
        plain("a plain challenge", code_challenge_method="plain")
        if not self.adapter.insists_on_pkce:
            self.equal(server.token(server.code(nonce="n"), code_verifier=None).status, 200, "without PKCE a code gets tokens")
            code = server.code(nonce="n")
            self.refused(server.token(code), "a verifier without a challenge: no tokens", "verifier without challenge")
            self.refused(server.token(code, code_verifier=None), "a verifier without a challenge: the code is burnt")

    def revocation(self, server):
        tokens = server.token(server.code()).body
        self.ok(server.revoke(tokens["access_token"]) < 300, "a family is revoked")
        self.equal(server.me(tokens["access_token"]), 401, "the access token of a revoked family is dead")
        if self.adapter.refreshes:
            self.refused(server.refresh(tokens["refresh_token"]), "the refresh token of a revoked family is refused", "refresh")

    def failed_store(self, server):
        if not self.adapter.table:
            return
        before = self.kept()
        self.db.execute("REVOKE INSERT ON app.tokens FROM oauth_server")
        self.ok(server.token(server.code()).status >= 400, "tokens that cannot be stored are not sent")
        self.db.execute("GRANT INSERT ON app.tokens TO oauth_server")
        self.equal(self.kept(), before, "tokens that cannot be stored are not recorded")

    def failed_database(self, server):
        """An error of the server, after which a client keeps the refresh token that it has."""
        if not self.adapter.refreshes:
            return
        refresh_token = server.token(server.code()).body["refresh_token"]
        self.db.execute("REVOKE EXECUTE ON FUNCTION oauth.code_record_access_token FROM oauth_server")
        self.ok(server.refresh(refresh_token).status >= 500, "a refresh that the database fails is an error of the server")
        self.db.execute("GRANT EXECUTE ON FUNCTION oauth.code_record_access_token TO oauth_server")

    @staticmethod
    def issues(server):
        """Whether the server issues codes, in the end."""
        def issued():
            with contextlib.suppress(OSError):
                return server.process.poll() is not None or server.authorize().get("code")

        until(issued)
        return server.process.poll() is None

    def disconnect(self):
        self.db.execute("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename = 'oauth_server'")

    def disconnection(self):
        """PostgreSQL ends all connections, as at a restart: of an idle server, and of one that completes a redemption."""
        with self.server() as server:
            self.ok(self.issues(server), "a server has connections")
            self.disconnect()
            self.ok(self.issues(server), "an idle server outlives its connections")
        with gate() as relay, self.server(PGHOST="127.0.0.1", PGPORT=str(relay.server_address[1])) as server, \
                ThreadPoolExecutor() as pool:
            answer = pool.submit(server.token, server.code())
            self.ok(relay.reached.wait(30), "a redeemer is stopped before the completion")
            self.disconnect()
            relay.opened.set()
            with contextlib.suppress(OSError):
                self.ok(answer.result().status >= 400, "a completion that loses its connection sends no tokens")
            self.ok(self.issues(server), "and the server goes on")

    def failed_completion(self, server):
        self.db.execute("REVOKE EXECUTE ON FUNCTION oauth.code_complete FROM oauth_server")
        self.ok(server.token(server.code()).status >= 500, "a completion that the database fails is an error of the server")
        self.db.execute("GRANT EXECUTE ON FUNCTION oauth.code_complete TO oauth_server")

    def other_grant(self, server):
        """Tokens that no code began have no family."""
        if not self.adapter.password:
            return
        form = {"grant_type": "password", "username": "alice", "password": "secret", "scope": "openid"}
        tokens = server.ask("/token", form, Authorization=APP.basic())
        self.equal((tokens.status, server.me(tokens.body.get("access_token"))), (200, 200), "a password gets tokens")
        again = server.refresh(tokens.body.get("refresh_token"))
        self.equal((again.status, server.me(again.body.get("access_token"))), (200, 200), "and so does their refresh token")

    def jwts(self):
        for kind in ["jti", "plain"] if self.adapter.jwt else []:
            with self.server(JWT=kind) as server:
                code = server.code()
                token = server.token(code).body["access_token"]
                tokens = token, resigned(token)
                self.equal([server.me(token) for token in tokens], [200, 200], f"a JWT ({kind}) is good with either signature")
                self.refused(server.token(code), f"a reuse, with a JWT ({kind})")
                self.equal([server.me(token) for token in tokens], [401, 401], f"a reuse revokes a JWT ({kind}) with either")

    def expiry(self):
        with self.server(CODE_TTL="1") as server:
            code = server.code()
            expired = "SELECT expires_at <= clock_timestamp() FROM oauth.authorizations WHERE code_hash = %s"
            until(lambda: self.db.execute(expired, [s256(code)]).fetchone()[0])
            self.refused(server.token(code), "an expired code: no tokens", "expired")

    def rounds(self, server):
        """Of each round: how many answers have tokens, how many of these are good afterwards, how many others say invalid_grant."""
        def at_once(code):
            start = threading.Barrier(CLIENTS)

            def client(_):
                start.wait()
                return server.token(code)
            return client

        with ThreadPoolExecutor(CLIENTS) as pool:
            for _ in range(ROUNDS):
                answers = list(pool.map(at_once(server.code()), range(CLIENTS)))
                tokens = [answer.body["access_token"] for answer in answers if answer.status == 200]
                refused = sum(answer.error == (400, "invalid_grant") for answer in answers)
                yield len(tokens), sum(server.me(token) == 200 for token in tokens), refused

    def race(self, server):
        rounds = list(self.rounds(server))
        self.ok(all(tokens <= 1 for tokens, _, _ in rounds), "of twenty clients at once at most one gets tokens")
        self.equal([good for _, good, _ in rounds], [0] * ROUNDS, "and they are dead, since the code was presented again")
        self.equal([tokens + refused for tokens, _, refused in rounds], [CLIENTS] * ROUNDS, "the others get invalid_grant")

    def grace(self):
        if not self.adapter.grace:
            return
        database = self.environment["PGDATABASE"]
        self.db.execute(f"ALTER DATABASE {database} SET attesto_codes.replay_grace = '60s'")
        with self.server() as server:
            self.equal(list(self.rounds(server)), [(1, 1, CLIENTS - 1)] * ROUNDS,
                       "with a grace exactly one of twenty clients gets tokens, and they stay good")
        self.db.execute(f"ALTER DATABASE {database} RESET attesto_codes.replay_grace")

    def death(self):
        before = self.kept()
        with self.server(DIE="1") as server:
            code = server.code()
            try:
                self.equal(server.token(code), None, "a server dies between redemption and completion")
            except (OSError, http.client.HTTPException):
                self.ok(server.process.wait(30) is not None, "a server dies between redemption and completion")
        with self.server() as server:
            self.refused(server.token(code), "its code stays spent")
            self.equal(self.kept(), before, "no token was recorded or stored for it")
            self.equal(server.token(server.code()).status, 200, "the client starts again")

    def nothing_leaked(self, said="listening"):
        codes = [code for server in self.servers for code in server.codes]
        self.ok(len(codes) > 2 * ROUNDS, f"{len(codes)} codes were seen")
        for place, content in self.places().items():
            words = b"\n".join(set(WORDS.findall(content)))
            self.equal([code for code in codes if code.encode() in words], [], f"no code is in {place}")
            # That a search can find what is there.
            known = said if place == "the servers' output" else s256(codes[-1])
            self.ok(known.encode() in content, f"a search of {place} finds what is there")

    def places(self):
        dump = subprocess.run(["pg_dump", "--no-sync"], env={**self.environment, "PGUSER": os.environ["PGUSER"]},
                              check=True, stdout=subprocess.PIPE).stdout
        read = "SELECT string_agg(pg_read_binary_file('pg_wal/' || name), '') FROM pg_ls_waldir()"
        log = "SELECT pg_read_binary_file(current_setting('data_directory') || '/../server.log')"
        return {
            "a dump": dump,
            "the WAL": self.db.execute(read, binary=True).fetchone()[0],
            "the server log": self.db.execute(log, binary=True).fetchone()[0],
            "the servers' output": b"".join(server.output.read_bytes() for server in self.servers),
        }
