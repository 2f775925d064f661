"""A disk that is slow, or hangs, below a server: what others get meanwhile, and how memory grows.

slow_disk.c stands before the server's fdatasync and fsync. One load goes on through all phases, and its seconds are
reported each by itself; a phase has those that lie in it as a whole.
"""

import contextlib
import fcntl
import statistics
import subprocess
import time
from pathlib import Path

from . import servers

SOURCE = Path(__file__).resolve().parent / "slow_disk.c"
COMPILE_SECONDS_MAX = 60
SLOW_MS = 100
STUCK_SECONDS, STUCK_SECONDS_QUICK = 10, 3
# Beside gets: connections that write, and how often all together. That costs the gets little, and the same with a disk that
# is slow as without: nobody's write is due before the one before it is through two flushes. When the disk hangs, soon each of
# 400 has a write that waits for it, or 8,000 have one after the other.
WRITERS = {"disk-slow": (8, 20), "disk-stuck": (400, 400), "disk-stuck-many": (8000, 800)}
# Writers start before the load beside them and end after it.
SPARE_SECONDS = 4
WAIT_SECONDS_MAX = 200


class Disk:
    """What a server's flushes meet."""

    def __init__(self, bench, server):
        self.server, self.library = server, library(bench)
        self.path = server.directory / "disk"
        self.path.touch()
        self.lock = contextlib.ExitStack()
        server.environment |= {"LD_PRELOAD": self.library, "SLOW_DISK": str(self.path)}

    def check(self):
        """Whether its server has the library: a static binary would not, and would look good."""
        for pid in self.server.pids:
            if Path(self.library).name not in Path(f"/proc/{pid}/maps").read_text():
                raise RuntimeError(f"{self.server.name} flushes past {self.library}: is it a static binary?")

    def slow(self):
        self.path.write_text(str(SLOW_MS))

    def hang(self):
        """No flush goes on until `heal`."""
        file = self.lock.enter_context(open(self.path, "rb"))
        fcntl.flock(file, fcntl.LOCK_EX)

    def heal(self):
        self.lock.close()
        self.path.write_text("")


def library(bench):
    """The library, compiled once for each run."""
    path = Path(bench.directory) / "slow_disk.so"
    if not path.exists():
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(path), str(SOURCE)]
        subprocess.run(command, check=True, timeout=COMPILE_SECONDS_MAX)
    return str(path)


def slow(bench, row, kind, number):
    """One server: gets beside a few writes."""
    one_server(bench, row, kind, number, Disk.slow, phase_seconds(bench.options))


def stuck(bench, row, kind, number):
    """One server: gets beside writes that all come to wait; a run without an error has had all of them acknowledged."""
    seconds = STUCK_SECONDS_QUICK if bench.options.quick else STUCK_SECONDS
    one_server(bench, row, kind, number, Disk.hang, seconds)


def one_server(bench, row, kind, number, trouble, trouble_seconds):
    seconds = phase_seconds(bench.options)
    connections, rate = WRITERS[row.name]
    connections = min(connections, bench.options.per_process)
    server = bench.make(kind)
    disk = Disk(bench, server)
    generators = []
    try:
        server.start()
        disk.check()
        bench.warm(server)
        writers = ["load", "--ops", "set", "--root", "/writers", "--connections", str(connections), "--rate", str(rate),
                   "--per-second", "--seconds", str(2 * seconds + trouble_seconds + SPARE_SECONDS)]
        generators.append(server.start_holding(writers))
        report = through(server, server, ["--ops", "get"], [
            ("before", seconds, None), ("during", trouble_seconds, lambda: trouble(disk)), ("after", seconds, disk.heal),
        ])
        writes = servers.finish_bench(generators[0], WAIT_SECONDS_MAX)
    finally:
        disk.heal()
        servers.kill_all(generators)
        server.remove()
    bench.keep(row, kind, number, report | {
        "trouble_seconds": trouble_seconds, "writers": connections, "writes_per_second": rate, "get_max_ms": report["load"]["max_us"] / 1000,
        "write_max_ms": writes["max_us"] / 1000, "writes": writes,
    }, writers)


def slow_follower(bench, row, kind, number):
    """Three servers, clients on two of them, and the third one's disk is slow."""
    seconds = phase_seconds(bench.options)
    ensemble = bench.make(kind, 3)
    disks = {member: Disk(bench, member) for member in ensemble.members}
    try:
        ensemble.start()
        for disk in disks.values():
            disk.check()
        bench.warm(ensemble)
        leader, (follower, other) = ensemble.leader(), ensemble.followers()
        disk = disks[follower]
        report = through(ensemble.only([leader, other]), leader, ["--ops", "set"], [
            ("before", seconds, None), ("during", seconds, disk.slow), ("after", seconds, disk.heal),
        ], follower)
    finally:
        ensemble.remove()
    bench.keep(row, kind, number, report)


def phase_seconds(options):
    """A phase has `--seconds` seconds as a whole, and one more that it shares with its neighbours."""
    return options.seconds + 1


def through(server, observed, args, phases, follower=None):
    """Runs a load through phases: name, seconds, what to do when it begins. The figures of each, and memory."""
    seconds = sum(seconds for _, seconds, _ in phases)
    load = server.start_holding(["load", *args, "--per-second", "--seconds", str(seconds + 1)])
    spans, report = {}, {}
    try:
        for name, seconds, begin in phases:
            if begin:
                begin()
            observed.reset_peak()
            began, bytes_before = time.time(), observed.peak()
            time.sleep(seconds)
            spans[name] = (began, time.time())
            report |= {f"peak_bytes_{name}": observed.peak(), f"grown_bytes_{name}": observed.peak() - bytes_before}
            if follower:
                report[f"follower_bytes_{name}"] = follower.resident()
        done = servers.finish_bench(load, WAIT_SECONDS_MAX)
    finally:
        servers.kill_all([load])
    for name, span in spans.items():
        report |= {f"{key}_{name}": value for key, value in in_span(done, *span).items()}
    return report | {"load": done}


def in_span(report, began, ended):
    """Throughput, its least in any second, and the median of p99 of the seconds that lie between two moments."""
    since = report["began_unix_ms"] / 1000
    numbers = [n for n in range(int(ended - since) + 1) if began <= since + n and since + n + 1 <= ended]
    # At the end of a load, seconds without an answer are not reported.
    ops = [(report["second_ops"][n:] or [0])[0] for n in numbers]
    # Where nothing was answered, somebody waited for all of that second.
    p99 = [report["second_p99_us"][n] if count else 1e6 for n, count in zip(numbers, ops)]
    return {"rate": statistics.mean(ops), "least_rate": min(ops), "p99_us": statistics.median(p99)}
