#!/usr/bin/env python3
"""soak.py SAMPLES CSV SVG LOG …: joins the samples of soak.sh with the latencies of the takes in pgbench's
logs, writes both as CSV and as a plot, and prints what levels off."""
import csv
import sys
from bisect import bisect_left

MB = 1 << 20
CODES = ["codes_size", "codes_pkey_size", "codes_sweep_size"]
TOKENS = ["tokens_size", "tokens_pkey_size", "tokens_family_size", "tokens_sweep_size"]
# How much a third may have on the one before it and still be called level.
LEVEL = 1.05


def takes(paths):
    """When each take ended, and how long it took in milliseconds. It is the second of three transactions,
    which pgbench numbers from 1; what --rate made it wait for its turn is not counted."""
    found = []
    for line in (line for path in paths for line in open(path)):
        _, number, micros, _, second, micro, lag = map(int, line.split())
        if number % 3 == 2:
            found.append((second + micro / 1e6, (micros - lag) / 1000))
    return sorted(found)


def percentile(latencies, part):
    return sorted(latencies)[int((len(latencies) - 1) * part)] if latencies else 0.0


def joined(samples, all_takes):
    """A row each interval between two samples: the sample at its end, and what happened in it."""
    ends = [end for end, _ in all_takes]
    start = samples[0]["time"]
    for before, sample in zip(samples, samples[1:]):
        within = all_takes[bisect_left(ends, before["time"]):bisect_left(ends, sample["time"])]
        latencies = [latency for _, latency in within]
        yield sample | {
            "minute": round((sample["time"] - start) / 60, 2),
            "takes": len(latencies),
            "take_p50_ms": round(percentile(latencies, 0.5), 3),
            "take_p99_ms": round(percentile(latencies, 0.99), 3),
            "swept": sample["rows_swept"] - before["rows_swept"],
            # There may be one sweep or two between two samples.
            "swept_a_sweep": round((sample["rows_swept"] - before["rows_swept"]) / max(sample["sweeps"] - before["sweeps"], 1), 1),
        }


def write_csv(path, rows):
    names = ["minute", *(name for name in rows[0] if name != "minute")]
    with open(path, "w") as file:
        out = csv.DictWriter(file, names, lineterminator="\n")
        out.writeheader()
        for row in rows:
            out.writerow({name: int(row[name]) if row[name] == int(row[name]) else row[name] for name in names})


PANELS = [
    ("size, MB", [("table", ["codes_size"], 1 / MB), ("its primary key", ["codes_pkey_size"], 1 / MB),
                  ("its sweep index", ["codes_sweep_size"], 1 / MB), ("tokens and their indexes", TOKENS, 1 / MB)]),
    ("codes", [("rows", ["rows"], 1), ("dead rows", ["dead"], 1)]),
    ("take, ms", [("p99", ["take_p99_ms"], 1), ("p50", ["take_p50_ms"], 1)]),
    ("rows that a sweep removed, codes, tokens and families", [("", ["swept_a_sweep"], 1)]),
]
COLOURS = ["#1f5fa8", "#c8501e", "#3c8c3c", "#8050a0"]
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 150, 70, 30, 60


def step(highest):
    """The distance between two lines of a grid that has two to five of them."""
    size = 10.0 ** -6
    while True:
        for factor in (1, 2, 5):
            if highest / (size * factor) <= 5:
                return size * factor
        size *= 10


