"""What is measured: each row's name, group, title, the generator's arguments, the figures to show and the aims for them.

Titles may name fields of the row's first report, as str.format does. Everything is data; how a group is measured stands
in the module that GROUPS names.
"""

from dataclasses import dataclass, field

from . import aims


@dataclass(frozen=True)
class Figure:
    """One number of a report."""

    title: str
    key: str
    unit: str
    more_is_better: bool = False
    scale: float = 1


CPU = Figure("CPU", "server_cpu_us_per_op", "µs")
RATE = Figure("throughput", "ops_per_second", "/s", True)
P50 = Figure("p50", "p50_us", "µs")
P99 = Figure("p99", "p99_us", "µs")
P999 = Figure("p99.9", "p999_us", "µs")


@dataclass(frozen=True)
class Row:
    name: str
    group: str
    title: str
    figures: tuple
    args: tuple = ()
    aims: dict = field(default_factory=dict)
    servers: int = 1
    floor: bool = True
    # Operations to count instead of seconds: where each one leaves something behind.
    count: int | None = None
    # A load by time, whose seconds the options say; False where the mode has an end of its own.
    timed: bool = True
    # In a scaling table: what grows, and how far it has grown.
    axis: str = ""
    point: int = 0


def load(ops, connections=64, depth=1, *more):
    return ("load", "--ops", ops, "--connections", str(connections), "--depth", str(depth), *more)


def watch(connections, znodes, cycles, depth=64):
    return ("watch", "--connections", str(connections), "--znodes", str(znodes), "--count", str(cycles), "--depth", str(depth))


ALL = (CPU, RATE, P50, P99)
FAST = aims.rate(2.5, floor=0.7)


def cpu_and_rate(cpu, rate=FAST):
    return {CPU.key: cpu, RATE.key: rate}


STANDALONE = [
    Row("get", "standalone", "get 1 KiB, 64 connections × 1", ALL, load("get"), cpu_and_rate(aims.times_floor(1.5))),
    Row("get-deep", "standalone", "get 1 KiB, 16 × 32", ALL, load("get", 16, 32), cpu_and_rate(aims.times_floor(5))),
    Row("set", "standalone", "set 1 KiB, 64 × 1", ALL, load("set"), cpu_and_rate(aims.times_floor(1.5))),
    Row("set-deep", "standalone", "set 1 KiB, 16 × 32", ALL, load("set", 16, 32), cpu_and_rate(aims.times_floor(2))),
]

QUARTER = cpu_and_rate(aims.of_apache(4))
OPERATIONS = [
    Row("create", "operations", "create 1 KiB, 64 × 1", ALL, load("create"), QUARTER, count=192_000),
    Row("delete", "operations", "delete 1 KiB, 64 × 1", ALL, load("delete"), QUARTER, count=192_000),
    Row("exists", "operations", "exists, 64 × 1", ALL, load("exists"), QUARTER),
    Row("children", "operations", "getChildren of 10, 64 × 1", ALL, load("children"), QUARTER),
    Row("multi10", "operations", "multi of 10 set 1 KiB, 64 × 1", ALL, load("multi10"), cpu_and_rate(aims.of_apache(8))),
    Row("multi100", "operations", "multi of 100 set 1 KiB, 64 × 1", ALL, load("multi100"), QUARTER),
    Row("connect", "operations", "connect, create an ephemeral, close; 16 clients", ALL, load("ephemeral", 16),
        cpu_and_rate(aims.of_apache(3))),
    Row("create-deep", "operations", "create 1 KiB, 16 × 32", ALL, load("create", 16, 32), QUARTER, count=384_000),
    Row("exists-deep", "operations", "exists, 16 × 32", ALL, load("exists", 16, 32), QUARTER),
    Row("children-deep", "operations", "getChildren of 10, 16 × 32", ALL, load("children", 16, 32), QUARTER),
    Row("multi10-deep", "operations", "multi of 10 set 1 KiB, 16 × 32", ALL, load("multi10", 16, 32),
        cpu_and_rate(aims.of_apache(8))),
]

