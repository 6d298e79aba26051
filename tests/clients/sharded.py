#!/usr/bin/python3
"""A proxy answers as a single server does: the same functions, answers, errors and rights. And what is its own: where a code goes, and
what a lost connection leaves."""
import base64
import contextlib
import hashlib
import json
import re
import socket
import threading
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from harness import Tap, database, until
from proxies import SHARDS, kin, need_plproxy, partition, run_script, store, without_user

DOC = Path(__file__).resolve().parents[2] / "docs" / "scale-out.md"
VERIFIER, CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
GRANT = {"client_id": "c", "subject": "s", "redirect_uri": "r"}
REDEEM = "SELECT status, reason FROM code_redeem(%s, 'c', 'r')"
FAR = 4102444800
ROLES = ["issuer", "token_endpoint", "framework", "resource_server", "sweeper"]

# The life of some codes, statement by statement. A name in braces is that of a family on the partition of its code.
LIFE = [
    """SELECT code_put('a', '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "{a}", "x": [1.50]}', 4102444800)""",
    "SELECT * FROM code_get('a')", "SELECT * FROM code_inspect('a')", "SELECT * FROM code_take('a')", "SELECT * FROM code_get('a')",
    "SELECT code_mark_consumed('a')", "SELECT * FROM code_inspect('a')", "SELECT * FROM code_take('a')", "SELECT * FROM code_take('b')",
    "SELECT code_mark_consumed('b')",
    f"""SELECT code_put('c', '{{"client_id": "c", "subject": "s", "redirect_uri": "r", "code_challenge": "{CHALLENGE}"}}', 4102444800)""",
    f"SELECT * FROM code_redeem('c', 'c', 'r', '{VERIFIER}')", "SELECT code_complete('c', 'token c', 4102444800)",
    "SELECT code_complete('c', 'token c', 4102444800)", "SELECT code_access_token_revoked('token c')", "SELECT code_family_revoked('c')",
    "SELECT code_record_access_token('c', 'token d', 4102444800)", "SELECT * FROM code_redeem('c', 'c', 'r')",
    f"SELECT * FROM code_redeem('c', 'c', 'r', '{VERIFIER}')", "SELECT code_access_token_revoked('token c')",
    "SELECT code_access_token_revoked('token d')", "SELECT code_record_access_token('c', 'token e', 4102444800)",
    "SELECT code_family_revoked('c')", "SELECT code_revoke_family('f')", "SELECT code_family_revoked('f')",
    """SELECT code_put('g', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1)""", "SELECT * FROM code_redeem('g', 'c', 'r')",
    """SELECT code_put('h', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)""",
    """SELECT * FROM code_redeem('h', 'c', 'r', meta => '{"family_id": "{h}", "n": 1}')""", "SELECT * FROM code_redeem('h', 'c', 'r')",
    "SELECT code_sweep()", "SELECT live, spent, redeemed, due, families_revoked, sampled, puts, redeems_ok, spends_oneshot FROM code_stats()",
    "SELECT code_hash('x')",
]
WRONG = [
    "SELECT code_put(NULL, '{}', 1)", "SELECT code_put('w', NULL, 1)", "SELECT code_put('w', '{}', 1)", "SELECT code_put('w', '[]', 1)",
    "SELECT code_put('', '{}', 1)", "SELECT code_put('a', '{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}', 1)",
    "SELECT code_take(NULL)", "SELECT code_take('')", "SELECT code_get(NULL)", "SELECT code_redeem(NULL, 'c')", "SELECT code_redeem('a', NULL)",
    "SELECT code_redeem('a', 'c', meta => '[]')", "SELECT code_redeem('a', 'c', meta => '{\"family_id\": 5}')", "SELECT code_complete('nowhere')",
    "SELECT code_complete('g', 'j', 1)", "SELECT code_mark_consumed('a', NULL)", "SELECT code_record_access_token('c', 'token c', 1)",
    "SELECT code_record_access_token(NULL, 'j', 1)", "SELECT code_revoke_family('')", "SELECT code_family_revoked(NULL)",
    "SELECT code_access_token_revoked(NULL)", "SELECT code_access_token_revoked('')", "SELECT code_sweep(0)", "SELECT code_hash(NULL)",
    "SELECT code_issue(NULL)", "SELECT code_issue('{}')", "SELECT code_issue('[]')", "SELECT code_issue('{}', NULL)", "SELECT code_issue('{}', 0)",
    "SELECT code_issue('{}', 601)", "SELECT code_issue(NULL, 601)", "SELECT code_issue(NULL, NULL)",
    "SELECT code_put(NULL, '{\"family_id\": \"anywhere\"}', 1)", "SELECT code_mark_consumed(NULL, '{\"family_id\": \"anywhere\"}')",
    "SELECT code_redeem(NULL, 'c', meta => '{\"family_id\": \"anywhere\"}')", "BEGIN READ ONLY; SELECT code_sweep()",
    "BEGIN READ ONLY; SELECT code_put('w', '{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}', 1)", "BEGIN READ ONLY; SELECT code_take('a')", "BEGIN READ ONLY; SELECT code_redeem('a', 'c')",
    "BEGIN READ ONLY; SELECT code_mark_consumed('a')", "BEGIN READ ONLY; SELECT code_complete('a')",
    "BEGIN READ ONLY; SELECT code_revoke_family('a')", "BEGIN READ ONLY; SELECT code_record_access_token('a', 'j', 1)",
    "BEGIN READ ONLY; SELECT code_issue('{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}')",
]


