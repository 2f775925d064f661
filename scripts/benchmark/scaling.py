"""How each cost grows: every point on fresh servers, as small a run as will tell.

Memory comes first, before anything else has made the server grow; then, once it is warm, the loads.
"""

from . import servers
from .fills import FILL_SECONDS_MAX
from .loads import CONNECTIONS_PER_SOURCE, SESSION_MS, sources

SECONDS_MAX = 4
# No more than so many bytes of data in a tree of large znodes.
DATA_BYTES_MAX = 200_000_000
SIZED_ZNODES_MAX = 100_000
ENSEMBLE_ZNODES = 100_000
# Below so many items a server's memory says nothing about one, nor does a fill about a create.
CONNECTIONS_WEIGHED_MIN = 100
ZNODES_WEIGHED_MIN = 10_000
ZNODES_TIMED_MIN = 100_000
WATCHES_WEIGHED_MIN = 10_000
WATCHERS = 100
WATCHED_MAX = 10_000


def measure(bench, rows):
    for row in rows:
        of_word = MEASURES[row.name.rsplit("-", 1)[0]]
        for number in range(1, bench.options.rounds + 1):
            for kind in bench.contenders:
                parts = Parts(bench)
                count = row.point if row.name.startswith("servers") else 1
                with bench.running([kind], count, large=row.name.startswith("size"), warm=False) as running:
                    report = of_word(parts, running[kind], row.point)
                bench.keep(row, kind, number, report | {"parts": parts.reports})


class Parts:
    """The generator's runs of one point."""

    def __init__(self, bench):
        self.bench = bench
        self.options = bench.options
        self.reports = []

    def run(self, server, args):
        report = server.run_bench(args, FILL_SECONDS_MAX)
        self.reports.append({"args": args, "report": report})
        return report

    def load(self, server, ops, *args):
        """CPU per operation of a load of one kind."""
        seconds = min(self.options.seconds, SECONDS_MAX)
        load = ["load", "--ops", ops, "--seconds", str(seconds), "--warmup", "1", *args]
        return self.run(server, load)["server_cpu_us_per_op"]

    def gets_and_sets(self, server, *args):
        self.bench.warm(server)
        return {"get_cpu_us": self.load(server, "get", *args), "set_cpu_us": self.load(server, "set", *args)}

    def filled(self, server, znodes, size, *args, connections=8, depth=64):
        """Fills a tree, then gets and sets its znodes."""
        tree = ["--znodes", str(znodes), "--size", str(size), *args]
        fill = self.run(server, ["fill", *tree, "--root", "/filled", "--connections", str(connections), "--depth", str(depth)])
        report = {"znodes": znodes}
        if znodes >= ZNODES_WEIGHED_MIN or znodes * size >= DATA_BYTES_MAX // 2:
            report["server_bytes_per_znode"] = fill["server_bytes_per_znode"]
        if znodes >= ZNODES_TIMED_MIN:
            report["create_cpu_us"] = fill["server_cpu_us_per_op"]
        return report | self.gets_and_sets(server, "--filled", "--root", "/filled", *tree)


def connections(parts, server, count):
    count = min(count, parts.options.per_process)
    many = ["--source", sources(count)] if count > CONNECTIONS_PER_SOURCE else []
    report, common = {}, ["--connections", str(count), "--timeout-ms", str(SESSION_MS), *many]
    if count >= CONNECTIONS_WEIGHED_MIN:
        report["bytes_per_item"] = parts.run(server, ["idle", "--seconds", "0.5", *common])["server_bytes_per_session"]
    return report | parts.gets_and_sets(server, *common)


def depth(parts, server, count):
    return parts.gets_and_sets(server, "--connections", "16", "--depth", str(count))


def tree(parts, server, count):
    return parts.filled(server, count, 100)


def siblings(parts, server, count):
    znodes = parts.options.znodes
    return parts.filled(server, znodes, 100, "--children", str(min(count, znodes)))


def watches(parts, server, count):
    """So many registrations stand while others write elsewhere; then they all fire."""
    sets = ["--root", "/elsewhere"]
    if count == 0:
        parts.bench.warm(server)
        return {"set_cpu_us": parts.load(server, "set", *sets)}
    watchers = min(WATCHERS, count // 100) if count <= WATCHERS * WATCHED_MAX else count // WATCHED_MAX
    seconds = min(parts.options.seconds, SECONDS_MAX)
    args = ["watch", "--connections", str(watchers), "--znodes", str(count // watchers), "--size", "100", "--depth", "64",
            "--hold", str(seconds + parts.options.warmup + 4), "--timeout-ms", str(SESSION_MS)]
    watch = server.start_holding(args)
    parts.bench.warm(server, ("load", "--root", "/warm"))
    set_cpu_us = parts.load(server, "set", *sets)
    report = servers.finish_bench(watch, FILL_SECONDS_MAX)
    parts.reports.append({"args": args, "report": report})
    if count < WATCHES_WEIGHED_MIN:
        del report["server_bytes_per_watch"]
    return report | {"set_cpu_us": set_cpu_us}


def size(parts, server, count):
    znodes = min(SIZED_ZNODES_MAX, DATA_BYTES_MAX // max(count, 1))
    fill_depth = max(1, min(64, 2_000_000 // max(count, 1)))
    return parts.filled(server, znodes, count, "--children", "100", connections=2, depth=fill_depth)


def ensemble(parts, server, count):
    """`count` is how many servers there are."""
    fill = ["fill", "--root", "/filled", "--znodes", str(ENSEMBLE_ZNODES), "--size", "100", "--connections", "8", "--depth", "64"]
    report = {"server_bytes_per_znode": parts.run(server, fill)["server_bytes_per_znode"]}
    parts.bench.warm(server)
    wide, deep = ["--connections", "48", "--depth", "4"], ["--connections", "96", "--depth", "8"]
    return report | {"get_cpu_us": parts.load(server, "get", *wide), "set_cpu_us": parts.load(server, "set", *deep),
                     "mix_cpu_us": parts.load(server, "get=70,set=30", *wide)}


MEASURES = {"connections": connections, "depth": depth, "tree": tree, "siblings": siblings, "watches": watches,
            "size": size, "servers": ensemble}
