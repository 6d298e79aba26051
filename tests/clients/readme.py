#!/usr/bin/python3
"""What README.md shows is so: its quick start prints what stands there, its programs redeem codes, its
listeners revoke families.

With --print it prints README.md with the output of the quick start filled in.
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

README = Path(__file__).resolve().parents[2] / "README.md"
POSTGRESQL_JAR = "/usr/share/java/postgresql.jar"
# Language of the fenced block: name, file, and the command before it.
PROGRAMS = {
    "sh": ("psql", "redeem.sh", ["bash"]),
    "js": ("Node", "redeem.js", ["node"]),
    "python": ("Python", "redeem.py", [sys.executable]),
    "java": ("Java", "Redeem.java", ["java", "-cp", POSTGRESQL_JAR]),
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
REQUEST = [VERIFIER, GRANT["client_id"], GRANT["redirect_uri"]]
SETUP = """
CREATE EXTENSION attesto_codes;
CREATE TABLE tokens (subject text NOT NULL, family_id text NOT NULL, jti text NOT NULL);
-- What can happen between the take and the mark, by the subject of the code.
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM authorizations WHERE NEW.subject = 'swept' AND subject = 'swept';
  PERFORM code_take(code_hash) FROM authorizations WHERE NEW.subject = 'replayed' AND subject = 'replayed';
  PERFORM code_revoke_family(NEW.family_id) WHERE NEW.subject = 'revoked';
  RETURN NEW;
END $$;
CREATE TRIGGER interfere BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION interfere();
"""
# What the quick start prints between its blocks.
CUT = "---- tests/clients/readme.py ----"
# Each block of statements, and what they print if that is shown.
SHOWN = re.compile(r"```sql\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)


def block(text, language):
    """The one fenced block in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return found


def quick_start(text):
    """What each of its blocks prints."""
    script = "".join(f"{sql}\\echo {CUT}\n" for sql, _ in SHOWN.findall(text))
    with database("quick_start", "SELECT 1") as dsn:
        output = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-", dsn], input=script,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False).stdout
    return [printed.rstrip("\n") + "\n" * bool(printed) for printed in output.split(CUT + "\n")]


def filled_in(text):
    outputs = iter(quick_start(text))

    def fill(shown):
        output = next(outputs)
        return f"```sql\n{shown[1]}```\n" + (f"```text\n{output}```\n" if output else "")

    return SHOWN.sub(fill, text)


class Program:
    """A program of the README, and the database that it works on."""

    def __init__(self, dsn, db, folder, text, language, program):
        self.name, file, self.command = program
        path = Path(folder, file)
        path.write_text(block(text, language))
        self.command = [*self.command, str(path)]
        self.db = db
        words = conninfo_to_dict(dsn)
        url = "jdbc:postgresql://{host}:{port}/{dbname}?user={user}".format(**words)
        self.environment = {**os.environ, "PGDATABASE": words["dbname"], "JDBC_URL": url}

    def code(self, case, lifetime=600, **changes):
        """Puts a code, and gives its plaintext."""
        code = f"{self.name}: {case}"
        self.db.execute("SELECT code_put(code_hash(%s), %s, %s)",
                        [code, json.dumps({**GRANT, **changes}), int(time.time()) + lifetime])
        return code

    def says(self, *arguments):
        done = subprocess.run([*self.command, *arguments], env=self.environment, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.stdout.strip()

    def tokens(self):
        return self.db.execute("SELECT subject, family_id FROM tokens").fetchall()

    def revoked(self):
        """The tokens that are recorded, and whether each is revoked."""
        return self.db.execute("SELECT code_access_token_revoked(jti) FROM tokens").fetchall()

    def forget(self):
        self.db.execute("TRUNCATE tokens, authorization_access_tokens, authorization_revoked_families")


def redeems(tap, program):
    name = program.name
    code = program.code("good")
    tap.equal(program.says(code, *REQUEST), "tokens for alice", f"{name}: redeems a code")
    tap.equal(program.revoked(), [(False,)], f"{name}: its token is good")
    tap.equal(program.says(code, *REQUEST), "reuse: family fam-1 revoked",
              f"{name}: sees the reuse of a redeemed code")
    tap.equal(program.tokens(), [("alice", "fam-1")], f"{name}: stores tokens once")
    tap.equal(program.revoked(), [(True,)], f"{name}: and has revoked them")
    program.forget()
    tap.equal(program.says("never issued", *REQUEST), "invalid_grant", f"{name}: refuses an unknown code")


def refuses(tap, program):
    name = program.name
    for member in range(len(REQUEST)):
        wrong = REQUEST[:member] + ["wrong"] + REQUEST[member + 1:]
        what = ["verifier", "client_id", "redirect_uri"][member]
        code = program.code(f"wrong {what}")
        tap.equal(program.says(code, *wrong), "invalid_grant", f"{name}: refuses a wrong {what}")
    tap.equal(program.says(code, *REQUEST), "invalid_grant", f"{name}: and the code stays spent")
    for what, code in [("expired", program.code("expired", lifetime=-1)),
                       ("without a challenge", program.code("no challenge", code_challenge=None)),
                       ("bound to a key", program.code("bound", dpop_jkt="thumbprint"))]:
        tap.equal(program.says(code, *REQUEST), "invalid_grant", f"{name}: refuses a code that is {what}")
    tap.equal(program.tokens(), [], f"{name}: stores no tokens for them")


def keeps_nothing_unmarked(tap, program):
    for what in ["swept", "replayed", "revoked"]:
        code = program.code(what, subject=what)
        tap.equal(program.says(code, *REQUEST), "invalid_grant",
                  f"{program.name}: sends no tokens for a code that is {what} before the mark")
        families = program.db.execute("SELECT family_id FROM authorization_revoked_families").fetchall()
        tap.equal((program.tokens(), families), ([], [("fam-1",)]), f"{program.name}: and revokes the family")
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


def main():
    tap = Tap()
    text = README.read_text()
    shown = SHOWN.findall(text)
    tap.ok(shown, "the quick start is there")
    for number, ((_, wanted), got) in enumerate(zip(shown, quick_start(text)), 1):
        tap.equal(got, wanted, f"block {number} of the quick start prints what README.md shows")
    folder = tempfile.mkdtemp()
    try:
        with database("readme", SETUP) as dsn, psycopg.connect(dsn, autocommit=True) as db:
            for language in PROGRAMS:
                program = Program(dsn, db, folder, text, language, PROGRAMS[language])
                redeems(tap, program)
                refuses(tap, program)
                keeps_nothing_unmarked(tap, program)
            for language, listener in LISTENERS.items():
                listens(tap, Program(dsn, db, folder, text, language, listener))
    finally:
        shutil.rmtree(folder)
    tap.done()


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(filled_in(README.read_text()), end="")
    else:
        main()