def connect(dsn, user=None):
    return psycopg.connect(dsn, autocommit=True, **({"user": user} if user else {}))


def answer(conn, sql):
    """The rows of a statement, or what its error says."""
    for code in "ah":
        sql = sql.replace(f"{{{code}}}", kin(code))
    try:
        return conn.execute(sql).fetchall()
    except psycopg.Error as error:
        diag = error.diag
        return diag.sqlstate, *(re.sub(r"^(\S+\(\d\): \[\w+\] REMOTE ERROR|Remote \w+): ", "", text or "")
                                for text in (diag.message_primary, diag.message_detail, diag.message_hint))
    finally:
        conn.execute("ROLLBACK")


def same_functions(tap, single, proxy):
    sql = """SELECT proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid), proacl::text ~ '[{,]=' AS is_public
             FROM pg_proc WHERE proname LIKE 'code%%' AND pronamespace = 'public'::regnamespace ORDER BY 1, 2"""
    there, here = (set(conn.execute(sql).fetchall()) for conn in (single, proxy))
    tap.equal(there - here, set(), "every function of the extension is there, with its arguments, defaults and types, and not for PUBLIC")
    tap.equal([name for name, *_ in here - there], ["code_access_token_revoked"], "and one more, for callers who know the family")


def same_answers(tap, single, proxy):
    for sql in LIFE:
        tap.equal(answer(proxy, sql), answer(single, sql), f"the same answer: {sql[:90]}")
    for sql in WRONG:
        got, wanted = answer(proxy, sql), answer(single, sql)
        if sql.startswith("BEGIN"):
            got, wanted = got[0], wanted[0]
        tap.equal(got, wanted, f"the same error, {wanted[0] if isinstance(wanted, tuple) else wanted}: {sql[:90]}")
    for family in ["NULL", "''", "repeat('x', 1025)"]:
        tap.equal(answer(proxy, f"SELECT code_access_token_revoked('t', {family})"), answer(single, f"SELECT code_family_revoked({family})"),
                  f"a resource server names no family: {family}")


def issue(conn, **members):
    """A code, and its hash."""
    code = conn.execute("SELECT code_issue(%s)", [json.dumps(GRANT | members)]).fetchone()[0]
    return code, conn.execute("SELECT code_hash(%s)", [code]).fetchone()[0]


