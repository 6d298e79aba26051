#!/usr/bin/env python3
"""others.py TITLE: a bar chart of that scenario as SVG, from the lines of run.sh. A bar is the median of the rounds, the
line in it goes from their minimum to their maximum. What stores nothing is left out."""
import sys
from statistics import median

OURS, THEIRS = "#4a86c8", "#a9b4be"
WIDTH, LEFT, TOP, BAR, GAP = 620, 120, 34, 18, 8


def draw(found):
    highest = max(max(rates) for contenders in found.values() for rates in contenders.values())
    x = lambda rate: LEFT + rate / highest * (WIDTH - LEFT - 70)
    out, top = [], TOP
    for clients, contenders in found.items():
        out.append(f'<text x="{LEFT}" y="{top - 10}" font-weight="bold">{clients} clients, cycles a second</text>')
        for number, (name, rates) in enumerate(contenders.items()):
            y = top + number * (BAR + GAP)
            middle, text = y + BAR / 2, y + BAR - 5
            weight, colour = ("bold", OURS) if number == 0 else ("normal", THEIRS)
            out.append(f'<text x="{LEFT - 8}" y="{text}" text-anchor="end" font-weight="{weight}">{name}</text>')
            out.append(f'<rect x="{LEFT}" y="{y}" width="{x(median(rates)) - LEFT:.1f}" height="{BAR}" fill="{colour}"/>')
            out.append(f'<path d="M{x(min(rates)):.1f} {middle}H{x(max(rates)):.1f}" stroke="#222" stroke-width="1.5"/>')
            out.append(f'<text x="{x(max(rates)) + 6:.1f}" y="{text}" font-weight="{weight}">{median(rates):,.0f}</text>')
        top += len(contenders) * (BAR + GAP) + 40
    height = top - 28
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *out, "</svg>"]


found = {}
for line in sys.stdin:
    title, _, _, clients, _, contender, rate = line.rstrip("\n").split("\t")[:7]
    if title == sys.argv[1] and contender != "floor":
        found.setdefault(clients, {}).setdefault(contender, []).append(float(rate))
print("\n".join(draw(found)))
