#!/usr/bin/python3
"""What README.md and docs/ say is so: the statements print what stands there, the programs redeem codes, the
listeners revoke families, the roles may call their functions, the reference names every function and setting, and every
link leads somewhere.

    docs.py --print [FILE]   prints README.md, or another page, with the output of its statements filled in
    docs.py --links          checks the links alone, which needs no server
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from harness import Tap, database

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
# Who has two minutes reads no more.
README_LINES = 200
POSTGRESQL_JAR = "/usr/share/java/postgresql.jar"
# Language of the fenced block: name, file, and the command before it.
PROGRAMS = {
    "sh redeem": ("psql", "redeem.sh", ["bash"]),
    "js redeem": ("Node", "redeem.js", ["node"]),
    "python redeem": ("Python", "redeem.py", [sys.executable]),
    "python django": ("Django", "sketch.py", [str(ROOT / "target/clients/python/bin/python"),
                                              str(ROOT / "tests/clients/django_sketch.py")]),
    "java redeem": ("Java", "Redeem.java", ["java", "-cp", POSTGRESQL_JAR]),
}
# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
GRANT = {"client_id": "s6BhdRkqt3", "subject": "alice", "redirect_uri": "https://client.example/cb",
         "code_challenge": CHALLENGE, "family_id": "fam-1"}
LISTENERS = {
    "js listen": ("Node", "listen.js", ["node"]),
    "python listen": ("Python", "listen.py", [sys.executable]),
}
# The roles of operations.md, and how the reference calls them.
ROLES = {
    "issuer": "the issuer (authorization endpoint)",
    "token_endpoint": "the token endpoint",
    "framework": "a framework with checks of its own",
    "resource_server": "a resource server",
    "sweeper": "a sweeper",
}
REQUEST = [VERIFIER, GRANT["client_id"], GRANT["redirect_uri"]]
SETUP = """
CREATE EXTENSION attesto_codes;
CREATE TABLE tokens (subject text NOT NULL, family_id text NOT NULL, jti text NOT NULL);
-- What can happen between code_redeem and code_complete, by the subject of the code.
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM authorizations WHERE NEW.subject = 'swept' AND subject = 'swept';
  PERFORM code_take(code_hash) FROM authorizations WHERE NEW.subject = 'taken' AND subject = 'taken';
  PERFORM code_redeem(code_hash, client_id, redirect_uri, '""" + VERIFIER + """')
    FROM authorizations WHERE NEW.subject = 'replayed' AND subject = 'replayed';
  PERFORM code_redeem(code_hash, client_id, redirect_uri)
    FROM authorizations WHERE NEW.subject = 'tried' AND subject = 'tried';
  PERFORM code_revoke_family(NEW.family_id) WHERE NEW.subject = 'revoked';
  RETURN NEW;
