#!/usr/bin/env python3
"""report.py: the tables of RESULTS.md, from the lines of run.sh: title, synchronous_commit, mode,
clients, round, contender, rate, and for takes also the average of the take alone, and p50 and p99 of
the transaction in milliseconds. A table for each title and synchronous_commit, in the order they come.

report.py percentiles LOG …: p50 and p99 in milliseconds of the transactions in pgbench's logs.
report.py sizes: the table of sweep.sh, from its lines: title, mixture, rows, round, milliseconds.
report.py scale: the table of scale.sh, from its lines: target, shards, and what a redemption cost.
report.py beside: the table of takes beside a sweep, from its lines: title, p50 and p99 alone, p50 and p99
beside the sweep, rows swept, seconds of the sweep.
report.py section RESULTS.md TITLE: puts its input there, below LIFE, in place of what has that title."""
import re
import sys
import textwrap
from statistics import median


LIFE = "## Life after the take\n"


def section(path, title):
    text = open(path).read()
    if LIFE not in text:
        text = f"{text.rstrip()}\n\n{LIFE}"
    begun, life = text.split(LIFE)
    others = re.split(r"^(?=### )", life, flags=re.MULTILINE)
    new = f"### {title}\n\n{sys.stdin.read().rstrip()}\n"
    others = [each.rstrip() + "\n" for each in others[1:] if not each.startswith(f"### {title}\n")]
    open(path, "w").write(begun + LIFE + "".join(f"\n{each}" for each in sorted([*others, new])))


def percentiles(paths):
    micros = sorted(int(line.split()[2]) for path in paths for line in open(path))
    print(*(f"{micros[int((len(micros) - 1) * part)] / 1000:.3f}" for part in (0.5, 0.99)), sep="\t")


def sizes(lines):
    found = {}
    for line in lines:
        title, mixture, rows, round_, figure = line.rstrip("\n").split("\t")
        found.setdefault((title, mixture), {}).setdefault(rows, {})[round_] = [float(figure)]
    small, large = next(iter(found.values()))
    print("| | others |", *(f"{int(rows):,} rows: min | median | max |" for rows in (small, large)), "ratio min | median | max |")
    print("|---|---|" + "---:|" * 9)
    for (title, mixture), runs in found.items():
        cells = []
        for rows in (small, large):
            figures = [figure[0] for figure in runs[rows].values()]
            cells += [f"{figure:.1f}" for figure in (min(figures), median(figures), max(figures))]
        cells += [f"{ratio:.2f}" for ratio in ratios(runs[large], runs[small])]
        print(f"| {title} | {mixture} |", " | ".join(cells), "|")


def scale(lines):
    found = {}
    for line in lines:
        name, *figures = line.split("\t")
        found.setdefault(name, []).append([float(figure) for figure in figures])
    print("| of one redemption | shards: processor, µs: min | median | max | WAL, bytes | flushes | packets | bytes |"
          " proxies: processor, µs: min | median | max | packets | bytes | redemptions a second |")
    print("|---|" + "---:|" * 13)
    for name, runs in found.items():
        columns = list(zip(*runs))
        # What was not called may have used a little less than nothing.
        cells = [f"{max(0, median(column)):,.{digits}f}" for column, digits in zip(columns, [0, 0, 2, 2, 0, 0, 2, 0, 0])]
        for at in (5, 0):
            cells[at:at + 1] = [f"{min(columns[at]):,.0f}", cells[at], f"{max(columns[at]):,.0f}"]
        print(f"| {name} |", " | ".join(cells), "|")


