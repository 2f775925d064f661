"""scripts/bench: what it takes on the command line, and the groups one after the other."""

import argparse
import datetime
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from . import failover, fills, idle, latency, loads, robust, rows, scaling, servers, table, watches
from .bench import Bench, raise_descriptors
from .record import Record, progress

ROOT = Path(__file__).resolve().parents[2]
# 100,000 watchers, each with a connection, in one server; and what a server or a generator has beside them.
DESCRIPTORS = 110_000
DESCRIPTORS_SPARE = 500

MEASURES = {
    "standalone": loads.measure, "operations": loads.measure, "three": loads.measure, "one": loads.measure,
    "big": loads.measure, "watch": watches.measure, "memory": fills.measure, "tree": fills.measure, "idle": idle.measure,
    "latency": latency.measure, "latency-low": latency.measure, "failover": failover.measure, "robust": robust.measure,
    "scaling": scaling.measure, "scaling-large": scaling.measure,
}
# Options that say where things are, and nothing about the figures.
PLACES = ("--zkd", "--bench", "--dir", "--raw", "--out", "--short", "--ports")
# What only runs when it is named.
ASKED_FOR = ("scaling", "scaling-large")


def main(doc):
    options = parse_options(doc)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    record = Record(None if options.table else options.raw)
    failed = False
    if options.table:
        for path in options.table:
            record.read(path)
    else:
        failed = measure_all(options, record)
    text = table.markdown(record)
    print(text)
    if options.out:
        Path(options.out).write_text(text, encoding="utf-8")
    if options.short:
        document = Path(options.short)
        document.write_text(table.refreshed(document.read_text(encoding="utf-8"), record), encoding="utf-8")
    return 1 if failed else 0


def measure_all(options, record):
    """Measures what is wanted, and goes on with the next group when one fails; whether one did."""
    options.descriptors = raise_descriptors(DESCRIPTORS)
    allowed = options.descriptors - DESCRIPTORS_SPARE
    options.per_process = min(options.per_process or allowed, allowed)
    wanted = wanted_rows(options)
    record.begin(conditions(options))
    directory = tempfile.mkdtemp(prefix="zkd-bench-", dir=options.dir)
    bench, failed = Bench(options, record, directory), False
    try:
        for group in rows.GROUPS:
            of_group = [row for row in wanted if row.group == group]
            try:
                if of_group:
                    MEASURES[group](bench, of_group)
            except Exception:       # whatever it is, hours of other rows must not be lost to it
                progress(f"group {group} failed:\n{traceback.format_exc()}")
                failed = True
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return failed


def parse_options(doc):
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "zkd"
    parser.add_argument("--zkd", default=str(default), help="the server (release build)")
    parser.add_argument("--bench", help="the load generator's command (default: the server's, with `bench`)")
    parser.add_argument("--apache", default="3.8.0", help=f"versions, of {', '.join(servers.APACHE)}; none to leave it out")
    parser.add_argument("--java-options", default="-Xmx1000m", help="default: the heap of Apache's own start script")
    parser.add_argument("--floor", action="store_true", help="also show canned answers from one thread")
    parser.add_argument("--only", help="rows or groups: " + ", ".join(rows.GROUPS))
    parser.add_argument("--rounds", type=int, help="rounds of A B (default 3, quick 1)")
    parser.add_argument("--seconds", type=float, help="measured seconds of each run (default 8, quick 1)")
    parser.add_argument("--warmup", type=float, help="seconds of load before a server's first row (default 8, quick 1)")
    parser.add_argument("--znodes", type=int, help="znodes of large trees (default 1000000, quick 50000)")
    parser.add_argument("--sessions", type=positive, help="idle sessions (default 50000, quick 2000)")
    parser.add_argument("--watchers", type=positive, help="watchers of one znode at most (default 100000, quick 2000)")
    parser.add_argument("--per-process", type=positive,
                        help="connections of one process at most (default: what the limit of open files allows)")
    parser.add_argument("--failovers", type=int, help="leaders that go, of each kind and in each way (default 20, quick 2)")
    parser.add_argument("--share", type=float, default=0.7, help="latency: the rate as a share of the most (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="does each row work? The figures mean little")
    parser.add_argument("--ports", type=ports, default="15000-31999", help="ports for servers (default %(default)s)")
    parser.add_argument("--dir", help="where the data directories go (default: the temporary directory)")
    parser.add_argument("--raw", help="write every report to this file, as JSON lines")
    parser.add_argument("--table", nargs="+", metavar="RAW", help="measure nothing: the table of what earlier runs wrote")
    parser.add_argument("--out", help="write the table to this file too")
    parser.add_argument("--short", help="bring the lines of a short table in this file up to date too")
    parser.add_argument("--list", action="store_true", help="measure nothing: the rows of each group")
    options = parser.parse_args()
    if options.list:
        list_rows()
        sys.exit()
    for name, usual, quick in [("rounds", 3, 1), ("seconds", 8, 1), ("warmup", 8, 1), ("znodes", 1_000_000, 50_000),
                               ("sessions", 50_000, 2000), ("watchers", 100_000, 2000), ("failovers", 20, 2)]:
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    options.apache = [] if options.apache == "none" else options.apache.split(",")
    unknown = set(options.apache) - set(servers.APACHE)
    if unknown:
        parser.error(f"unknown versions of Apache: {', '.join(unknown)}")
    unknown = set(options.only.split(",") if options.only else ()) - set(rows.GROUPS) - set(rows.BY_NAME)
    if unknown:
        parser.error(f"unknown rows: {', '.join(unknown)}")
    options.zkd = str(Path(options.zkd).resolve())
    if not options.table and not Path(options.zkd).exists():
        parser.error(f"no {options.zkd}: cargo build --release")
    options.java_options = shlex.split(options.java_options)
    options.bench = shlex.split(options.bench) if options.bench else [options.zkd, "bench"]
    return options


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def ports(text):
    first, last = map(int, text.split("-"))
    return range(first, last + 1)


def list_rows():
    for group in rows.GROUPS:
        print(f"{group:15}", " ".join(row.name for row in rows.ROWS if row.group == group))


def wanted_rows(options):
    if not options.only:
        return [row for row in rows.ROWS if row.group not in ASKED_FOR]
    words = options.only.split(",")
    return [row for row in rows.ROWS if row.group in words or row.name in words]


def conditions(options):
    """What a reader of the figures must know."""
    java = ""
    if options.apache:
        java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    return {
        "command": command(sys.argv[1:]),
        "day": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "machine": machine(),
        "java": java.splitlines()[0] if java else "no Java",
        "java_options": shlex.join(options.java_options),
        "apache": options.apache,
        "descriptors": options.descriptors,
    }


def command(words):
    """The command, without what only says where things are on this machine."""
    shown, words = ["scripts/bench"], iter(words)
    for word in words:
        name, separate, _value = word.partition("=")
        if name not in PLACES:
            shown.append(word)
        elif not separate:
            next(words, None)
    return shlex.join(shown)


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"