def issued(tap, proxy, shards):
    code, code_hash = issue(proxy)
    tap.ok(re.fullmatch(r"[A-Za-z0-9_-]{43}", code), "a code of 43 characters")
    data = proxy.execute("SELECT data FROM code_get(%s)", [code_hash]).fetchone()[0]
    tap.equal(data["family_id"], code_hash, "without a family_id it is a family of its own")
    tap.equal([len(shard.execute("SELECT FROM authorizations WHERE code_hash = %s", [code_hash]).fetchall()) for shard in shards],
              [int(partition(code_hash) % SHARDS == number) for number in range(SHARDS)], "it is on the shard of its hash alone")
    hashes = [issue(proxy, family_id="one family")[1] for _ in range(20)]
    tap.equal({partition(code_hash) for code_hash in hashes}, {partition("one family")}, "codes of one family are on its partition")
    for seconds in (1, 600):
        life = proxy.execute("SELECT expires_at - extract(epoch FROM clock_timestamp()) FROM code_get(code_hash(code_issue(%s, %s)))",
                             [json.dumps(GRANT), seconds]).fetchone()[0]
        tap.ok(seconds - 1 < life <= seconds + 1, f"expires_in {seconds}")


def clock(tap, proxy, shard_dsns):
    """The code expires by the clock of the shard, here an hour ahead."""
    with connect(shard_dsns[0]) as shard:
        name = shard.info.dbname
        shard.execute("CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
                      " AS $$SELECT pg_catalog.clock_timestamp() + interval '1 hour'$$")
        shard.execute(f"ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public")
        proxy.execute("UPDATE shards.map SET connection = connection")
        family_id = next(f"clock {number}" for number in range(99) if partition(f"clock {number}") % SHARDS == 0)
        code_hash = issue(proxy, family_id=family_id)[1]
        lives = proxy.execute("SELECT expires_at - extract(epoch FROM now()) FROM code_get(%s)", [code_hash]).fetchone()[0]
        tap.ok(3600 < lives < 3700, "a code expires by the clock of its shard")
        shard.execute(f"ALTER DATABASE {name} RESET search_path")
        proxy.execute("UPDATE shards.map SET connection = connection")


def family(tap, proxy):
    """Reuse of one code revokes the codes and tokens of its family, wherever they came from."""
    (_, first), (_, second) = issue(proxy, family_id="F"), issue(proxy, family_id="F")
    tap.equal(proxy.execute(REDEEM, [first]).fetchone()[0], "ok", "a code of a family")
    proxy.execute("SELECT code_complete(%s, 'F 1', %s)", [first, FAR])
    tap.equal(proxy.execute("SELECT code_record_access_token('F', 'F 2', %s)", [FAR]).fetchone()[0], True, "a token of a refresh")
    tap.equal(proxy.execute(REDEEM, [first]).fetchone()[0], "consumed", "reuse")
    tap.equal(proxy.execute(REDEEM, [second]).fetchone(), ("error", "revoked"), "another code of the family is revoked")
    tap.equal(proxy.execute("SELECT code_family_revoked('F'), code_access_token_revoked('F 1'), code_access_token_revoked('F 2'),"
                            " code_access_token_revoked('F 2', 'F'), code_record_access_token('F', 'F 3', %s)", [FAR]).fetchone(),
              (True, True, True, True, False), "so are the family, its tokens, and the next one")
    # A family on another partition than its code could be revoked in one place and not in the other.
    other = next(name for number in range(99) if partition(name := f"family {number}") % SHARDS != partition("s") % SHARDS)
    put = "SELECT code_put('s', %s, 4102444800)"
    refused = [(put, [json.dumps(GRANT | {"family_id": other})])]
    proxy.execute(put, [json.dumps(GRANT)])
    meta = json.dumps({"family_id": other})
    refused += [("SELECT code_redeem('s', 'c', 'r', meta => %s)", [meta]), ("SELECT code_complete('s', meta => %s)", [meta]),
                ("SELECT code_mark_consumed('s', %s)", [meta])]
    for sql, arguments in refused:
        try:
            proxy.execute(sql, arguments)
            tap.ok(False, f"refused: {sql}")
        except psycopg.Error as error:
            tap.equal(error.sqlstate, "22023", f"a family on another partition is refused: {sql}")
            tap.ok(other not in str(error), "and not named")
    tap.equal(proxy.execute(REDEEM, ["s"]).fetchone()[0], "ok", "and the code is still live")