TWELFTH = cpu_and_rate(aims.of_apache(12))
THREE = [
    Row("three-get", "three", "three servers: get 1 KiB, 48 × 4", ALL, load("get", 48, 4),
        cpu_and_rate(aims.times_floor(2)), 3),
    Row("three-set", "three", "three servers: set 1 KiB, 96 × 8", ALL, load("set", 96, 8),
        cpu_and_rate(aims.of_apache(5)), 3),
    Row("three-mix", "three", "three servers: 70 get : 30 set 1 KiB, 48 × 4", ALL, load("get=70,set=30", 48, 4), TWELFTH, 3),
    Row("three-mix-90", "three", "three servers: 90 get : 10 set 1 KiB, 48 × 4", ALL, load("get=90,set=10", 48, 4), TWELFTH, 3),
    Row("three-mix-50", "three", "three servers: 50 get : 50 set 1 KiB, 48 × 4", ALL, load("get=50,set=50", 48, 4), TWELFTH, 3),
]

ONE_FIGURES = (P50, P99, CPU, Figure("one flush of the disk", "flush_us", "µs"))
ONE = [
    Row("one-create", "one", "create 1 KiB, one at a time", ONE_FIGURES, load("create", 1),
        {P50.key: aims.floor_plus(50), P99.key: aims.below_apache()}, count=4000),
    Row("three-one-create", "one", "three servers: create 1 KiB, one at a time", ONE_FIGURES, load("create", 1),
        {P50.key: aims.flush_plus(120), P99.key: aims.below_apache()}, 3, count=4000),
]

SIXTH = cpu_and_rate(aims.of_apache(6))
AHEAD = cpu_and_rate(aims.below_apache(), aims.rate(1))
BIG = [
    Row("list", "big", "getChildren of 100,000, 16 × 1", ALL, load("children", 16, 1, "--children", "100000"), SIXTH),
    Row("get-64k", "big", "get 64 KiB, 16 × 1", ALL, load("get", 16, 1, "--size", "65536"), AHEAD),
    Row("set-64k", "big", "set 64 KiB, 16 × 1", ALL, load("set", 16, 1, "--size", "65536"), AHEAD, count=10_000),
    Row("get-1m", "big", "get 1,000,000 bytes, 16 × 1", ALL,
        load("get", 16, 1, "--size", "1000000", "--znodes", "64"), AHEAD),
    Row("set-1m", "big", "set 1,000,000 bytes, 16 × 1", ALL,
        load("set", 16, 1, "--size", "1000000", "--znodes", "64"), AHEAD, count=1000),
]

WATCH_FIGURES = (
    Figure("CPU per event", "server_cpu_us_per_op", "µs"),
    Figure("last event behind the write", "last_event_ms", "ms"),
    Figure("events", "ops_per_second", "/s", True),
    Figure("CPU per registration (a get 1 KiB)", "server_cpu_us_per_registration", "µs"),
)
FEW, MANY = {CPU.key: aims.of_apache(4)}, {CPU.key: aims.of_apache(12)}
WATCH = [
    Row("watch-1x1000", "watch", "one znode with {watchers:,} watchers", WATCH_FIGURES, watch(1000, 1, 20), FEW, timed=False),
    Row("watch-1000x1", "watch", "1,000 znodes with one watcher", WATCH_FIGURES, watch(1, 1000, 20), FEW, timed=False),
    Row("watch-1000x100", "watch", "1,000 znodes with 100 watchers", WATCH_FIGURES, watch(100, 1000, 3), MANY, timed=False),
    Row("watch-1x100000", "watch", "one znode with {watchers:,} watchers, servers: {processes}", WATCH_FIGURES,
        watch(100_000, 1, 3), MANY | {"last_event_ms": aims.most(1000, "ms")}, timed=False),
]

START = Figure("start from a snapshot until the last znode is read", "start_seconds", "s")
WRITE_SNAPSHOT = Figure("write a snapshot, under writes", "snapshot_seconds", "s")
CPU_PER_CREATE = Figure("CPU per create, 8 connections × 64", "server_cpu_us_per_op", "µs")
MEMORY = [
    Row("memory", "memory", "{znodes:,} znodes of 100 bytes", (
        Figure("resident memory each", "server_bytes_per_znode", "bytes"),
        Figure("live memory each (Apache: heap after a full collection)", "live_bytes_per_znode", "bytes"),
        Figure("resident memory each after a restart", "again_bytes_per_znode", "bytes"),
        CPU_PER_CREATE,
        RATE,
    ), aims={"server_bytes_per_znode": aims.most(260, "bytes"), "again_bytes_per_znode": aims.most(260, "bytes")}, floor=False),
    Row("start", "memory", "{znodes:,} znodes of 100 bytes", (
        START,
        WRITE_SNAPSHOT,
        Figure("snapshot's length", "snapshot_bytes", "MB", scale=1e6),
    ), aims={"start_seconds": aims.both(aims.most(2, "s"), aims.of_apache(8))}, floor=False),
    Row("learner", "memory", "{znodes:,} znodes of 100 bytes, three servers", (
        Figure("a follower without data until it reads the last znode (SNAP)", "learner_seconds", "s"),
    ), floor=False),
]

