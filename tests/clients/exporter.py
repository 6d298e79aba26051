#!/usr/bin/python3
"""contrib/: what Debian's prometheus-postgres-exporter exports with queries.yaml, as the role of
README.md, and that the dashboard and the alerts ask for nothing else."""
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from harness import Tap, database, free_port, listens, until

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
# What becomes of each column of code_stats().
GAUGES = {
    "live": 'attesto_codes_table_rows{state="live"}',
    "spent": 'attesto_codes_table_rows{state="spent"}',
    "redeemed": 'attesto_codes_table_rows{state="redeemed"}',
    "due": "attesto_codes_due",
    "oldest_due_age": "attesto_codes_oldest_due_age_seconds",
    "families_revoked": "attesto_codes_families_revoked",
    "sampled": "attesto_codes_sampled",
}
# How often use() makes code_redeem answer so.
REDEEMS = {"ok": 5, "consumed": 4, "unknown": 6, "expired": 2, "client_mismatch": 7, "redirect_uri_mismatch": 8,
           "pkce_failed": 9, "dpop_proof_required": 10, "dpop_binding_mismatch": 11, "revoked": 1, "spent": 3}
COUNTERS = {
    "puts": "attesto_codes_puts_total",
    "takes_ok": 'attesto_codes_takes_total{status="ok"}',
    "takes_consumed": 'attesto_codes_takes_total{status="consumed"}',
    "takes_error": 'attesto_codes_takes_total{status="error"}',
    "marks_ok": 'attesto_codes_marks_total{answer="ok"}',
    "marks_replayed": 'attesto_codes_marks_total{answer="replayed"}',
    "marks_missing": 'attesto_codes_marks_total{answer="missing"}',
    "reuses": "attesto_codes_reuses_total",
    "sweeps": "attesto_codes_sweeps_total",
    "rows_swept": "attesto_codes_rows_swept_total",
    "spends_statement": 'attesto_codes_spends_total{path="statement"}',
    "spends_oneshot": 'attesto_codes_spends_total{path="oneshot"}',
    "spends_resident": 'attesto_codes_spends_total{path="resident"}',
    "spends_joined": 'attesto_codes_spends_total{path="joined"}',
    **{f"redeems_{answer}": f'attesto_codes_redeems_total{{answer="{answer}"}}' for answer in REDEEMS},
    "completes": "attesto_codes_completes_total",
    "revocations_by_reuse": "attesto_codes_revocations_by_reuse_total",
}
# What use() leaves. No two metrics of one query are equal, or one could stand for the other.
IN_TABLES = {"live": 5, "spent": 13, "redeemed": 7, "due": 4, "families_revoked": 8, "sampled": 0}
COUNTED = {"puts": 28, "takes_ok": 7, "takes_consumed": 2, "takes_error": 1,
           "marks_ok": 3, "marks_replayed": 1, "marks_missing": 2,
           "reuses": 4, "sweeps": 2, "rows_swept": 3,
           "spends_statement": 17, "spends_oneshot": 0, "spends_resident": 2, "spends_joined": 1,
           **{f"redeems_{answer}": count for answer, count in REDEEMS.items()},
           "completes": 6, "revocations_by_reuse": 5}
OVERDUE = 1000


def use(conn):
    """Codes of every fate."""
    grant = {"client_id": "c", "subject": "s", "redirect_uri": "r"}

    def call(function, *arguments):
        parameters = ", ".join(["%s"] * len(arguments))
        conn.execute(f"SELECT * FROM {function}({parameters})", arguments)

    def put(*codes, lifetime=600, **members):
        for code in codes:
            call("code_put", code, json.dumps(grant | members), int(time.time()) + lifetime)

    def redeem(code, client_id="c", redirect_uri="r", dpop_jkt=None):
        call("code_redeem", code, client_id, redirect_uri, None, dpop_jkt)

    put("swept-0", "swept-1", "swept-2", lifetime=-OVERDUE)
    call("code_sweep")
    call("code_sweep")
    put("due-0", "due-1", "due-2", "due-3", lifetime=-OVERDUE)
    put("live", "redeemed-0", "redeemed-1", "redeemed-2", "replayed", "undone-0", "undone-1", "joined")
    for code in ["redeemed-0", "redeemed-1", "redeemed-2"]:
        call("code_take", code)
        call("code_mark_consumed", code)
    # A code that was used again, and again.
    call("code_take", "redeemed-0")
    call("code_take", "redeemed-0")
    call("code_take", "replayed")
    call("code_take", "replayed")
    call("code_mark_consumed", "replayed")
    call("code_mark_consumed", "never put")
    call("code_mark_consumed", "never put")
    for code in ["undone-0", "undone-1"]:
        with conn.transaction(force_rollback=True):
            call("code_take", code)
    with conn.transaction():
        conn.execute("SET LOCAL attesto_codes.take_in_transaction = 'join'")
        call("code_take", "joined")
    call("code_revoke_family", "family-0")
    call("code_revoke_family", "family-1")
    use_redeem(call, put, redeem)