END $$;
CREATE TRIGGER interfere BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION interfere();
"""
# A program whose issue and redeem need more lines shows too much else.
PROGRAM_LINES = 14
# What the programs log of a call of code_complete that raises an error.
NO_TOKENS = "no tokens may be sent for this authorization code"
# What is printed between two blocks of statements.
CUT = "---- tests/clients/docs.py ----"
# Each block of statements, and what they print if that is shown.
SHOWN = re.compile(r"^```sql\n(.*?)^```\n(?:^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def block(language):
    """The one fenced block in this language, wherever it is."""
    pages = "\n".join(page.read_text() for page in [README, *DOCS])
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", pages, re.DOTALL | re.MULTILINE)
    return found


def printed(page):
    """What each block of statements of a page prints, one after the other in a new database. README.md makes the extension itself."""
    script = "".join(f"{sql}\\echo {CUT}\n" for sql, _ in SHOWN.findall(page.read_text()))
    with database("statements", "SELECT 1" if page == README else "CREATE EXTENSION attesto_codes") as dsn:
        output = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", dsn], input=script,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False).stdout
    return [part.rstrip("\n") + "\n" * bool(part) for part in output.split(CUT + "\n")]


def filled_in(page):
    outputs = iter(printed(page))

    def fill(shown):
        output = next(outputs)
        return f"```sql\n{shown[1]}```\n" + (f"```text\n{output}```\n" if output else "")

    return SHOWN.sub(fill, page.read_text())


class Program:
    """A program of the pages, and the database that it works on."""

    def __init__(self, dsn, db, folder, language, program):
        self.name, file, self.command = program
        path = Path(folder, file)
        self.text = block(language)
        path.write_text(self.text)
        self.command = [*self.command, str(path)]
        self.db = db
        words = conninfo_to_dict(dsn)
        url = "jdbc:postgresql://{host}:{port}/{dbname}?user={user}".format(**words)
        self.environment = {**os.environ, "PGDATABASE": words["dbname"], "JDBC_URL": url}

    def lines(self):
        """How many lines issue and redeem have, or the whole sketch, without blank ones and lone braces."""
        program = re.search(r"^[^\n]*\bissue\(.*?(?=^ *\S+ The command line)", self.text, re.DOTALL | re.MULTILINE)
        text = program[0] if program else self.text
        return len(re.findall(r"^.*\w.*$", re.sub(r"^SQL$", "", text, flags=re.MULTILINE), re.MULTILINE))

    def code(self, case, lifetime=600, **changes):
        """Puts a code, and gives its plaintext."""
        code = f"{self.name}: {case}"
        self.db.execute("SELECT code_put(code_hash(%s), %s, %s)",
                        [code, json.dumps({**GRANT, **changes}), int(time.time()) + lifetime])
        return code

    def start(self, *arguments):
        return subprocess.Popen([*self.command, *arguments], env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def says(self, *arguments):
        """What it answers, and what it logs."""
        with self.start(*arguments) as process:
            output, log = process.communicate(timeout=120)
        return output.strip(), log

    def redeem(self, code, request=None):
        """What it answers to a token request."""
        return self.says("redeem", code, *(request or REQUEST))[0]

    def is_refused(self, tap, code, why, name, request=None):
        """Refuses the code, and logs the reason."""
        output, log = self.says("redeem", code, *(request or REQUEST))
        tap.equal(output, "invalid_grant", f"{self.name}: refuses {name}")
        tap.ok(why in log, f"{self.name}: and logs: {why}")
        if why not in log:
            print(f"# it logs {log!r}", flush=True)

    def state(self, code):
        return self.db.execute("SELECT status FROM code_inspect(code_hash(%s))", [code]).fetchone()

    def tokens(self):
        return self.db.execute("SELECT subject, family_id FROM tokens").fetchall()

    def revoked(self):
        """The tokens that are recorded, and whether each is revoked."""
        return self.db.execute("SELECT code_access_token_revoked(jti) FROM authorization_access_tokens").fetchall()

    def names(self):
        """How many names are revoked."""
        return self.db.execute("SELECT count(*) FROM authorization_revoked_families").fetchone()[0]

    def forget(self):
        self.db.execute("TRUNCATE authorizations, tokens, authorization_access_tokens, authorization_revoked_families")


def redeems(tap, program):
    name = program.name
    tap.ok(program.lines() <= PROGRAM_LINES, f"{name}: issue and redeem have at most {PROGRAM_LINES} lines")
    code, _ = program.says("issue", json.dumps({**GRANT, "family_id": None}))
    tap.ok(re.fullmatch(r"[\w-]{43}", code), f"{name}: issues a code")
    tap.equal(program.redeem(code), "tokens for alice", f"{name}: redeems it")
    tap.equal((len(program.tokens()), program.revoked()), (1, [(False,)]), f"{name}: its token is good")
    program.is_refused(tap, code, "pkce_failed", "a reuse without the verifier", ["", *REQUEST[1:]])
    tap.equal(program.revoked(), [(False,)], f"{name}: its token is still good")
    program.is_refused(tap, code, "no tokens: consumed", "a reuse")
    tap.equal((len(program.tokens()), program.revoked()), (1, [(True,)]), f"{name}: its token is revoked")
    program.forget()
    program.is_refused(tap, "never issued", "no tokens: unknown", "an unknown code")


def refuses(tap, program):
    name = program.name
    wrong = [REQUEST[:member] + ["wrong"] + REQUEST[member + 1:] for member in range(len(REQUEST))]
    # The request, the lifetime of the code, and what differs in its grant.
    for reason, request, lifetime, changes in [
            ("pkce_failed", wrong[0], 600, {}), ("client_mismatch", wrong[1], 600, {}),
            ("redirect_uri_mismatch", wrong[2], 600, {}), ("expired", REQUEST, -1, {}),
            ("pkce_failed", REQUEST, 600, {"code_challenge": None}),
            ("dpop_proof_required", REQUEST, 600, {"dpop_jkt": "thumbprint"}),
            ("revoked", REQUEST, 600, {"family_id": "fam-2"})]:
        code = program.code(f"{reason} {changes}", lifetime, **changes)
        if reason == "revoked":
            program.db.execute("SELECT code_revoke_family('fam-2')")
        program.is_refused(tap, code, f"no tokens: {reason}", f"a code: {reason} {changes}", request)
        tap.equal(program.state(code), ("spent",), f"{name}: and the code is spent")
    program.is_refused(tap, program.code("twice"), "pkce_failed", "a wrong verifier", wrong[0])
    program.is_refused(tap, f"{name}: twice", "no tokens: spent", "the right one after it")
    tap.equal((program.tokens(), program.revoked()), ([], []), f"{name}: stores no tokens for them")
    program.forget()


def completes_only_what_is_its_own(tap, program):
    """What happens between code_redeem and code_complete."""
    name = program.name
    # Only code_redeem by somebody who passes every check revokes. The revocation of the last one is rolled back with the tokens.
    for what, why, names in [("swept", "no such authorization code", 0), ("taken", NO_TOKENS, 0), ("replayed", NO_TOKENS, 2),
                             ("revoked", NO_TOKENS, 0)]:
        program.is_refused(tap, program.code(what, subject=what), why, f"a code that is {what} before code_complete")
        tap.equal((program.tokens(), program.revoked(), program.names()), ([], [], names),
                  f"{name}: stores no tokens, and {names} names are revoked")
        program.forget()
    tap.equal(program.redeem(program.code("tried", subject="tried")), "tokens for tried",
              f"{name}: redeems a code that somebody tries without the verifier")
    program.forget()


def submits_twice(tap, program):
    """Two equal requests at once. With a grace the first one counts."""
    name = program.name

    def answers(code):
        both = [program.start("redeem", code, *REQUEST) for _ in range(2)]
        return sorted(process.communicate(timeout=120)[0].strip() for process in both)

    got = answers(program.code("at once"))
    tap.equal(got[0], "invalid_grant", f"{name}: at most one of two equal requests gets tokens")
    tap.equal((len(program.tokens()), {revoked for (revoked,) in program.revoked()} - {True}),
              (got.count("tokens for alice"), set()), f"{name}: and those are revoked")
    program.forget()
    program.db.execute("ALTER DATABASE docs SET attesto_codes.replay_grace = 60")
    tap.equal(answers(program.code("at once, with a grace")), ["invalid_grant", "tokens for alice"],
              f"{name}: with a grace one of them gets tokens")
    tap.equal((program.revoked(), program.names()), ([(False,)], 0), f"{name}: which are good")
    program.forget()
    tap.equal(program.redeem(program.code("grace", subject="replayed")), "tokens for replayed",
              f"{name}: with a grace, a second request before code_complete does no harm")
    program.db.execute("ALTER DATABASE docs RESET attesto_codes.replay_grace")
    program.forget()


def reused(db, code, family_id):
    """Redeems a code, and presents it again in a transaction that is rolled back."""
    with db.transaction(), db.cursor() as cursor:
        cursor.execute("SELECT code_put(code_hash(%s), %s, 1)", [code, json.dumps({**GRANT, "family_id": family_id})])
    db.execute("SELECT * FROM code_take(code_hash(%s))", [code])
    db.execute("SELECT code_record_access_token(%s, %s, %s)", [family_id, code, int(time.time()) + 600])
    db.execute("SELECT code_mark_consumed(code_hash(%s))", [code])
    with db.transaction(force_rollback=True):
        db.execute("SELECT * FROM code_take(code_hash(%s))", [code])


def listens(tap, program):
    """Two reuses, the first of them twice: one line each."""
    with subprocess.Popen(program.command, env=program.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            tap.equal(process.stdout.readline(), "listening\n", f"{program.name}: listens")
            for family_id in [f"{program.name}-1", f"{program.name}-2"]:
                reused(program.db, family_id, family_id)
                said = re.sub(r"at \d+:", "at …:", process.stdout.readline())
                tap.equal(said, f"code of alice for s6BhdRkqt3 used again at …: family {family_id} revoked\n",
                          f"{program.name}: hears of a reuse that was rolled back, once")
                tap.equal(program.db.execute("SELECT code_access_token_revoked(%s)", [family_id]).fetchone(), (True,),
                          f"{program.name}: and has revoked the family")
                program.db.execute("SELECT * FROM code_take(code_hash(%s))", [family_id])
            for strange in ["x", "[]", "{}", '{"family_id": null}', '{"family_id": ""}']:
                program.db.execute("SELECT pg_notify('attesto_codes_reuse', %s)", [strange])
                tap.ok(process.stdout.readline().startswith("not revoked: "), f"{program.name}: survives {strange}")
        finally:
            process.terminate()


def prints_what_is_shown(tap):
    pages = [page for page in [README, *DOCS] if SHOWN.search(page.read_text())]
    tap.ok(README in pages, "the quick start is there")
    for page in pages:
        shown = SHOWN.findall(page.read_text())
        for number, ((_, wanted), got) in enumerate(zip(shown, printed(page), strict=False), 1):
            tap.equal(got, wanted, f"block {number} of {page.relative_to(ROOT)} prints what the page shows")


def gives_rights(tap):
    """The roles of operations.md may call the functions that the reference lists for each, and no others."""
    with database("roles", "CREATE SCHEMA oauth; CREATE EXTENSION attesto_codes SCHEMA oauth") as dsn, \
            psycopg.connect(dsn, autocommit=True) as db:
        db.execute(block("sql roles"))
        all_functions = {name for name, _, _ in functions(db)}
        try:
            for role, title in ROLES.items():
                (cell,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
                may = {name for name in all_functions if db.execute(
                    "SELECT bool_or(has_function_privilege(%s, oid, 'EXECUTE')) FROM pg_proc WHERE proname = %s",
                    [role, name]).fetchone()[0]}
                tap.equal(may, set(re.findall(r"`(\w+)`", cell)), f"the role {role} may execute what the reference lists")
                tap.ok(db.execute("SELECT has_schema_privilege(%s, 'oauth', 'USAGE')", [role]).fetchone()[0],
                       f"the role {role} may use the schema")
        finally:
            db.execute("DROP OWNED BY " + ", ".join(ROLES))
            db.execute("DROP ROLE " + ", ".join(ROLES))


def functions(db):
    """Name, arguments and result of each function of the extension."""
    return db.execute("""SELECT proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid) FROM pg_proc p
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'attesto_codes' ORDER BY 1""").fetchall()


def names_everything(tap, db):
    """The reference has each function as it is, each setting with its default, and each column of the codes."""
    reference = (ROOT / "docs/reference.md").read_text()
    for name, arguments, result in functions(db):
        # The arguments come without what a table returns.
        inputs = re.sub("::\\w+", "", arguments.split(", OUT ")[0])
        wanted = f"| `{name}({inputs})` | "
        tap.ok(wanted in reference, f"the reference has {name}({inputs})")
        if not result.startswith("TABLE"):
            tap.ok(f"{wanted}{result} |" in reference, f"and that it returns {result}")
    for name, value in db.execute("""SELECT name, current_setting(name) FROM pg_settings
                                     WHERE name LIKE 'attesto_codes.%' ORDER BY 1""").fetchall():
        shown = {"1min": "60s"}.get(value, value)
        tap.ok(f"| `{name}` | `{shown}` |" in reference, f"the reference has {name} = {shown}")
    for (name,) in db.execute("""SELECT attname FROM pg_attribute WHERE attrelid = 'authorizations'::regclass AND attnum > 0
                                 ORDER BY attnum""").fetchall():
        tap.ok(re.search(rf"\b{name}\b", reference), f"the reference has the column {name}")
    stats = [column.name for column in db.execute("SELECT * FROM code_stats()").description]
    operations = (ROOT / "docs/operations.md").read_text()
    tap.equal([name for name in stats if f"`{name}`" not in operations], [], "operations.md has every column of code_stats()")


LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def prose(page):
    """A page without its blocks and pieces of code."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]+`", lambda code: re.sub(r"[\[\]()#]", " ", code[0]), text)


