"""Sessions that only ping: memory and CPU time for each, and how fast they are opened. Several generators hold them."""

import time

from . import servers
from .bench import thread_seconds
from .loads import CONNECTIONS_PER_SOURCE, DESCRIPTORS_SPARE

# Of all generators together: below Apache's listen backlog of 50, or connects wait for seconds.
OPENING = 32
PINGS_PER_TIMEOUT = 3
# The generators are not ready at the same moment.
SPARE_SECONDS = 20
BASE_SECONDS = 3


def measure(bench, rows):
    (row,) = rows
    for number in range(1, bench.options.rounds + 1):
        for kind in bench.contenders:
            server = bench.make(kind)
            try:
                server.start()
                bench.keep(row, kind, number, hold(bench.options, server))
            finally:
                server.remove()


def hold(options, server):
    sessions = min(options.sessions, options.descriptors - DESCRIPTORS_SPARE)
    # The first session must not expire before the last is open, nor may pings be too rare to be counted.
    timeout_ms = 120_000 if sessions > 5000 else 15_000
    quiet = 10 if options.quick else 30
    live, resident, base = server.live(), server.resident(), busy_share(server, BASE_SECONDS)
    generators = []
    try:
        began = time.monotonic()
        generators = start_all(server, sessions, quiet, timeout_ms)
        for generator in generators:
            line = generator.stderr.readline()
            if not line.startswith("holding"):
                raise RuntimeError(f"idle sessions: {line}{generator.stderr.read()}")
        opened = time.monotonic() - began
        grown = server.resident() - resident
        # The collection that finds the live heap costs CPU: look at the CPU before it.
        busy = busy_share(server, quiet)
        live = server.live() - live
        for generator in generators:
            servers.finish_bench(generator, quiet + SPARE_SECONDS + 300)
    finally:
        for generator in generators:
            if generator.poll() is None:
                generator.kill()
                generator.wait(timeout=30)
    pings_per_second = sessions * PINGS_PER_TIMEOUT / (timeout_ms / 1000)
    return {
        "sessions": sessions,
        "opened_per_second": sessions / opened,
        "resident_bytes_per_session": grown / sessions,
        "live_bytes_per_session": live / sessions,
        "server_cpu_us_per_ping": (busy - base) / pings_per_second * 1e6,
        "base_cpu_cores": base,
    }


def start_all(server, sessions, quiet, timeout_ms):
    count = -(-sessions // CONNECTIONS_PER_SOURCE)
    shares = [sessions // count + (i < sessions % count) for i in range(count)]
    return [server.start_bench([
        "idle", "--connections", str(share), "--source", f"127.0.0.{2 + i}", "--opening", str(max(1, OPENING // count)),
        "--seconds", str(quiet + SPARE_SECONDS), "--timeout-ms", str(timeout_ms),
    ]) for i, share in enumerate(shares)]


def busy_share(server, seconds):
    """Cores that the server keeps busy."""
    began, before = time.monotonic(), thread_seconds(server.pids)
    time.sleep(seconds)
    return (thread_seconds(server.pids) - before) / (time.monotonic() - began)