TREE = [
    Row("tree", "tree", "{znodes:,} znodes like those of a large installation", (
        Figure("resident memory over last component and data", "over_bytes_per_znode", "bytes"),
        Figure("the same after a restart", "again_over_bytes_per_znode", "bytes"),
        START,
        WRITE_SNAPSHOT,
        CPU_PER_CREATE,
    ), aims={"over_bytes_per_znode": aims.most(100, "bytes"), "again_over_bytes_per_znode": aims.most(100, "bytes"),
             "start_seconds": aims.of_apache(8)}, floor=False),
]

IDLE = [
    Row("idle", "idle", "{sessions:,} idle sessions, servers: {processes}", (
        Figure("resident memory each", "resident_bytes_per_session", "bytes"),
        Figure("live memory each (Apache: heap after a full collection)", "live_bytes_per_session", "bytes"),
        Figure("CPU per ping", "server_cpu_us_per_ping", "µs"),
        Figure("sessions opened", "opened_per_second", "/s", True),
    ), aims={"resident_bytes_per_session": aims.most(1024, "bytes"), "server_cpu_us_per_ping": aims.of_apache(8),
             "opened_per_second": aims.rate(3)}, floor=False),
]

LATENCY_FIGURES = (
    Figure("rate that was reached", "ops_per_second", "/s", True),
    P50, P99, P999,
    Figure("p99 of a quiet second, median", "quiet_second_p99_us", "µs"),
    Figure("p99 of a second with a snapshot, median", "snapshot_second_p99_us", "µs"),
    Figure("longest of all", "max_us", "µs"),
)
TAIL = {P99.key: aims.below_apache(), P999.key: aims.tail(10)}
# Shares of set: without any there would be no snapshot.
LATENCY = [
    Row(f"{group}-{word}", group, f"{title} 1 KiB at {{rate:,.0f}}/s, {{znodes:,}} znodes, {{snapshots}} snapshots",
        LATENCY_FIGURES, load(ops), TAIL)
    for group in ["latency", "latency-low"]
    for word, title, ops in [("get", "get (0.5% set)", "get=199,set=1"), ("set", "set", "set"),
                             ("mix", "70 get : 30 set", "get=70,set=30")]
]
SET_SHARE = {"get": 0.005, "set": 1, "mix": 0.3}

LEADER_FIGURES = (Figure("no acknowledged write", "gap_ms", "ms"),)
FAILOVER = [
    Row("leader-killed", "failover", "leader killed under load", LEADER_FIGURES, floor=False,
        aims={"gap_ms": aims.most(300, "ms")}),
    Row("leader-stopped", "failover", "leader stopped under load", LEADER_FIGURES, floor=False,
        aims={"gap_ms": aims.most(50, "ms")}),
]

