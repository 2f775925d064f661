"""Watches. What one server may hold of them is a load like others; more watchers than that watch an ensemble.

Each of its servers has its share, and a generator process of its own that holds it; one more process writes. The times of
the write and of the last event are of the clock that all processes share, and CPU counts from the one to the other.
"""

import dataclasses
import statistics
import time

from . import loads, servers
from .bench import others_percent, others_seconds, thread_seconds
from .loads import CONNECTIONS_PER_SOURCE, SESSION_MS, shares, sources, value_of

# The generators end when all sessions are closed.
CLOSE_SECONDS_MAX = 600


def measure(bench, rows):
    rows = [limited(row, bench.options.watchers) for row in rows]
    narrow = [row for row in rows if watchers_of(row) <= bench.options.per_process]
    if narrow:
        loads.measure(bench, narrow)
    for row in rows:
        if row not in narrow:
            wide(bench, row)


def watchers_of(row):
    return int(value_of(row.args, "--connections"))


def limited(row, watchers):
    """The same row with no more watchers than these."""
    args = list(row.args)
    args[args.index("--connections") + 1] = str(min(watchers_of(row), watchers))
    return dataclasses.replace(row, args=tuple(args))


def wide(bench, row):
    """One kind at a time: several servers of each are enough for one machine."""
    share = shares(watchers_of(row), bench.options.per_process)
    for number in range(1, bench.options.rounds + 1):
        for kind in bench.contenders:
            with bench.running([kind], len(share)) as running:
                before = others_seconds([running[kind]])
                report = cycles(running[kind], row, share)
                report["others_percent"] = others_percent(before, others_seconds([running[kind]]))
                bench.keep(row, kind, number, report, row.args)


def cycles(ensemble, row, share):
    """All register, one writes, all get their event: as often as the row says."""
    znodes, count = int(value_of(row.args, "--znodes")), int(value_of(row.args, "--count"))
    common = ["watch", "--znodes", str(znodes), "--depth", value_of(row.args, "--depth"), "--timeout-ms", str(SESSION_MS)]
    generators = []
    try:
        writer = ensemble.members[0].start_holding([*common, "--part", "write"])
        generators.append(writer)
        began, watchers = time.monotonic(), []
        for i, (member, some) in enumerate(zip(ensemble.members, share)):
            from_where = sources(some, i * (1 + max(share) // CONNECTIONS_PER_SOURCE))
            watchers.append(member.start_bench([*common, "--part", "watch", "--connections", str(some), "--source", from_where]))
            generators.append(watchers[-1])
        said_by_all(watchers, "holding")
        opened = time.monotonic() - began
        sums = [cycle(ensemble.pids, writer, watchers) for _ in range(count)]
        for generator in generators:
            servers.no_more_cues(generator)
        for generator in generators:
            servers.finish_bench(generator, CLOSE_SECONDS_MAX)
    finally:
        servers.kill_all(generators)
    return figures(sums, sum(share), znodes, count) | {
        "processes": len(share), "opened_per_second": sum(share) / opened,
    }


def cycle(pids, writer, watchers):
    """One cycle: seconds and CPU seconds."""
    own = [process.pid for process in (writer, *watchers)]
    before, since = thread_seconds(pids), time.monotonic()
    for watcher in watchers:
        servers.cue(watcher)
    said_by_all(watchers, "registered")
    registered = {"register": time.monotonic() - since, "register_cpu": thread_seconds(pids) - before}
    before, own_before = thread_seconds(pids), thread_seconds(own)
    servers.cue(writer)
    wrote = int(servers.said(writer, "wrote"))
    last = max(map(int, said_by_all(watchers, "events")))
    return registered | {"last": (last - wrote) / 1e6, "events_cpu": thread_seconds(pids) - before,
                         "own_cpu": thread_seconds(own) - own_before}


def said_by_all(processes, word):
    return [servers.said(process, word) for process in processes]


def figures(sums, watchers, znodes, count):
    """As `zkd bench watch` names them."""
    events = watchers * znodes * count

    def total(key):
        return sum(one[key] for one in sums)

    return {
        "watchers": watchers, "znodes": znodes, "ops": events,
        "ops_per_second": events / total("last"),
        "registered_per_second": events / total("register"),
        "last_event_ms": statistics.median(one["last"] for one in sums) * 1000,
        "last_event_max_ms": max(one["last"] for one in sums) * 1000,
        "bench_cpu_us_per_op": total("own_cpu") / events * 1e6,
        "server_cpu_us_per_op": total("events_cpu") / events * 1e6,
        "server_cpu_us_per_registration": total("register_cpu") / events * 1e6,
    }