def beside(lines):
    found = {}
    for line in lines:
        title, *figures = line.rstrip("\n").split("\t")
        found.setdefault(title, []).append([float(figure) for figure in figures])
    print("| takes of | p50 alone | p50 beside | p99 alone min | median | max | p99 beside min | median | max | ratio of the p99 min | median | max | sweep, s |")
    print("|---|" + "---:|" * 12)
    for title, runs in found.items():
        alone, with_sweep = [run[1] for run in runs], [run[3] for run in runs]
        each = [one / other for one, other in zip(with_sweep, alone)]
        cells = [f"{median(run[at] for run in runs):.2f}" for at in (0, 2)]
        cells += [f"{value:.2f}" for figures in (alone, with_sweep, each) for value in (min(figures), median(figures), max(figures))]
        print(f"| {title} |", " | ".join(cells), f"| {median(run[5] for run in runs):.1f} |")


def ratios(by_round, to):
    """The least, median and greatest of the ratios of two contenders' rates in the same round."""
    each = [figures[0] / to[round_][0] for round_, figures in by_round.items()]
    return min(each), median(each), max(each)


def cycles_table(settings, sync):
    contenders = list(next(iter(settings.values())))
    ours, theirs = contenders[:2]
    print(f"Redemption cycles a second, median of the rounds; ratio: {ours} to {theirs} in the same round.")
    if sync == "unflushed":
        print("Nobody waits for the disk. A crash spends the codes of attesto_codes, and makes those of seed that were spent live again.")
    if sync == "off":
        print(f"{ours} still flushes every take to disk, since that is its guarantee; {theirs} flushes nothing, and a crash")
        print("makes spent codes live again. These figures compare different promises.")
    print("\n| mode | clients |", *(f"{name} |" for name in contenders), "ratio min | median | max |")
    print("|---|" + "---:|" * (len(contenders) + 4))
    for (mode, clients), runs in settings.items():
        cells = [f"{median(figures[0] for figures in runs[name].values()):,.0f}" for name in contenders]
        cells += [f"{ratio:.2f}" for ratio in ratios(runs[ours], runs[theirs])]
        print(f"| {mode} | {clients} |", " | ".join(cells), "|")


def takes_table(settings, _):
    print("Takes a second over all rounds; ratio to autocommit in the same round. p50 and p99 are of the whole")
    print("transaction as the client sees it, BEGIN and COMMIT included, the medians of the rounds; `take alone` is the")
    print("average of that one statement. `-M prepared`, max_worker_processes = 64. After a ROLLBACK the code stays spent")
    print("with both `independent`; it is live again with `join` and `plain SQL`.\n")
    print("| contender | clients | takes/s min | median | max | p50 ms | p99 ms | take alone ms | ratio min | median | max |")
    print("|---|" + "---:|" * 10)
    aims = []
    for (_, clients), runs in settings.items():
        for name, by_round in runs.items():
            rates, alone, p50, p99 = zip(*by_round.values())
            ratio = ratios(by_round, runs["autocommit"])
            cells = [f"{rate:,.0f}" for rate in (min(rates), median(rates), max(rates))]
            cells += [f"{median(each):.2f}" for each in (p50, p99, alone)] + [f"{each:.2f}" for each in ratio]
            print(f"| {name} | {clients} |", " | ".join(cells), "|")
        ours = runs["independent without preload"]
        least, middle, most = ratios(ours, runs["independent with preload"])
        aims.append(f"at least 0.8 of the rate with preload, {clients} clients: {middle:.2f} ({least:.2f} to {most:.2f}), {met(middle >= 0.8)}")
        if clients == "8":
            p50 = median(figures[2] for figures in ours.values())
            least, middle, most = ratios(ours, runs["plain SQL"])
            aims.append(f"p50 below 1 ms, {clients} clients: {p50:.2f} ms, {met(p50 < 1)}")
            aims.append(f"not slower than plain SQL, {clients} clients: {middle:.2f} ({least:.2f} to {most:.2f}), {met(middle >= 1)}")
    print("\nAims without preload:")
    for aim in aims:
        print(f"- {aim}.")


