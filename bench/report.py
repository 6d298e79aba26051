#!/usr/bin/env python3
"""The tables of RESULTS.md, from the lines of run.sh: scenario, synchronous_commit, mode, clients,
round, contender, cycles a second. A table for each scenario and synchronous_commit, in the order
they come; the ratio is the first contender's rate to the second's in the same round."""
import sys
from statistics import median

tables = {}
for line in sys.stdin:
    scenario, sync, mode, clients, round_, contender, rate = line.rstrip("\n").split("\t")
    rows = tables.setdefault((scenario, sync), {})
    rates = rows.setdefault((mode, clients), {})
    rates.setdefault(contender, {})[round_] = float(rate)

for (scenario, sync), rows in tables.items():
    contenders = list(next(iter(rows.values())))
    ours, theirs = contenders[:2]
    setting = "fsync = off" if sync == "fsync-off" else f"synchronous_commit = {sync}"
    print(f"\n## {scenario}, {setting}\n")
    print("| mode | clients |", *(f"{name} |" for name in contenders), "ratio min | median | max |")
    print("|---|" + "---:|" * (len(contenders) + 4))
    for (mode, clients), rates in rows.items():
        ratios = [rates[ours][r] / rates[theirs][r] for r in rates[ours]]
        cells = [f"{median(rates[name].values()):,.0f}" for name in contenders]
        cells += [f"{ratio:.2f}" for ratio in (min(ratios), median(ratios), max(ratios))]
        print(f"| {mode} | {clients} |", " | ".join(cells), "|")
