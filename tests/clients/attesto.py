#!/usr/bin/python3
"""contrib/attesto: the calls of an Attesto server, made by attesto.exs, and a search for the codes that it made."""
import os
import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import psycopg

from adapters import ROOT, Adapter, prepared
from flow import Flow
from harness import Tap

PROGRAM = Path(__file__).resolve().with_suffix(".exs")
# Without Attesto there is no behaviour to declare.
ALONE = """
defmodule Alone do
  use AttestoCodes
  def query(_, _), do: [["error", nil, nil, nil]]
end
IO.inspect({Keyword.get_values(Alone.module_info(:attributes), :behaviour), Alone.take("hash")})
"""


def runs_alone(tap, environment, folder):
    """The folder as a Mix project of its own."""
    environment = {**environment, "MIX_BUILD_PATH": str(folder / "mix"), "MIX_HOME": str(folder)}
    alone = subprocess.run(["mix", "do", "compile", "--warnings-as-errors", "+", "run", "-e", ALONE], cwd=ROOT / "contrib/attesto",
                           env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    tap.equal((alone.returncode, alone.stdout.splitlines()[-1:]), (0, ["{[[AttestoCodes]], :error}"]),
              "the module compiles with Mix and without warnings, and works where Attesto is not loaded")


def run_program(tap, environment, output):
    """Its lines are checks; what it says besides is shown."""
    with output.open("wb") as file:
        ended = subprocess.run(["elixir", str(PROGRAM)], env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=300)
    for line in output.read_text().splitlines():
        check = re.fullmatch(r"(not )?ok - (.*)", line)
        if check:
            tap.ok(not check[1], check[2])
        else:
            print(f"# {line}", flush=True)
    tap.equal(ended.returncode, 0, "the program came to its end")


def main():
    tap = Tap()
    adapter = Adapter("attesto", "attesto", [])
    with prepared(adapter) as dsn, psycopg.connect(dsn, autocommit=True) as db, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        codes, output = folder / "codes", folder / "output"
        environment = {**os.environ, "PGUSER": "oauth_server", "PGDATABASE": db.info.dbname, "CODES": str(codes),
                       "ADMIN": os.environ["PGUSER"]}
        runs_alone(tap, environment, folder)
        run_program(tap, environment, output)
        flow = Flow(tap, adapter, db, environment, folder)
        flow.servers.append(SimpleNamespace(codes=codes.read_text().split(), output=output))
        flow.nothing_leaked("ok - ")
    tap.done()


main()