OTHERS = "Other ways to store a code"
# What is known of each from its sources and its issues.
GAPS = {
    "seed": "a ROLLBACK of the caller's transaction makes the code live again; a replay between take and mark goes unseen; "
            "the evidence of a redemption goes when the code expires.",
    "hydra": "two requests can redeem one code: both read it as active, and the UPDATE does not check it (fosite#778). A "
             "ROLLBACK makes the code live again. A failed check does not spend it; after one of PKCE the challenge is gone, "
             "and unless PKCE is enforced the next request passes without a verifier (fosite#883). The janitor leaves old "
             "codes (hydra#3559).",
    "spring": "two requests can redeem one code: SELECT, then UPDATE of the whole row without a version; the row then knows "
              "the tokens of only one. Of the failed checks only a wrong client spends the code. The code is stored as it "
              "is, unhashed. Nothing removes old rows (spring-authorization-server#556, #1266).",
    "doorkeeper": "a ROLLBACK makes the code live again. A failed check does not spend it. The code is stored as it is, "
                  "unless hashing is turned on. The clean-up removes used codes however recent, and the evidence with them.",
    "redis": "no evidence: a replay looks like an unknown code, there is nothing to mark and no token to revoke. It is outside "
             "the transaction that stores the tokens. Replication is asynchronous: even with WAIT a failover may lose a code, "
             "or bring one back that was taken, while a commit of PostgreSQL can wait for its standby.",
    "floor": "stores nothing.",
}


def others_table(settings, _):
    ours = next(iter(next(iter(settings.values()))))
    print(f"Cycles a second over all rounds, each the life of one code; ratio: {ours} to the contender in the same round, over 1")
    print(f"where {ours} is faster. `-M prepared`. The cycles differ in what they do and promise, see below and README.md.\n")
    print("| contender | clients | cycles/s min | median | max | ratio min | median | max |")
    print("|---|" + "---:|" * 7)
    for (_, clients), runs in settings.items():
        for name, by_round in runs.items():
            rates = [figures[0] for figures in by_round.values()]
            cells = [f"{rate:,.0f}" for rate in (min(rates), median(rates), max(rates))]
            cells += [f"{ratio:.2f}" for ratio in ratios(runs[ours], by_round)] if name != ours else [""] * 3
            print(f"| {name} | {clients} |", " | ".join(cells), "|")
    print(f"\nWhat they do not guarantee, and {ours} does:")
    for name in next(iter(settings.values())):
        if name in GAPS:
            print(textwrap.fill(f"- {name}: {GAPS[name]}", 120, subsequent_indent="  "))


# What a figure is, and what is asked of the ratio of the first contender's to the second's.
FIGURES = {
    "Cycles of which only the spend must survive a crash, by": (
        "Cycles a second. attesto_codes: `ALTER ROLE … SET synchronous_commit = off`, and the take flushes by itself; seed: "
        "synchronous_commit = on, since its SQL has no such choice. Asked: at least 2.0.", "{:,.0f}"),
    "Cycles of which only the spend": (
        "Cycles a second. attesto_codes: `ALTER ROLE … SET synchronous_commit = off` and `SET attesto_codes.codes_survive_crash = "
        "off`, so that a crash spends the codes; seed: synchronous_commit = on, since its SQL has no such choice. Asked: at least "
        "2.0.", "{:,.0f}"),
    "Calls inside": ("Microseconds of a call, in a loop of one transaction; the same statement on the same table in PL/pgSQL beside it. "
                     "Asked: code_put and code_take at most 0.7, code_get at most 0.6, code_redeem at most 0.66.", "{:.2f}"),
    "Replays": ("Statements a second of 64 connections. Asked: at least 0.8.", "{:,.0f}"),
    "WAL": ("Bytes a cycle, full page images included, one checkpoint a round. Asked: at most 0.7 in steady state.", "{:,.0f}"),
    "Takes in tables": ("Takes a second, of codes all over the table. shared_buffers = 8GB, no checkpoint, no vacuum, 3 times as many rounds. Asked: at least 0.9.", "{:,.0f}"),
}


