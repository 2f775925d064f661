"""Sessions that only ping: memory and CPU time for each, and how fast they are opened. Several generators hold them.

What one server may not hold is dealt out to several, each by itself, all at the same time.
"""

import time

from . import servers
from .bench import thread_seconds
from .loads import CONNECTIONS_PER_SOURCE, shares

# Of all generators of a server together: below Apache's listen backlog of 50, or connects wait for seconds.
OPENING = 32
PINGS_PER_TIMEOUT = 3
# The generators are not ready at the same moment.
SPARE_SECONDS = 20
BASE_SECONDS = 3


def measure(bench, rows):
    (row,) = rows
    share = shares(bench.options.sessions, bench.options.per_process)
    for number in range(1, bench.options.rounds + 1):
        for kind in bench.contenders:
            server = servers.Several([bench.make(kind) for _ in share])
            try:
                server.start()
                bench.keep(row, kind, number, hold(bench.options, server, share))
            finally:
                server.remove()


def hold(options, server, share):
    """Each member of `server` holds its share of the sessions."""
    sessions = sum(share)
    # The first session must not expire before the last is open, nor may pings be too rare to be counted.
    timeout_ms = 120_000 if sessions > 5000 else 15_000
    quiet = 10 if options.quick else 30
    live, resident, base = server.live(), server.resident(), busy_share(server, BASE_SECONDS)
    generators = []
    try:
        began = time.monotonic()
        for member, some in zip(server.members, share):
            generators += start_all(member, some, quiet, timeout_ms, len(generators))
        for generator in generators:
            servers.said(generator, "holding")
        opened = time.monotonic() - began
        grown = server.resident() - resident
        # The collection that finds the live heap costs CPU: look at the CPU before it.
        busy = busy_share(server, quiet)
        live = server.live() - live
        for generator in generators:
            servers.finish_bench(generator, quiet + SPARE_SECONDS + 300)
    finally:
        servers.kill_all(generators)
    pings_per_second = sessions * PINGS_PER_TIMEOUT / (timeout_ms / 1000)
    return {
        "sessions": sessions,
        "processes": len(share),
        "opened_per_second": sessions / opened,
        "resident_bytes_per_session": grown / sessions,
        "live_bytes_per_session": live / sessions,
        "server_cpu_us_per_ping": (busy - base) / pings_per_second * 1e6,
        "base_cpu_cores": base,
    }


def start_all(server, sessions, quiet, timeout_ms, first):
    """Generators that hold so many sessions of one server; `first` source addresses are taken by others."""
    share = shares(sessions, CONNECTIONS_PER_SOURCE)
    opening = max(1, OPENING // len(share))
    return [server.start_bench([
        "idle", "--connections", str(some), "--source", f"127.0.0.{2 + first + i}", "--opening", str(opening), "--seconds",
        str(quiet + SPARE_SECONDS), "--timeout-ms", str(timeout_ms),
    ]) for i, some in enumerate(share)]


def busy_share(server, seconds):
    """Cores that the server keeps busy."""
    began, before = time.monotonic(), thread_seconds(server.pids)
    time.sleep(seconds)
    return (thread_seconds(server.pids) - before) / (time.monotonic() - began)