def use_redeem(call, put, redeem):
    """Codes of every answer of code_redeem, as often as REDEEMS says."""
    done, again = ["done-0", "done-1", "done-2"], ["again-0", "again-1"]
    put(*done, *again, "client", "uri")
    put("pkce", code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    put("proof", "binding", dpop_jkt="a")
    put("revoked", family_id="family-2")
    # Spent just now, so no sweep removes them yet.
    put("late-0", "late-1", lifetime=-OVERDUE)
    call("code_revoke_family", "family-2")
    for code in [*done, *again]:
        redeem(code)
    for code in done:
        call("code_complete", code)
        call("code_complete", code)
    # Each revokes the code's hash, but only once.
    for code in [*done, "done-0", *again, "again-1"]:
        redeem(code)
    for code in ["revoked", "late-0", "late-1"]:
        redeem(code)
    # The first spends the code, the others find it closed.
    for answer, arguments in [
            ("unknown", {"code": "never put"}), ("client_mismatch", {"code": "client", "client_id": "d"}),
            ("redirect_uri_mismatch", {"code": "uri", "redirect_uri": "R"}), ("pkce_failed", {"code": "pkce"}),
            ("dpop_proof_required", {"code": "proof"}), ("dpop_binding_mismatch", {"code": "binding", "dpop_jkt": "b"})]:
        for _ in range(REDEEMS[answer]):
            redeem(**arguments)


def start_worker(conn):
    """A take inside a transaction, whose worker stays. Without preload it also makes room for the counters."""
    conn.execute("SELECT code_put('first', %s, 4102444800)", [json.dumps({"client_id": "c", "subject": "s", "redirect_uri": "r"})])
    with conn.transaction(force_rollback=True):
        conn.execute("SELECT code_take('first')")
    until(lambda: conn.execute("SELECT FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'"
                               " AND datname = current_database()").fetchone() is not None)
    conn.execute("DELETE FROM authorizations")


@contextlib.contextmanager
def no_sweeps_but_ours(conn):
    """The launcher of a preloaded server would sweep what is to be counted as due."""
    conn.execute("ALTER SYSTEM SET attesto_codes.sweep_interval = 0")
    conn.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        conn.execute("ALTER SYSTEM RESET attesto_codes.sweep_interval")
        conn.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def role_of_readme(conn):
    """Makes the role with the statements of README.md; gives its name."""
    (statements,) = re.findall(r"```sql\n(.*?)```", (CONTRIB / "README.md").read_text(), re.DOTALL)
    (role,) = re.findall(r"CREATE ROLE (\w+)", statements)
    try:
        conn.execute(statements)
        yield role
    finally:
        conn.execute(f"DROP OWNED BY {role}")
        conn.execute(f"DROP ROLE {role}")


def no_collectors_of_its_own():
    """The flags of contrib/README.md: these collectors ask later majors for columns that are elsewhere."""
    usage = subprocess.run(["prometheus-postgres-exporter", "--help"], capture_output=True, text=True)
    known = re.findall(r"collector\.(\w+)", usage.stdout + usage.stderr)
    return [f"--no-collector.{name}" for name in ("bgwriter", "wal") if name in known]


@contextlib.contextmanager
def exporter(dsn, role, output):
    """Runs the exporter; gives the address of its metrics."""
    words = conninfo_to_dict(dsn)
    source = "host={host} port={port} dbname={dbname} user={role} sslmode=disable".format(role=role, **words)
    port = free_port()
    process = subprocess.Popen(
        ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{port}",
         f"--extend.query-path={CONTRIB / 'queries.yaml'}", "--disable-default-metrics",
         "--disable-settings-metrics", *no_collectors_of_its_own()],
        env={**os.environ, "DATA_SOURCE_NAME": source}, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: process.poll() is not None or listens(port))
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        process.terminate()
        process.wait()


