#!/usr/bin/env python3
"""The section on takes of RESULTS.md, from the lines of takes.sh: clients, round, contender, takes a
second, p50 and p99 in milliseconds."""
import sys
from statistics import median

NAMES = {
    "autocommit": "code_take alone, in autocommit",
    "independent": "code_take in BEGIN … COMMIT, independent, no preload",
    "preloaded": "code_take in BEGIN … COMMIT, independent, with preload",
    "join": "code_take in BEGIN … COMMIT, join",
    "by_hand": "UPDATE … RETURNING in BEGIN … COMMIT",
}
rounds, seconds, slots = sys.argv[1:]
runs = {}
for line in sys.stdin:
    clients, round_, contender, *figures = line.split()
    runs.setdefault(int(clients), {}).setdefault(contender, {})[round_] = [float(f) for f in figures]

print(f"""
## Takes that nothing undoes, synchronous_commit = on

Takes a second, the minimum, median and maximum of {rounds} rounds of {seconds} seconds each; the latency of the
whole transaction as the client sees it, the median of the rounds; the ratio to `code_take` alone in
the same round. `-M prepared`, max_worker_processes = {slots}. Only the first three survive a ROLLBACK.

| | clients | takes/s min | median | max | p50 ms | p99 ms | ratio min | median | max |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|""")
for clients, contenders in runs.items():
    for name, by_round in contenders.items():
        rates, p50s, p99s = zip(*by_round.values())
        ratios = [by_round[r][0] / contenders["autocommit"][r][0] for r in by_round]
        cells = [f"{f(rates):,.0f}" for f in (min, median, max)]
        cells += [f"{median(p50s):.2f}", f"{median(p99s):.2f}"]
        cells += [f"{f(ratios):.2f}" for f in (min, median, max)]
        print(f"| {NAMES[name]} | {clients} |", " | ".join(cells), "|")