def transactions(tap, proxy):
    """What docs/scale-out.md says of a transaction on the proxy."""
    code_hash = issue(proxy)[1]
    redeem = "SELECT status FROM code_redeem(%s, 'c', 'r', meta => '{}')"
    proxy.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    proxy.execute("SELECT code_put('own', %s, 4102444800)", [json.dumps(GRANT)])
    tap.equal([proxy.execute(redeem, [name]).fetchone()[0] for name in ["own", "own", code_hash]], ["ok", "consumed", "ok"],
              "in one transaction a code is put, redeemed, and presented as by another party")
    proxy.execute("SELECT code_complete(%s, 'of a rollback', 4102444800)", [code_hash])
    proxy.execute("ROLLBACK")
    tap.equal([proxy.execute("SELECT code_family_revoked(%s)", [name]).fetchone()[0] for name in ["own", code_hash]], [True, False],
              "and all of it stays after the rollback")
    names = [name for number in range(99) if partition(name := f"jti {number}") % SHARDS in (0, 1)]
    here, there = (next(name for name in names if partition(name) % SHARDS == shard) for shard in (0, 1))
    record = "SELECT code_record_access_token(%s, 'one jti', 4102444800)"
    tap.equal([answer(proxy, record.replace("%s", f"'{family}'"))[0] for family in (here, here, there)], [(True,), "23505", (True,)],
              "a jti is taken on its shard")
    proxy.execute("SELECT code_revoke_family(%s)", [there])
    tap.equal(proxy.execute("SELECT code_access_token_revoked('one jti')").fetchone()[0], True, "revoked on one shard is revoked")


def straddling(tap, single):
    """The query that tells whether a store that was filled without a proxy can be split."""
    [query] = statements("straddling")
    single.execute("TRUNCATE authorizations")
    for _ in range(4):
        issue(single)
    tap.ok(single.execute(query).fetchone()[0] >= 2, "codes that one server has issued are on another partition than their family")
    single.execute("TRUNCATE authorizations")
    single.execute("SELECT code_put('x', %s, 4102444800), code_put('y', %s, 4102444800)",
                   [json.dumps(GRANT), json.dumps(GRANT | {"family_id": kin("y")})])
    tap.equal(single.execute(query).fetchone()[0], 0, "those without a family, and with one that fits, are not")


def map_of_two(tap, proxy):
    for sql in statements("map"):
        proxy.execute(sql)
    tap.equal(proxy.execute("SELECT connection, count(*) FROM shards.map GROUP BY 1 ORDER BY 1").fetchall(),
              [("host=shard1 dbname=codes_1", 128), ("host=shard2 dbname=codes_1", 128)], "the map of the page is whole")
    tap.ok("all 256 partitions" in str(answer(proxy, "DELETE FROM shards.map WHERE partition >= 128")), "half a map is refused")


def other_encoding(tap):
    with database("latin", "", "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'") as dsn:
        said = run_script(dsn, capture_output=True, text=True)
        tap.ok(said.returncode != 0 and "is not UTF8" in said.stderr, "a proxy with another encoding is refused")


def in_a_schema(tap):
    """The extension in another schema than public."""
    with store("oauth", shards=2, schema="oauth") as ([proxy_dsn], _), connect(proxy_dsn) as proxy:
        code = proxy.execute("SELECT oauth.code_issue(%s)", [json.dumps(GRANT)]).fetchone()[0]
        tap.equal(proxy.execute("SELECT status FROM oauth.code_redeem(oauth.code_hash(%s), 'c', 'r', meta => '{}')", [code]).fetchone()[0], "ok",
                  "in a schema of its own a code is issued and redeemed")
        tap.equal(proxy.execute("SELECT oauth.code_access_token_revoked('t'), oauth.code_access_token_revoked('t', 'f'), oauth.code_sweep(),"
                                " redeemed FROM oauth.code_stats()").fetchone(), (False, False, 0, 1), "and all shards are asked")


def spends(proxy):
    return proxy.execute("SELECT spends_statement, spends_oneshot + spends_resident + spends_joined FROM code_stats()").fetchone()


