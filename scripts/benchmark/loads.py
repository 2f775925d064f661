"""Rows that are one run of the generator on servers that keep running: A B A B, so that all meet the same machine."""

import os
import statistics
import time

# One address of this machine has ports for so many connections to one server.
CONNECTIONS_PER_SOURCE = 12_000
SESSION_MS = 600_000
FLUSHES = 300


def measure(bench, rows):
    """Each number of servers has its own ones; rows of one number share them."""
    for count in sorted({row.servers for row in rows}):
        of_count = [row for row in rows if row.servers == count]
        with bench.running(bench.kinds(of_count), count, large=rows[0].group == "big") as running:
            for row in of_count:
                measure_row(bench, row, running)


def measure_row(bench, row, running):
    args = arguments(bench.options, row)
    more = {"flush_us": flush_us(bench.directory)} if any(figure.key == "flush_us" for figure in row.figures) else None
    for number in range(1, bench.options.rounds + 1):
        for kind, server in running.items():
            bench.run(row, kind, number, server, args, running.values(), more)
            server.purge()


def arguments(options, row):
    """The generator's arguments: the row's own, how long, and what many connections need."""
    args = list(row.args)
    connections = int(value_of(args, "--connections"))
    if connections > CONNECTIONS_PER_SOURCE:
        args += ["--source", sources(connections), "--timeout-ms", str(SESSION_MS)]
    if row.count:
        count = row.count // (5 if options.quick else 1)
        args += ["--count", str(count), "--warmup", "0"]
        if "delete" in args:
            args += ["--stock", str(-(-count // connections))]
    elif row.timed:
        args += ["--seconds", str(options.seconds), "--warmup", str(min(2, options.seconds / 2))]
    return args


def value_of(args, name):
    return args[args.index(name) + 1]


def sources(connections, first=0):
    """Addresses of this machine, enough for so many connections; `first` are taken by others."""
    return ",".join(f"127.0.0.{2 + first + i}" for i in range(-(-connections // CONNECTIONS_PER_SOURCE)))


def shares(total, most):
    """Deals `total` out to as few as can be, each with `most` at most."""
    count = -(-total // most)
    return [total // count + (i < total % count) for i in range(count)]


def flush_us(directory):
    """What one fdatasync of 1 KiB in room that was allocated before costs here, the median, µs."""
    path = os.path.join(directory, "flush")
    took = []
    with open(path, "wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, FLUSHES * 1024)
        for _ in range(FLUSHES):
            began = time.perf_counter()
            file.write(b"x" * 1024)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    os.remove(path)
    return statistics.median(took) * 1e6
