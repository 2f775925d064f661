"""Latencies at 70% (--share) of what zkd can do at most, or in the group latency-low of what all can do, at fixed times, while
all write a snapshot every 30 seconds.

The tree is large, so that a snapshot takes a while. How often one is written is set by snapCount: a server begins one
after between half of it and all of it, three quarters in the mean. The floor has neither tree nor snapshots: what it shows
is how late the machine is by itself.
"""

import statistics

from .fills import FILL, FILL_SECONDS_MAX, birth
from .rows import SET_SHARE

SNAP_COUNT_MEAN = 0.75


def measure(bench, rows):
    options = bench.options
    period = 5 if options.quick else 30
    seconds = period * 2.2
    with bench.running(bench.kinds(rows)) as running:
        for server in (running[kind] for kind in bench.contenders):
            fill = ["fill", "--root", "/filled", "--znodes", str(options.znodes), "--size", "100", *FILL]
            server.run_bench(fill, FILL_SECONDS_MAX)
        # Before snapshots are written more often.
        peaks = {row.name: peak(bench, row, running) for row in rows}
        for row in rows:
            rate = peaks[row.name] * options.share
            snap_count = max(2, int(rate * SET_SHARE[row.name.rsplit("-", 1)[-1]] * period / SNAP_COUNT_MEAN))
            for kind, server in running.items():
                if kind in bench.contenders:
                    server.stop()
                    server.extra["snapCount"] = snap_count
                    server.start()
                bench.warm(server, row.args)
                args = [*row.args, "--rate", f"{rate:.0f}", "--seconds", str(seconds), "--per-second"]
                report = server.run_bench(args, seconds + 600)
                more = {"rate": rate, "peak": peaks[row.name], "znodes": options.znodes, "snap_count": snap_count}
                bench.keep(row, kind, 1, report | more | beside_snapshots(server, report), args)


def peak(bench, row, running):
    """The most that zkd can do, or all can."""
    seconds = bench.options.seconds
    load = [*row.args, "--seconds", str(seconds)]
    kinds = ["zkd"] if row.group == "latency" else bench.contenders
    return min(running[kind].run_bench(load, seconds + 200)["ops_per_second"] for kind in kinds)


def beside_snapshots(server, report):
    """The p99 of seconds in which a snapshot was written, and of the others."""
    began = report["began_unix_ms"] / 1000
    written = [(birth(path) - began, path.stat().st_mtime - began) for path in server.snapshots()]
    written = [(start, end) for start, end in written if end > 0 and start < report["seconds"]]
    quiet, busy = [], []
    for second, p99 in enumerate(report["second_p99_us"][:int(report["seconds"])]):
        during = any(start < second + 1 and end > second for start, end in written)
        (busy if during else quiet).append(p99)
    figures = {"snapshots": len(written), "snapshot_times": [[round(at, 2) for at in pair] for pair in written]}
    for key, found in [("quiet_second_p99_us", quiet), ("snapshot_second_p99_us", busy)]:
        if found:
            figures[key] = statistics.median(found)
    return figures