def scrape(address):
    """Values and types of the extension's metrics, and what the exporter counts as errors."""
    with urllib.request.urlopen(address, timeout=30) as response:
        text = response.read().decode()
    # The exporter says of each metric which server it comes from.
    text = re.sub(r'(?<={)server="[^"]*",?|,server="[^"]*"', "", text).replace("{}", "")
    values = {name: float(value) for name, value in re.findall(r"^(attesto\S*) (\S+)$", text, re.MULTILINE)}
    types = dict(re.findall(r"^# TYPE (attesto\S*) (\S+)$", text, re.MULTILINE))
    errors = re.findall(r"^pg_exporter_\w*error\S* [^0].*$", text, re.MULTILINE)
    return values, types, errors


def names(metrics):
    return {metric.partition("{")[0] for metric in metrics.values()}


def asked_for():
    """The metrics in the dashboard's expressions."""
    dashboard = json.loads((CONTRIB / "grafana" / "attesto_codes.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [json.dumps(variable["query"]) for variable in dashboard["templating"]["list"]]
    return set(re.findall(r"attesto\w+", " ".join(expressions + variables)))


def alerts():
    """The metrics in the alerts of README.md."""
    rows = re.findall(r"^\| `(.*?)` \|", (CONTRIB / "README.md").read_text(), re.MULTILINE)
    return set(re.findall(r"attesto\w+", " ".join(rows)))


def main():
    tap = Tap()
    with contextlib.ExitStack() as stack:
        admin = stack.enter_context(psycopg.connect("", autocommit=True))
        preloaded = "attesto_codes" in admin.execute("SHOW shared_preload_libraries").fetchone()[0]
        if preloaded:
            stack.enter_context(no_sweeps_but_ours(admin))
        dsn = stack.enter_context(database(
            "exporter", "CREATE SCHEMA oauth; CREATE EXTENSION attesto_codes SCHEMA oauth"))
        conn = stack.enter_context(psycopg.connect(dsn, autocommit=True, row_factory=dict_row,
                                                   options="-c search_path=oauth"))
        role = stack.enter_context(role_of_readme(conn))
        output = stack.enter_context(tempfile.TemporaryFile("w+"))

        def stats():
            return conn.execute("SELECT * FROM code_stats()").fetchone()

        tap.equal(list(stats()), [*GAUGES, *COUNTERS], "every column of code_stats() is known here")
        start_worker(conn)
        counted = stats()
        with exporter(dsn, role, output) as address:
            tap.equal(scrape(address)[0].get(GAUGES["oldest_due_age"]), 0, "nothing is due: its age is 0")
            use(conn)
            before = stats()
            values, types, errors = scrape(address)
            after = stats()
        age = values.pop(GAUGES["oldest_due_age"], -1)
        tap.ok(OVERDUE <= before["oldest_due_age"] <= age <= after["oldest_due_age"], "the age of the oldest")
        wanted = {GAUGES[column]: count for column, count in IN_TABLES.items()}
        wanted |= {COUNTERS[column]: counted[column] + count for column, count in COUNTED.items()}
        tap.equal(values, wanted, "the others")
        tap.equal(types, {name: "counter" if name.endswith("_total") else "gauge" for name in names(GAUGES | COUNTERS)},
                  "each is a gauge or a counter, as its name says")
        output.seek(0)
        lines = [line for line in output if re.search(r"level=(warn|error)|\berr=|panic", line)]
        tap.equal((errors, lines), ([], []), "the exporter met no error")
        tap.ok(asked_for() <= names(GAUGES | COUNTERS), "the dashboard asks for nothing else")
        tap.ok(alerts() and alerts() <= names(GAUGES | COUNTERS), "nor do the alerts")
    tap.done()


if __name__ == "__main__":
    main()