def quick(tap, proxy):
    """The shard sees a statement of its own, whatever the caller's transaction is."""
    before = spends(proxy)
    for begin in ["SELECT", "BEGIN", "BEGIN ISOLATION LEVEL SERIALIZABLE"]:
        for meta in [None, "{}"]:
            code_hash = issue(proxy)[1]
            proxy.execute(begin)
            proxy.execute("SELECT * FROM code_redeem(%s, 'c', 'r', meta => %s)", [code_hash, meta])
            proxy.execute("ROLLBACK")
    proxy.execute("DO $$ BEGIN PERFORM code_take(%s); END $$" % "code_hash(code_issue('{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}'))")
    after = spends(proxy)
    tap.equal((after[0] - before[0], after[1] - before[1]), (7, 0), "seven spends, most of them in transactions: all the quick way")


def blocks(kind):
    return re.findall(rf"^```sql {kind}\n(.*?)^```", DOC.read_text(), re.M | re.S)


def statements(kind):
    return [sql for block in blocks(kind) for sql in block.split(";\n") if sql.strip()]


def grant_rights(conn, kind):
    for sql in statements(kind):
        # Here all databases are on one server.
        with contextlib.suppress(psycopg.errors.DuplicateObject):
            conn.execute(sql)


ALLOWED = {
    "issuer": {"code_issue"},
    "token_endpoint": {"code_redeem", "code_complete", "code_record_access_token", "code_family_revoked"},
    "framework": {"code_put", "code_get", "code_inspect", "code_take", "code_redeem", "code_mark_consumed", "code_record_access_token",
                  "code_revoke_family", "code_family_revoked"},
    "resource_server": {"code_access_token_revoked"},
    "sweeper": {"code_sweep", "code_stats"},
}
CALLS = {
    "code_issue": "SELECT code_issue('{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}')",
    "code_put": "SELECT code_put(gen_random_uuid()::text, '{\"client_id\": \"c\", \"subject\": \"s\", \"redirect_uri\": \"r\"}', 4102444800)",
    "code_get": "SELECT code_get('x')", "code_inspect": "SELECT code_inspect('x')", "code_take": "SELECT code_take('x')",
    "code_mark_consumed": "SELECT code_mark_consumed('x')", "code_redeem": "SELECT code_redeem('x', 'c')",
    "code_complete": "SELECT code_complete('x')", "code_record_access_token": "SELECT code_record_access_token('x', gen_random_uuid()::text, 4102444800)",
    "code_revoke_family": "SELECT code_revoke_family('x')", "code_family_revoked": "SELECT code_family_revoked('x')",
    "code_access_token_revoked": "SELECT code_access_token_revoked('x')",
    "code_sweep": "SELECT code_sweep()", "code_stats": "SELECT code_stats()", "code_hash": "SELECT code_hash('x')",
}


def may(conn, call):
    try:
        conn.execute(CALLS[call])
        return True
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.errors.NoDataFound:
        return True


def rights(tap, stack, proxy_dsn, shard_dsns):
    for dsn, kind in [(proxy_dsn, "proxy"), *((dsn, "shard") for dsn in shard_dsns)]:
        with connect(dsn) as conn:
            grant_rights(conn, kind)
    for role in ROLES:
        conn = stack.enter_context(connect(proxy_dsn, role))
        tap.equal({call for call in CALLS if may(conn, call)}, ALLOWED[role], f"{role} may call through the proxy what it needs, and no more")
    with connect(proxy_dsn, "resource_server") as conn:
        tap.equal(conn.execute("SELECT code_access_token_revoked('x', 'y')").fetchone()[0], False, "the resource server may name the family")
    with connect(shard_dsns[0], "issuer") as conn:
        tap.equal({call for call in CALLS if may(conn, call)}, {"code_put"}, "the issuer's role on a shard may only put")
        try:
            conn.execute("SELECT FROM authorizations")
            tap.ok(False, "it sees no table")
        except psycopg.errors.InsufficientPrivilege:
            tap.ok(True, "it sees no table")


