#!/usr/bin/python3
"""What README.md shows is so: its quick start prints what stands there, its programs redeem codes.

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
REQUEST = [VERIFIER, GRANT["client_id"], GRANT["redirect_uri"]]
SETUP = """
CREATE EXTENSION attesto_codes;
CREATE TABLE tokens (subject text NOT NULL, family_id text);
-- The code of this subject is gone when it is to be marked.
CREATE FUNCTION sweep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN DELETE FROM authorizations WHERE subject = 'swept'; RETURN NEW; END $$;
CREATE TRIGGER sweep BEFORE INSERT ON tokens FOR EACH ROW WHEN (NEW.subject = 'swept')
EXECUTE FUNCTION sweep();
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

    def __init__(self, dsn, db, folder, text, language):
        self.name, file, self.command = PROGRAMS[language]
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


def redeems(tap, program):
    name = program.name
    code = program.code("good")
    tap.equal(program.says(code, *REQUEST), "tokens for alice", f"{name}: redeems a code")
    tap.equal(program.says(code, *REQUEST), "reuse: revoke family fam-1",
              f"{name}: sees the reuse of a redeemed code")
    tap.equal(program.tokens(), [("alice", "fam-1")], f"{name}: stores tokens once")
    program.db.execute("TRUNCATE tokens")
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
    said = program.says(program.code("swept", subject="swept"), *REQUEST)
    tap.ok("tokens for" not in said and program.tokens() == [],
           f"{program.name}: stores no tokens for a code that it could not mark")
    program.db.execute("TRUNCATE tokens")


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
                program = Program(dsn, db, folder, text, language)
                redeems(tap, program)
                refuses(tap, program)
                keeps_nothing_unmarked(tap, program)
    finally:
        shutil.rmtree(folder)
    tap.done()


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(filled_in(README.read_text()), end="")
    else:
        main()
