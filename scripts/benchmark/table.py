"""The reports as Markdown: medians with their spread, ratios, the generator's share, aims and whether they are met."""

import re
import statistics

from . import rows
from .bench import OTHERS_PERCENT_MAX

TITLES = {
    "standalone": "One server: get and set", "operations": "One server: other operations", "three": "Three servers",
    "one": "One client, one request at a time", "big": "Long lists and large values", "watch": "Watches",
    "memory": "Memory, start, snapshots", "tree": "The tree of a large installation", "idle": "Idle sessions",
    "latency": "Latency at fixed times, with snapshots",
    "latency-low": "Latency at a rate that all can do, with snapshots", "failover": "The leader goes",
    "robust": "Clients and servers that do not behave", "scaling": "How costs grow",
}

# The columns of a short table, before the ratios.
SHORT_KINDS = ("zkd", "Apache 3.8.0", "Apache 3.9.5", "floor")


def markdown(record):
    """All that the record has, in the order of rows.ROWS."""
    lines = []
    for group, title in TITLES.items():
        found = [row for row in rows.ROWS if row.group.removesuffix("-large") == group and row.name in record.rows]
        if found:
            lines += [f"### {title}", "", *(scaling(record, found) if group == "scaling" else plain(record, found)), ""]
    return "\n".join([*lines, *conditions(record)]) + "\n"


def plain(record, found):
    """One line for each figure of each row."""
    kinds = kinds_of(record, found)
    apaches = [kind for kind in kinds if kind.startswith("Apache")]
    lines = head(["", *kinds, *(f"ahead of {kind}" for kind in apaches), "generator", "aim", "met"])
    for title, row, figure, medians in figures_of(record, found):
        aim = row.aims.get(figure.key)
        lines.append(line([
            title,
            *(cell(record.rows[row.name].get(kind, []), figure) for kind in kinds),
            *(ahead(medians, kind, figure) for kind in apaches),
            share(medians) if figure.key == rows.CPU.key else "",
            aim.text if aim else "",
            {True: "yes", False: "**no**", None: "?"}[aim.met(medians, figure.key)] if aim else "",
        ]))
    return lines


def figures_of(record, found):
    """The title, row, figure and each kind's medians of all figures that somebody has."""
    for row in found:
        reports = record.rows[row.name]
        medians = {kind: medians_of(some) for kind, some in reports.items()}
        title = row.title.format(**{"processes": 1} | next(iter(reports.values()))[0])
        for figure in row.figures:
            if any(figure.key in some for some in medians.values()):
                yield f"{title}: {figure.title}", row, figure, medians


def refreshed(document, record):
    """`document` with a short table, whose lines have the record's medians now. A line stands for the figure that has its
    title, with whatever numbers a run has in it; of the two groups of latencies it is the one at a rate that all can do."""
    found = [row for row in rows.ROWS if row.name in record.rows and row.group != "latency"]
    new = []
    for title, row, figure, medians in figures_of(record, found):
        cells = [median(medians.get(kind, {}), figure) for kind in SHORT_KINDS]
        times = [ahead(medians, kind, figure) for kind in SHORT_KINDS if kind.startswith("Apache")]
        begins = ".+?".join(map(re.escape, re.split("{.*?}", f"| {row.title}: {figure.title} |")))
        new.append((re.compile(begins), line([title, *cells, " / ".join(times)])))
    return "\n".join(next((text for begins, text in new if begins.match(old)), old) for old in document.split("\n"))


def median(medians, figure):
    if figure.key not in medians:
        return "–"
    unit = "" if figure.unit == "/s" else " "
    return f"{number(medians[figure.key] / figure.scale)}{unit}{figure.unit}"


def scaling(record, found):
    """A table for each thing that grows: a line for each point, a column for each figure and kind."""
    lines = []
    for axis in dict.fromkeys(row.axis for row in found):
        some = [row for row in found if row.axis == axis]
        kinds = kinds_of(record, some)
        figures = some[0].figures
        lines += head([axis, *(f"{figure.title}, {kind}" for figure in figures for kind in kinds)])
        for row in some:
            cells = [cell(record.rows[row.name].get(kind, []), figure) for figure in figures for kind in kinds]
            lines.append(line([f"{row.point:,}", *cells]))
        lines.append("")
    return lines[:-1]


def head(columns):
    return [line(columns), "| --- |" + " ---: |" * (len(columns) - 1)]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def kinds_of(record, found):
    """zkd, Apache by version, floor."""
    kinds = {kind for row in found for kind in record.rows[row.name]}
    return sorted(kinds, key=lambda kind: (kind != "zkd", kind == "floor", kind))


def medians_of(reports):
    keys = {key for report in reports for key, value in report.items() if isinstance(value, (int, float))}
    return {key: statistics.median(values_of(reports, key)) for key in keys}


def values_of(reports, key):
    return [report[key] for report in reports if isinstance(report.get(key), (int, float))]


def cell(reports, figure):
    """The median, and between which values it stands."""
    values = [value / figure.scale for value in values_of(reports, figure.key)]
    if not values:
        return "–"
    spread = f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else ""
    return median(medians_of(reports), figure) + spread


def number(value):
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ahead(medians, kind, figure):
    """How many times zkd is ahead."""
    zkd, other = medians.get("zkd", {}).get(figure.key), medians.get(kind, {}).get(figure.key)
    if not zkd or not other or zkd < 0 or other < 0:
        return "–"
    return f"{zkd / other if figure.more_is_better else other / zkd:.1f}×"


def share(medians):
    """The generator's CPU time beside that of the servers, for zkd, where it matters most."""
    zkd = medians.get("zkd", {})
    server, own = zkd.get("server_cpu_us_per_op"), zkd.get("bench_cpu_us_per_op")
    return f"{own / server:.0%} of zkd's" if server and own is not None else ""


def conditions(record):
    """Machine, versions, commands, and whether the runs were alone."""
    lines = []
    machines = list(dict.fromkeys(f"{run['machine']}. {run['java']}, `{run['java_options']}`." for run in record.runs))
    for run in record.runs:
        # Where there were several, which one it was.
        machine = f", on {run['machine'].split(',')[0]}" if len({run["machine"] for run in record.runs}) > 1 else ""
        lines.append(f"Made by `{run['command']}` on {run['day']}{machine}: {run['rounds']} rounds in turn, "
                     f"{run['seconds']:g} s each; median (least–most).")
    lines.extend(machines)
    lines.append("CPU is user and system time of all server processes for each operation; generator and servers share the machine.")
    others = [report["others_percent"] for some in record.rows.values() for reports in some.values()
              for report in reports if "others_percent" in report]
    if others:
        many = sum(one > OTHERS_PERCENT_MAX for one in others)
        lines.append(f"Other processes used {statistics.median(others):.0f} % of a core in the median run, {max(others):.0f} % in "
                     f"the worst; above {OTHERS_PERCENT_MAX} % in {many} of {len(others)}.")
    return lines