def hostile(tap, proxy_dsn, superuser):
    """What a caller plants changes neither the shard nor the answer."""
    superuser.execute("CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO framework")
    with connect(proxy_dsn, "framework") as conn:
        conn.execute("""
            CREATE FUNCTION evil.get_byte(bytea, bigint) RETURNS integer LANGUAGE sql AS 'SELECT 0';
            CREATE FUNCTION evil.convert_to(text, text) RETURNS bytea LANGUAGE sql AS 'SELECT ''\\x00''::bytea';
            CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''\\x00''::bytea';
            CREATE FUNCTION evil.never(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true';
            CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = evil.never);
            CREATE FUNCTION evil.nothing(jsonb, text) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
            CREATE OPERATOR evil.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = evil.nothing);
            SET search_path = evil, pg_catalog, public""")
        codes = [f"hostile {number}" for number in range(8)]
        for code in codes:
            conn.execute("SELECT code_put(%s, %s, 4102444800)", [code, json.dumps(GRANT)])
        tap.equal([superuser.execute("SELECT status FROM code_take(%s)", [code]).fetchone()[0] for code in codes], ["ok"] * 8,
                  "functions that a caller plants do not change where its codes go")
        other = next(name for number in range(99) if partition(name := f"family {number}") != partition("hostile"))
        try:
            conn.execute("SELECT code_put('hostile', %s, 4102444800)", [json.dumps(GRANT | {"family_id": other})])
            tap.ok(False, "nor what is refused")
        except psycopg.errors.InvalidParameterValue:
            tap.ok(True, "nor what is refused")


class Relay:
    """A wire between a proxy and a shard. Once it is told to, it carries the next statement, and cuts off before its answer."""

    def __init__(self, host, port):
        self.target, self.cut = (host, port), False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, far = self.server.accept()[0], socket.create_connection(self.target)
                for pair in [(near, far, False), (far, near, True)]:
                    threading.Thread(target=self.carry, args=pair, daemon=True).start()

    def carry(self, source, target, is_answer):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.cut:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def lost_connections(tap, proxy, shard_dsns):
    info = psycopg.conninfo.conninfo_to_dict(shard_dsns[0])
    relay = Relay(info["host"], int(info["port"]))
    proxy.execute("UPDATE shards.map SET connection = %s WHERE partition %% %s = 0",
                  [make_conninfo(without_user(shard_dsns[0]), host="127.0.0.1", port=relay.port), SHARDS])

    def on_first(**members):
        return next(code_hash for _ in range(99) if partition(code_hash := issue(proxy, **members)[1]) % SHARDS == 0)

    def lost(sql, code_hash):
        relay.cut = True
        try:
            proxy.execute(sql, [code_hash])
            return "an answer"
        except psycopg.Error as error:
            return error.sqlstate
        finally:
            relay.cut = False

    code_hash = on_first()
    tap.equal(lost(REDEEM, code_hash), "XX000", "the connection to the shard is lost between the spend and the answer: an error")
    tap.equal(proxy.execute(REDEEM, [code_hash]).fetchone(), ("error", "spent"), "the code is spent")
    code_hash = on_first()
    tap.equal(lost("SELECT * FROM code_redeem(%s, 'c', 'r', meta => '{}')", code_hash), "XX000", "the same with meta")
    tap.equal(proxy.execute(REDEEM, [code_hash]).fetchone()[0], "consumed", "the code is redeemed")
    code_hash = on_first()
    proxy.execute(REDEEM, [code_hash])
    complete = "SELECT code_complete(%s, 'lost', 4102444800)"
    tap.equal(lost(complete, code_hash), "XX000", "the same in code_complete")
    tap.equal(proxy.execute(complete, [code_hash]).fetchone()[0], "ok", "which answers ok when it is called again")

    # A call that is cancelled while the shard waits for a lock.
    code_hash, other = on_first(), on_first(subject="other")
    with connect(shard_dsns[0]) as shard:
        shard.execute("BEGIN")
        shard.execute("SELECT FROM authorizations WHERE code_hash = %s FOR UPDATE", [code_hash])
        proxy.execute("SET statement_timeout = '300ms'")
        tap.equal(answer(proxy, f"SELECT * FROM code_redeem('{code_hash}', 'c', 'r')")[0], "57014", "a call is cancelled on the proxy")
        proxy.execute("RESET statement_timeout")
        tap.equal(proxy.execute("SELECT status, data->>'subject' FROM code_redeem(%s, 'c', 'r')", [other]).fetchone(), ("ok", "other"),
                  "the next call gets its own answer")
        until(lambda: shard.execute("SELECT count(*) = 0 FROM pg_locks WHERE NOT granted").fetchone()[0])
        shard.execute("ROLLBACK")
    tap.equal(proxy.execute(REDEEM, [code_hash]).fetchone()[0], "ok", "the shard's call was cancelled, too, and spent nothing")

    # A shard's backends end.
    code_hash = on_first()
    with connect(shard_dsns[0]) as shard:
        shard.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                      " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'")
    try:
        answers = proxy.execute(REDEEM, [code_hash]).fetchone()
    except psycopg.Error:
        answers = proxy.execute(REDEEM, [code_hash]).fetchone()
    tap.equal(answers[0], "ok", "a shard's backend was ended: at most one call fails, and it spent nothing")

    # One shard is away.
    proxy.execute("UPDATE shards.map SET connection = %s WHERE partition %% %s = 0",
                  [make_conninfo(without_user(shard_dsns[0]), host="127.0.0.1", port=1), SHARDS])
    codes = [issue(proxy, family_id=f"family {number}")[1] for number in range(40) if partition(f"family {number}") % SHARDS]
    tap.equal({proxy.execute(REDEEM, [code_hash]).fetchone()[0] for code_hash in codes}, {"ok"}, "one shard is away: the others go on")
    for sql in [f"SELECT code_take('{code_hash}')", "SELECT code_access_token_revoked('t')", "SELECT * FROM code_stats()"]:
        try:
            proxy.execute(sql)
            tap.ok(False, f"an error: {sql}")
        except psycopg.Error as error:
            tap.ok("onnection refused" in str(error), f"what needs it fails, and says why: {error.diag.sqlstate} {str(error).splitlines()[0][:60]}")
    proxy.execute("UPDATE shards.map SET connection = %s WHERE partition %% %s = 0", [without_user(shard_dsns[0]), SHARDS])
    tap.equal(proxy.execute("SELECT code_access_token_revoked('t')").fetchone()[0], False, "it is back")


