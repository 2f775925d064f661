"""Rows about a tree of many znodes: what they take in memory, and how long a start, a snapshot and a learner take."""

import datetime
import os
import statistics
import subprocess
import time

FILL = ("--connections", "8", "--depth", "64", "--timeout-ms", "600000")
FILL_SECONDS_MAX = 3600
# Writes between two looks for a new snapshot; snapCount is 100,000.
NUDGES = 20_000
NUDGES_MAX = 50
# So long a snapshot may take behind them: it has been begun.
SNAPSHOT_SECONDS_MAX = 300
# A snapshot's file that has not changed for so long is complete.
STILL_SECONDS = 2


def measure(bench, rows):
    rows = {row.name: row for row in rows}
    for kind in bench.contenders:
        if "memory" in rows or "start" in rows:
            alone(bench, kind, rows, "flat", ["--size", "100"])
        if "tree" in rows:
            alone(bench, kind, rows, "real", ["--children", "100"])
        if "learner" in rows:
            learner(bench, kind, rows["learner"])


def alone(bench, kind, rows, shape, args):
    """One server: fill, snapshot, restarts."""
    server = bench.make(kind)
    try:
        server.start()
        empty, live = server.resident(), server.live()
        fill = ["fill", "--znodes", str(bench.options.znodes), "--shape", shape, *args, *FILL]
        report = server.run_bench(fill, FILL_SECONDS_MAX)
        each = 1 / report["znodes"]
        report["live_bytes_per_znode"] = (server.live() - live) * each
        started = snapshot(server) | {"znodes": report["znodes"]}
        seconds = []
        for _ in range(bench.options.rounds):
            server.stop()
            seconds.append(server.start(report["last_path"]))
        started |= {"start_seconds": statistics.median(seconds), "all_start_seconds": seconds}
        report["again_bytes_per_znode"] = (server.resident() - empty) * each
    finally:
        server.remove()
    if shape == "flat":
        keep(bench, rows, "memory", kind, report, fill)
        keep(bench, rows, "start", kind, started, fill)
    else:
        # The last component has 24 bytes in the mean, the data 47: src/cli/bench/shape.rs and its test.
        report["over_bytes_per_znode"] = report["server_bytes_per_znode"] - 24 - 47
        report["again_over_bytes_per_znode"] = report["again_bytes_per_znode"] - 24 - 47
        keep(bench, rows, "tree", kind, report | started, fill)


def keep(bench, rows, name, kind, report, args):
    if name in rows:
        bench.keep(rows[name], kind, 1, report, args)


def snapshot(server):
    """Writes until the server has written one more snapshot; how long that took and how long it is."""
    known = set(server.snapshots())
    for number in range(NUDGES_MAX):
        nudge = ["load", "--ops", "set", "--size", "10", "--znodes", "10", "--connections", "8", "--depth", "64"]
        server.run_bench([*nudge, "--root", f"/nudge-{number}", "--count", str(NUDGES), "--warmup", "0"], 600)
        if set(server.snapshots()) - known:
            break
    until = time.time() + SNAPSHOT_SECONDS_MAX
    while not (fresh := [path for path in server.snapshots() if path not in known]):
        if time.time() > until:
            raise RuntimeError(f"{server.name} writes no snapshot after {NUDGES_MAX * NUDGES} writes")
        time.sleep(STILL_SECONDS / 10)
    return snapshot_figures(fresh[-1])


def snapshot_figures(path):
    """From the birth of the file to its last write; waits for that."""
    while time.time() - path.stat().st_mtime < STILL_SECONDS:
        time.sleep(STILL_SECONDS / 10)
    stat = path.stat()
    return {"snapshot_seconds": stat.st_mtime - birth(path), "snapshot_bytes": stat.st_size}


def birth(path):
    """When the file was made, seconds since 1970. Python's stat does not say it."""
    told = subprocess.run(["stat", "-c", "%w", str(path)], capture_output=True, text=True, check=True,
                          env={**os.environ, "TZ": "UTC"})
    day, clock, _zone = told.stdout.split()
    whole, _, fraction = clock.partition(".")
    moment = datetime.datetime.fromisoformat(f"{day}T{whole}+00:00")
    return moment.timestamp() + float(f"0.{fraction}")


def learner(bench, kind, row):
    """Three servers: a follower loses its data and comes back."""
    ensemble = bench.make(kind, 3)
    try:
        ensemble.start()
        fill = ["fill", "--znodes", str(bench.options.znodes), "--size", "100", *FILL]
        report = ensemble.run_bench(fill, FILL_SECONDS_MAX)
        for number in range(1, bench.options.rounds + 1):
            follower = ensemble.followers()[0]
            follower.stop()
            for path in (follower.data / "version-2").iterdir():
                path.unlink()
            seconds = follower.start(report["last_path"])
            bench.keep(row, kind, number, {"learner_seconds": seconds, "znodes": report["znodes"]}, fill)
    finally:
        ensemble.remove()