SLOW_FIGURES = (
    Figure("p99 of others without it", "p99_without_us", "µs"),
    Figure("p99 of others with it", "p99_us", "µs"),
    Figure("throughput of others without it", "rate_without", "/s", True),
    Figure("throughput of others with it", "ops_per_second", "/s", True),
    Figure("server's memory grows by", "grown_bytes", "MB", scale=1e6),
)
DISK_FIGURES = (
    Figure("p99 of gets without it", "p99_us_before", "µs"),
    Figure("p99 of gets with it", "p99_us_during", "µs"),
    Figure("throughput of gets without it", "rate_before", "/s", True),
    Figure("throughput of gets with it", "rate_during", "/s", True),
    Figure("the least in any second of it", "least_rate_during", "/s", True),
    Figure("longest get", "get_max_ms", "ms"),
    Figure("longest write", "write_max_ms", "ms"),
    Figure("server's memory grows by", "grown_bytes_during", "MB", scale=1e6),
)
STUCK = "the disk hangs for {trouble_seconds:g} s, beside get 64 × 1 and {writes_per_second} writes/s of {writers:,} clients"
PHASES = [("before", "all three run"), ("during", "one stopped"), ("after", "it goes on")]
ROBUST = [
    Row("never-reads", "robust", "a client that never reads, beside get 64 × 1", SLOW_FIGURES, ("slow",), floor=False),
    Row("reads-slowly", "robust", "a client that reads 10 KiB/s, beside get 64 × 1", SLOW_FIGURES,
        ("slow", "--read-rate", "10240"), floor=False),
    Row("follower-stopped", "robust", "a follower stopped (SIGSTOP) under set 1 KiB, 64 × 1 to the other two", tuple(
        Figure(f"{title}, {what}", f"{key}_{phase}", unit, key == "rate", scale)
        for key, title, unit, scale in [("rate", "throughput", "/s", 1), ("leader_bytes", "leader's memory", "MB", 1e6)]
        for phase, what in PHASES), floor=False),
    Row("disk-slow", "robust", "each flush of the log takes 100 ms longer, beside get 64 × 1 and {writes_per_second} writes/s",
        DISK_FIGURES, floor=False),
    Row("disk-stuck", "robust", STUCK, DISK_FIGURES, floor=False),
    Row("disk-stuck-many", "robust", STUCK, DISK_FIGURES, floor=False),
    Row("follower-disk-slow", "robust", "each flush of one follower takes 100 ms longer, under set 1 KiB, 64 × 1 to the other two",
        tuple(
            Figure(f"{title}, {what}", f"{key}_{phase}", unit, key == "rate", scale)
            for key, title, unit, scale in [("rate", "throughput", "/s", 1), ("p99_us", "p99", "µs", 1),
                                            ("peak_bytes", "leader's memory at most", "MB", 1e6),
                                            ("follower_bytes", "that follower's memory in the end", "MB", 1e6)]
            for phase, what in [("before", "before"), ("during", "meanwhile"), ("after", "after it")]), floor=False),
]

PER_CONNECTION = Figure("memory per connection", "bytes_per_item", "bytes")
PER_ZNODE = Figure("memory per znode", "server_bytes_per_znode", "bytes")
GET_CPU, SET_CPU = Figure("CPU per get", "get_cpu_us", "µs"), Figure("CPU per set", "set_cpu_us", "µs")
CREATE_CPU = Figure("CPU per create", "create_cpu_us", "µs")


def points(axis, word, values, figures, large=()):
    """Rows of one scaling table. Those above what --large asks for are left out otherwise."""
    return [Row(f"{word}-{value}", "scaling-large" if value in large else "scaling", f"{axis}: {value:,}", figures,
                axis=axis, point=value, floor=False) for value in values]


SCALING = [
    *points("connections", "connections", [1, 10, 100, 1000, 10_000], (GET_CPU, SET_CPU, PER_CONNECTION)),
    *points("requests in flight on each of 16 connections", "depth", [1, 2, 4, 8, 16, 32, 64, 128, 256], (GET_CPU, SET_CPU)),
    *points("znodes of 100 bytes", "tree", [1000, 10_000, 100_000, 1_000_000, 10_000_000],
            (GET_CPU, SET_CPU, CREATE_CPU, PER_ZNODE), large=[10_000_000]),
    *points("children of each znode, in a tree of --znodes with 100 bytes", "siblings", [10, 100, 1000, 10_000, 100_000, 1_000_000],
            (GET_CPU, SET_CPU, CREATE_CPU, PER_ZNODE)),
    *points("watches, of 100 connections", "watches", [0, 1000, 10_000, 100_000, 1_000_000, 10_000_000],
            (Figure("CPU per set elsewhere", "set_cpu_us", "µs"),
             Figure("CPU per registration", "server_cpu_us_per_registration", "µs"),
             Figure("CPU per event", "server_cpu_us_per_op", "µs"),
             Figure("memory per watch", "server_bytes_per_watch", "bytes")), large=[10_000_000]),
    *points("bytes of data", "size", [0, 100, 1024, 10_240, 102_400, 1_000_000],
            (GET_CPU, SET_CPU, CREATE_CPU, PER_ZNODE)),
    *points("servers", "servers", [1, 3, 5, 7],
            (GET_CPU, SET_CPU, Figure("CPU per 70 get : 30 set", "mix_cpu_us", "µs"),
             Figure("memory per znode, all servers", "server_bytes_per_znode", "bytes"))),
]

ROWS = [*STANDALONE, *OPERATIONS, *THREE, *ONE, *BIG, *WATCH, *MEMORY, *TREE, *IDLE, *LATENCY, *FAILOVER, *ROBUST, *SCALING]
BY_NAME = {row.name: row for row in ROWS}
GROUPS = list(dict.fromkeys(row.group for row in ROWS))
assert len(BY_NAME) == len(ROWS), "two rows of one name"