def secrets(tap, proxy_dsn, shard_dsns, superuser):
    """Whatever the servers log, no line has a code."""
    for dsn in [proxy_dsn, *shard_dsns]:
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        for setting in ["log_statement = 'all'", "log_min_duration_statement = 0", "log_parameter_max_length_on_error = -1",
                        "session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0",
                        "auto_explain.log_nested_statements = on", "auto_explain.log_verbose = on"]:
            superuser.execute(f"ALTER DATABASE {name} SET {setting}")
    superuser.execute("UPDATE shards.map SET connection = connection")
    with connect(proxy_dsn) as conn:
        code = conn.execute("SELECT code_issue(%s)", [json.dumps(GRANT)]).fetchone()[0]
        code_hash = base64.urlsafe_b64encode(hashlib.sha256(code.encode()).digest()).rstrip(b"=").decode()
        log = conn.execute("SELECT pg_read_file(current_setting('data_directory') || '/../server.log')").fetchone()[0]
    tap.ok(code_hash in log, "the shard logs the hash")
    tap.equal([line for line in log.splitlines() if code in line], [], "no server logs the code")


def main():
    need_plproxy()
    tap = Tap()
    with contextlib.ExitStack() as stack:
        single = stack.enter_context(connect(stack.enter_context(database("single", "CREATE EXTENSION attesto_codes"))))
        [proxy_dsn], shard_dsns = stack.enter_context(store("sharded"))
        proxy, *shards = [stack.enter_context(connect(dsn)) for dsn in [proxy_dsn, *shard_dsns]]
        same_functions(tap, single, proxy)
        same_answers(tap, single, proxy)
        straddling(tap, single)
        issued(tap, proxy, shards)
        clock(tap, proxy, shard_dsns)
        family(tap, proxy)
        transactions(tap, proxy)
        quick(tap, proxy)
        rights(tap, stack, proxy_dsn, shard_dsns)
        hostile(tap, proxy_dsn, proxy)
        lost_connections(tap, proxy, shard_dsns)
        secrets(tap, proxy_dsn, shard_dsns, proxy)
        map_of_two(tap, proxy)
    in_a_schema(tap)
    other_encoding(tap)
    with connect("") as conn:
        for role in ROLES:
            conn.execute(f"DROP ROLE {role}")
    tap.done()


if __name__ == "__main__":
    main()
