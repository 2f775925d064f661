"""What others notice of a client that does not read, and an ensemble of a follower that stands still; disks has those of a
disk that does not answer."""

import signal

from . import disks, servers

# A slow client holds on so much longer than the load beside it takes to start and end.
SPARE_SECONDS = 4


def measure(bench, rows):
    for row in rows:
        for number in range(1, bench.options.rounds + 1):
            for kind in bench.contenders:
                MEASURES[row.name](bench, row, kind, number)


def load(options, ops):
    return ["load", "--ops", ops, "--seconds", str(options.seconds), "--warmup", "0.5"]


def slow_client(bench, row, kind, number):
    args, seconds_max = load(bench.options, "get"), bench.options.seconds + 200
    with bench.running([kind]) as running:
        server = running[kind]
        without = server.run_bench(args, seconds_max)
        slow = [*row.args, "--root", "/slow", "--connections", "1", "--seconds", str(bench.options.seconds + SPARE_SECONDS)]
        client = server.start_holding(slow)
        beside = server.run_bench(args, seconds_max)
        slow_report = servers.finish_bench(client, seconds_max)
    bench.keep(row, kind, number, {
        **beside, "p99_without_us": without["p99_us"], "rate_without": without["ops_per_second"],
        "grown_bytes": slow_report["server_rss_most_bytes"] - slow_report["server_rss_before_bytes"], "slow": slow_report,
    }, slow)


def stopped_follower(bench, row, kind, number):
    args, seconds_max = load(bench.options, "set"), bench.options.seconds + 200
    report = {}
    with bench.running([kind], 3) as running:
        ensemble = running[kind]
        leader, (stopped, other) = ensemble.leader(), ensemble.followers()
        loaded = ensemble.only([leader, other])
        for phase, what in [("before", None), ("during", signal.SIGSTOP), ("after", signal.SIGCONT)]:
            if what:
                stopped.signal(what)
            done = loaded.run_bench(args, seconds_max)
            report |= {f"rate_{phase}": done["ops_per_second"], f"p99_us_{phase}": done["p99_us"],
                       f"leader_bytes_{phase}": leader.resident()}
    bench.keep(row, kind, number, report, args)


MEASURES = {
    "never-reads": slow_client, "reads-slowly": slow_client, "follower-stopped": stopped_follower,
    "disk-slow": disks.slow, "disk-stuck": disks.stuck, "disk-stuck-many": disks.stuck,
    "follower-disk-slow": disks.slow_follower,
}
