# SPDX-License-Identifier: Apache-2.0
"""What every benchmark here shares: interleaved rounds, medians and ratios,
the machine they ran on, one JSON document and one picture (SVG).

A benchmark is a list of contenders; each is run once a round, in an order that
turns from round to round, so that what the machine does besides hits all
alike. The first contender may be entered twice: its second entry is the
control, whose ratio to the first tells how far to trust the others."""

import json
import os
import platform
import statistics
import sys
import time


def machine():
    """The machine, as a line for people and for the JSON."""
    model = "unknown CPU"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    backend = "kvm_pvm" if os.path.isdir("/sys/module/kvm_pvm") else \
        "kvm-intel" if os.path.isdir("/sys/module/kvm_intel") else \
        "kvm-amd" if os.path.isdir("/sys/module/kvm_amd") else "unknown"
    return {"cpu": model, "cores": os.cpu_count(),
            "kernel": platform.release(), "kvm": backend,
            "when": time.strftime("%Y-%m-%d", time.gmtime())}


def interleave(contenders, rounds, warmup=1):
    """Runs {name: function} in turns; the function returns a dict of figures.
    Returns {name: {figure: [values]}}."""
    names = list(contenders)
    got = {n: {} for n in names}
    for r in range(-warmup, rounds):
        k = r % len(names)
        for n in names[k:] + names[:k]:
            figures = contenders[n]()
            if r < 0:
                continue
            for f, v in figures.items():
                got[n].setdefault(f, []).append(v)
        if sys.stderr.isatty():
            sys.stderr.write("\rround %d of %d " % (r + 1, rounds))
    if sys.stderr.isatty():
        sys.stderr.write("\r")
    return got


def summary(values):
    return {"min": min(values), "median": statistics.median(values),
            "max": max(values), "n": len(values)}


def table(results, figure, unit, base):
    """Prints min, median, max and the ratio of medians to `base`."""
    ref = statistics.median(results[base][figure])
    print("%-28s %10s %10s %10s %8s" % (
        "%s (%s)" % (figure, unit), "min", "median", "max", "ratio"))
    for name, figures in results.items():
        if figure not in figures:
            continue
        s = summary(figures[figure])
        print("%-28s %10.2f %10.2f %10.2f %8.3f" % (
            name, s["min"], s["median"], s["max"], s["median"] / ref))


def write_json(path, title, results, units):
    doc = {"title": title, "machine": machine(), "units": units,
           "results": {n: {f: dict(summary(v), values=v)
                           for f, v in figs.items()}
                       for n, figs in results.items()}}
    with open(path, "w") as f:
        json.dump(doc, f, indent=1)
        f.write("\n")


def _escape(s):
    return s.replace("&", "&amp;").replace("<", "&lt;")


def write_svg(path, title, results, figures):
    """One row a contender, one panel a figure {name: unit}: every value a dot,
    the median a bar. Panels start at zero."""
    left, width, row, head = 290, 420, 26, 44
    out = []
    top = 34
    for figure, unit in figures.items():
        shown = [n for n in results if figure in results[n]]
        most = max(max(results[n][figure]) for n in shown) * 1.05
        out.append('<text x="10" y="%d" class="h">%s (%s)</text>' % (
            top + 14, _escape(figure), _escape(unit)))
        for i, n in enumerate(shown):
            y = top + head - 14 + i * row
            med = statistics.median(results[n][figure])
            out.append('<text x="%d" y="%d" text-anchor="end">%s</text>' % (
                left - 8, y + 5, _escape(n)))
            out.append('<rect x="%d" y="%d" width="%.1f" height="14"/>' % (
                left, y - 7, med / most * width))
            for v in results[n][figure]:
                out.append('<circle cx="%.1f" cy="%d" r="2"/>' % (
                    left + v / most * width, y))
            out.append('<text x="%d" y="%d">%.2f</text>' % (
                left + width + 8, y + 5, med))
        top += head + row * len(shown) + 30
    height = top + 6
    with open(path, "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" width="%d" '
                'height="%d" font-family="sans-serif" font-size="12">\n'
                '<style>.h{font-weight:bold}rect{fill:#9db8d2}'
                'circle{fill:#1f3b57;fill-opacity:.6}</style>\n'
                '<rect width="100%%" height="100%%" style="fill:#fff"/>\n'
                '<text x="10" y="20" class="h">%s</text>\n%s\n</svg>\n' % (
                    left + width + 90, height, _escape(title),
                    "\n".join(out)))