def anchors(page):
    """The anchors that GitHub gives the headings of a page: lower case, no punctuation, hyphens for blanks, and numbered where two
    are the same."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = {}
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", text, re.MULTILINE):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        yield f"{slug}-{found[slug]}" if found[slug] else slug
    yield from re.findall(r'<a (?:id|name)="([^"]+)"', text)


def broken(page):
    """The links of a page that lead nowhere. Those into the net are not looked at."""
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or not place.is_relative_to(ROOT):
            yield f"{target}: no such file"
        elif anchor and (place.suffix != ".md" or anchor not in anchors(place)):
            yield f"{target}: no such heading"


def links_lead_somewhere(tap):
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    for folder in ("docs", "contrib", "bench"):
        pages += sorted((ROOT / folder).rglob("*.md"))
    for page in pages:
        tap.equal(list(broken(page)) if page.exists() else "no such page", [], f"the links of {page.relative_to(ROOT)} lead somewhere")
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall(prose(README))}
    for page in pages:
        if page.parent.name in ("docs", "contrib") or page.parent == ROOT and page != README:
            tap.ok(page in linked, f"README.md leads to {page.relative_to(ROOT)}")
    lines = len(README.read_text().splitlines())
    tap.ok(lines <= README_LINES, f"README.md has at most {README_LINES} lines")
    if lines > README_LINES:
        print(f"# it has {lines}", flush=True)


def main():
    tap = Tap()
    links_lead_somewhere(tap)
    prints_what_is_shown(tap)
    gives_rights(tap)
    folder = tempfile.mkdtemp()
    try:
        with database("docs", SETUP) as dsn, psycopg.connect(dsn, autocommit=True) as db:
            names_everything(tap, db)
            for language, program in PROGRAMS.items():
                program = Program(dsn, db, folder, language, program)
                redeems(tap, program)
                refuses(tap, program)
                completes_only_what_is_its_own(tap, program)
                submits_twice(tap, program)
            for language, listener in LISTENERS.items():
                listens(tap, Program(dsn, db, folder, language, listener))
    finally:
        shutil.rmtree(folder)
    tap.done()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--print"]:
        print(filled_in(Path(*sys.argv[2:]).resolve() if sys.argv[2:] else README), end="")
    elif sys.argv[1:] == ["--links"]:
        alone = Tap()
        links_lead_somewhere(alone)
        alone.done()
    else:
        main()