def write_svg(path, rows):
    last = rows[-1]["minute"]
    height = TOP + len(PANELS) * (HEIGHT + GAP)
    x = lambda minute: LEFT + minute / last * WIDTH
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
           'font-family="sans-serif" font-size="12">', f'<rect width="100%" height="{height}" fill="white"/>']
    for at, (title, lines) in enumerate(PANELS):
        top = TOP + at * (HEIGHT + GAP)
        series = [(name, [sum(row[column] for column in columns) * scale for row in rows]) for name, columns, scale in lines]
        highest = max(max(values) for _, values in series) or 1
        y = lambda value: top + HEIGHT - value / highest * HEIGHT
        out.append(f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>')
        grid = step(highest)
        for line in range(int(highest / grid) + 1):
            out.append(f'<path d="M{LEFT} {y(line * grid):.1f}h{WIDTH}" stroke="#ddd"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y(line * grid) + 4:.1f}" text-anchor="end">{line * grid:,.6g}</text>')
        grid = step(last)
        for line in range(int(last / grid) + 1):
            out.append(f'<text x="{x(line * grid):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{line * grid:g} min</text>')
        for number, ((name, values), colour) in enumerate(zip(series, COLOURS)):
            points = " ".join(f"{x(row['minute']):.1f},{y(value):.1f}" for row, value in zip(rows, values))
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            out.append(f'<text x="{LEFT + WIDTH - 170 * (len(series) - number) + 170}" y="{top - 8}" fill="{colour}" '
                       f'text-anchor="end">{name}</text>')
    open(path, "w").write("\n".join([*out, "</svg>\n"]))


def mean(rows, columns, scale=1.0):
    return sum(sum(row[column] for column in columns) for row in rows) * scale / len(rows)


def report(rows, all_takes):
    third = len(rows) // 3
    middle, final = rows[third:2 * third], rows[2 * third:]
    print("| | mean of the middle third | of the last third | last to middle | highest |")
    print("|---|---:|---:|---:|---:|")
    grown = []
    for name, columns, scale, digits in [
        ("table, MB", ["codes_size"], 1 / MB, 1), ("its primary key, MB", ["codes_pkey_size"], 1 / MB, 1),
        ("its sweep index, MB", ["codes_sweep_size"], 1 / MB, 1), ("table and its indexes, MB", CODES, 1 / MB, 1),
        ("tokens and their indexes, MB", TOKENS, 1 / MB, 1), ("revoked families and their indexes, MB", ["families_total_size"], 1 / MB, 2),
        ("rows (code_stats)", ["rows"], 1, 0), ("dead rows", ["dead"], 1, 0), ("due and not yet swept (code_stats)", ["due"], 1, 0),
        ("p50 of the take, ms", ["take_p50_ms"], 1, 2), ("p99 of the take, ms", ["take_p99_ms"], 1, 2),
    ]:
        before, after = mean(middle, columns, scale), mean(final, columns, scale)
        highest = max(sum(row[column] for column in columns) for row in rows) * scale
        print(f"| {name} | {before:,.{digits}f} | {after:,.{digits}f} | {after / before if before else 0:.2f} | {highest:,.{digits}f} |")
        if "MB" in name and after > before * LEVEL:
            grown.append(name.removesuffix(", MB"))
    end = rows[-1]
    total = sum(mean(final, columns) for columns in (CODES, TOKENS)) / sum(mean(middle, columns) for columns in (CODES, TOKENS))
    verdict = "**levels off**" if total <= LEVEL else "**did not level off**"
    parts = f" Of its parts, {', '.join(grown)} had more than {LEVEL - 1:.0%}." if grown else ""
    print(f"\nThe size of the tables and their indexes {verdict}: the last third has {total:.2f} of the middle one.{parts}")
    latencies = [latency for _, latency in all_takes]
    print(f"\nThe takes of the whole run: p50 {percentile(latencies, 0.5):.2f} ms, p99 {percentile(latencies, 0.99):.2f} ms, "
          f"slowest {max(latencies):.0f} ms.")
    print(f"Takes answered ok: {end['takes_ok']:,.0f}, consumed: {end['takes_consumed']:,.0f}, error: {end['takes_error']:,.0f}; "
          f"marks ok: {end['marks_ok']:,.0f}; reuses: {end['reuses']:,.0f}.")
    print(f"Sweeps: {end['sweeps']:,.0f}, rows swept: {end['rows_swept']:,.0f}. Autovacuum went through the table "
          f"{end['vacuums']:,.0f} times; {end['hot_updates'] / end['updates']:.0%} of the {end['updates']:,.0f} updates were heap-only.")


samples_path, csv_path, svg_path, *logs = sys.argv[1:]
with open(samples_path) as file:
    samples = [{name: float(value or 0) for name, value in row.items()} for row in csv.DictReader(file)]
all_takes = takes(logs)
rows = list(joined(samples, all_takes))
write_csv(csv_path, rows)
write_svg(svg_path, rows)
report(rows, all_takes)