PROTOCOL = {
    "The protocol in two calls, of": (
        "two_calls as a role with `synchronous_commit = off`: its code_redeem flushes by itself. Asked: at least 1.8 with 8 clients, and 1.6 "
        "with 32."),
    "The protocol in two": "Asked: to seed at least 1.4 prepared and 1.75 simple; to by_hand_in_two 1.0 and 1.2; to redis with 8 clients 0.65.",
    "The protocol in three": "Asked: at least 1.0.",
}


def protocol_table(title):
    def table(settings, _):
        said = next(said for begin, said in PROTOCOL.items() if title.startswith(begin))
        ours = next(iter(next(iter(settings.values()))))
        print(textwrap.fill(f"Cycles a second, each the life of one code; ratio: {ours} to the contender in the same round. {said}", 120))
        print("\n| contender | mode | clients | cycles/s min | median | max | ratio min | median | max |")
        print("|---|---|" + "---:|" * 7)
        for (mode, clients), runs in settings.items():
            for name, by_round in runs.items():
                rates = [figures[0] for figures in by_round.values()]
                cells = [f"{rate:,.0f}" for rate in (min(rates), median(rates), max(rates))]
                cells += [f"{ratio:.2f}" for ratio in ratios(runs[ours], by_round)] if name != ours else [""] * 3
                print(f"| {name} | {mode} | {clients} |", " | ".join(cells), "|")
    return table


def figures_table(title):
    def table(settings, _):
        said, form = next(figures for begin, figures in FIGURES.items() if title.startswith(begin))
        one, other = next(iter(settings.values()))
        print(textwrap.fill(f"{said} Ratio: {one} to {other} in the same round.", 120))
        print(f"\n| | clients | {one} min | median | max | {other} min | median | max | ratio min | median | max |")
        print("|---|" + "---:|" * 10)
        for (case, clients), runs in settings.items():
            cells = []
            for name in (one, other):
                figures = [figure[0] for figure in runs[name].values()]
                cells += [form.format(figure) for figure in (min(figures), median(figures), max(figures))]
            cells += [f"{ratio:.2f}" for ratio in ratios(runs[one], runs[other])]
            print(f"| {case} | {clients} |", " | ".join(cells), "|")
        if title.startswith("WAL"):
            for name in (one, other):
                hot = [figure[1] for runs in settings.values() for figure in runs[name].values()]
                print(f"\nHeap-only updates, {name}: {min(hot):.3f} | {median(hot):.3f} | {max(hot):.3f} of all (min | median | max).")
    return table


SETTINGS = {"fsync-off": "fsync = off", "unflushed": "synchronous_commit = off, codes_survive_crash = off"}


def met(aim):
    return "**met**" if aim else "**not met**"


def tables(lines):
    found = {}
    for line in lines:
        title, sync, mode, clients, round_, contender, *figures = line.rstrip("\n").split("\t")
        runs = found.setdefault((title, sync), {}).setdefault((mode, clients), {})
        runs.setdefault(contender, {})[round_] = [float(figure) for figure in figures]
    for (title, sync), settings in found.items():
        print(f"\n## {title}, {SETTINGS.get(sync, f'synchronous_commit = {sync}')}\n")
        if title.startswith(tuple(FIGURES)):
            figures_table(title)(settings, sync)
        elif title.startswith(tuple(PROTOCOL)):
            protocol_table(title)(settings, sync)
        else:
            {"Takes": takes_table, OTHERS: others_table}.get(title, cycles_table)(settings, sync)


if sys.argv[1:2] == ["percentiles"]:
    percentiles(sys.argv[2:])
elif sys.argv[1:2] == ["sizes"]:
    sizes(sys.stdin)
elif sys.argv[1:2] == ["beside"]:
    beside(sys.stdin)
elif sys.argv[1:2] == ["scale"]:
    scale(sys.stdin)
elif sys.argv[1:2] == ["section"]:
    section(*sys.argv[2:])
else:
    tables(sys.stdin)
