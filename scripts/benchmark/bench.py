"""One run of scripts/bench: what it was told, the servers that it starts, and how it runs the generator on them."""

import contextlib
import os
import resource
import tempfile
import time
from pathlib import Path

from . import servers
from .record import progress

# Apache keeps its last 500 writes in memory: with values of 1 MB its usual heap is too small.
LARGE_HEAP = "-Xmx4000m"
# Above this share of a core, spent by others, a run was not alone.
OTHERS_PERCENT_MAX = 10


class Bench:
    def __init__(self, options, record, directory):
        self.options = options
        self.record = record
        self.directory = directory

    @property
    def contenders(self):
        """The kinds that are compared everywhere; the floor is beside them in the rows that have one."""
        return ["zkd", *(f"Apache {version}" for version in self.options.apache)]

    def kinds(self, rows):
        return self.contenders + (["floor"] if self.options.floor and all(row.floor for row in rows) else [])

    def make(self, kind, count=1, large=False):
        """A server, or an ensemble of so many, of this kind. It is not started. The floor is always one. With `large` Java
        gets more memory."""
        if count > 1 and kind != "floor":
            return servers.Ensemble([self.make(kind, large=large) for _ in range(count)], self.options.ports)
        place = tempfile.mkdtemp(prefix=kind.split()[0].lower() + "-", dir=self.directory)
        common = (self.options.bench, place, self.options.ports)
        if kind == "zkd":
            return servers.Zkd(*common, binary=self.options.zkd)
        if kind == "floor":
            return servers.Floor(*common)
        java_options = self.options.java_options + ([LARGE_HEAP] if large else [])
        return servers.Apache(*common, version=kind.split()[1], java_options=java_options)

    @contextlib.contextmanager
    def running(self, kinds, count=1, large=False, warm=True):
        """{kind: server}, started, and warm unless told otherwise."""
        started = {}
        try:
            for kind in kinds:
                started[kind] = self.make(kind, count, large)
                started[kind].start()
                if warm:
                    self.warm(started[kind])
                progress(f"{kind} runs as process {started[kind].pid}")
            yield started
        finally:
            for server in started.values():
                server.remove()

    def warm(self, server, load=("load",)):
        """Java compiles what runs often: lets it, before anything counts."""
        if self.options.warmup:
            args = [*load, "--seconds", str(self.options.warmup), "--warmup", "0"]
            server.run_bench(args, self.options.warmup + 200)

    def run(self, row, kind, round_number, server, args, all_servers=(), more=None):
        """Runs the generator, records its report with what others used of the machine meanwhile, and answers it."""
        before = others_seconds([server, *all_servers])
        report = server.run_bench(args, self.options.seconds + 1200)
        report["others_percent"] = others_percent(before, others_seconds([server, *all_servers]))
        self.keep(row, kind, round_number, report | (more or {}), args)
        return report

    def keep(self, row, kind, round_number, report, args=()):
        """Records a report and tells its first figures."""
        self.record.add(row.name, kind, round_number, report, args)
        shown = [f"{figure.title} {report[figure.key] / figure.scale:,.1f} {figure.unit}"
                 for figure in row.figures if report.get(figure.key) is not None][:4]
        progress(f"{row.name:18} {kind:13}", ", ".join(shown), company(report))


def company(report):
    others = report.get("others_percent", 0)
    return f"(not alone: others used {others:.0f} % of a core)" if others > OTHERS_PERCENT_MAX else ""


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def thread_seconds(pids):
    """CPU seconds of all threads that live, to the nanosecond where cpu_seconds has hundredths; for differences only."""
    nanoseconds = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):      # a thread may end while its file is read
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def others_seconds(running):
    """When, and CPU seconds that neither the servers nor the generator spent until then."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = ticks
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    pids = {pid for server in running for pid in server.pids}
    own = sum(one.ru_utime + one.ru_stime for one in usage) + sum(map(cpu_seconds, pids))
    return time.monotonic(), busy - own


def others_percent(before, after):
    return round(max(0.0, after[1] - before[1]) / (after[0] - before[0]) * 100, 1)


def raise_descriptors(wanted):
    """Servers and generator inherit it: each session is a descriptor in both. Answers what the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (wanted, hard):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, soft), max(limit, hard)))
            return max(limit, soft)
    return soft
