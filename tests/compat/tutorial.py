"""The tutorial, as whoever follows it does it: scripts/pseudo-cluster with real processes.

    tutorial.py --zkd target/release/zkd

Three servers lose a follower and go on, lose another one and stop serving, get one back and serve again, lose their
leader and elect another, whom the old one follows when it is back. What was acknowledged is on every server that
serves, all the time. Then five servers start one after the other.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

from ensemble import LOOK_AGAIN_SECONDS, lasting_port, poll
from wire import Client, Refused

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "pseudo-cluster")
SETTLE_SECONDS = 30
# How long servers without a quorum are watched: they must not serve meanwhile.
WATCH_SECONDS = 1.0
# Less than initLimit: nobody has to find out first that a leader has no followers.
RESTART_SECONDS = 10
SERVING = ("leader", "follower")


def port_bases(size):
    """Three numbers to which the servers' numbers are added, so that all of those ports are free."""
    ports = []
    while len(ports) < 3:
        base = lasting_port() - 1
        try:
            for number in range(2, size + 1):
                lasting_port(exactly=base + number)
        except OSError:
            continue
        ports.append(base)
    return ports


class Cluster:
    """scripts/pseudo-cluster, and what was written through it."""

    def __init__(self, zkd, directory, size):
        self.command = [sys.executable, SCRIPT, "--dir", directory, "--zkd", zkd]
        self.directory = directory
        self.size = ["-n", str(size), "--ports", ",".join(map(str, port_bases(size)))]
        self.acknowledged = {}

    def do(self, *words):
        done = subprocess.run(self.command + list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        assert done.returncode == 0, "pseudo-cluster %s: %s" % (words, done.stdout)
        return done.stdout

    def table(self):
        """{number: (client port, mode)} as the status table says."""
        rows = re.findall(r"^ *(\d+) +(\d+) +(?:\d+|-) +(\w+)$", self.do("status"), re.M)
        return {int(number): (int(port), mode) for number, port, mode in rows}

    def modes(self):
        return {number: mode for number, (_, mode) in self.table().items()}

    def wait_for(self, seconds=SETTLE_SECONDS, **expected):
        """Until the status table says so: `wait_for(leader=1, follower=2)`. Answers who is what."""
        modes = {}

        def as_expected():
            modes.clear()
            modes.update(self.modes())
            return sorted(modes.values()) == sorted(mode for mode, count in expected.items() for _ in range(count))

        poll(as_expected, seconds, lambda: "expected %s, status says %s" % (expected, modes))
        return {mode: sorted(n for n, m in modes.items() if m == mode) for mode in expected}

    def write_and_read(self):
        """A write through one server; then everything that was ever acknowledged is on every one that serves."""
        serving = [port for port, mode in self.table().values() if mode in SERVING]
        client = Client(serving[len(self.acknowledged) % len(serving)])
        for _ in range(10):
            path = "/tutorial-%03d" % len(self.acknowledged)
            client.create(path, path.encode())
            self.acknowledged[path] = path.encode()
        client.end()
        for port in serving:
            client = Client(port)
            client.sync()
            found = {path: data for path, (data, _, _) in client.tree().items() if path.startswith("/tutorial-")}
            client.end()
            assert found == self.acknowledged, "port %d shows %s" % (port, sorted(found))

    def no_service(self):
        """For a while nobody serves, and clients find that out."""
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            table = self.table()
            assert not any(mode in SERVING for _, mode in table.values()), table
            for port, mode in table.values():
                if mode == "looking":
                    refuses(port)
            time.sleep(LOOK_AGAIN_SECONDS)

    def logs(self):
        texts = []
        for number in self.modes():
            with open(os.path.join(self.directory, str(number), "log"), errors="replace") as f:
                texts.append("---- log of server %d ----\n%s" % (number, f.read()))
        return "\n".join(texts)


def refuses(port):
    try:
        Client(port, seconds=2)
    except (OSError, EOFError, Refused):
        return
    raise AssertionError("a server without a quorum took a client")


def three(cluster):
    cluster.do("up", *cluster.size)
    roles = cluster.wait_for(leader=1, follower=2)
    cluster.write_and_read()

    (leader,), (one, other) = roles["leader"], roles["follower"]
    cluster.do("kill", one)
    assert cluster.wait_for(leader=1, follower=1, stopped=1)["leader"] == [leader]
    cluster.write_and_read()

    cluster.do("kill", other)
    cluster.wait_for(looking=1, stopped=2)
    cluster.no_service()

    cluster.do("start", other)
    cluster.wait_for(leader=1, follower=1, stopped=1)
    cluster.write_and_read()

    cluster.do("start", one)
    old, = cluster.wait_for(leader=1, follower=2)["leader"]
    cluster.write_and_read()

    cluster.do("kill", old)
    new, = cluster.wait_for(leader=1, follower=1, stopped=1)["leader"]
    assert new != old
    cluster.write_and_read()

    cluster.do("start", old)
    assert cluster.wait_for(leader=1, follower=2)["leader"] == [new]
    cluster.write_and_read()

    cluster.do("stop", new)
    last, = cluster.wait_for(leader=1, follower=1, stopped=1)["leader"]
    assert last != new
    cluster.write_and_read()

    # The last leader leaves when no quorum is left without it, and is back at once.
    cluster.do("stop", last)
    cluster.do("start", last)
    cluster.wait_for(leader=1, follower=1, stopped=1, seconds=RESTART_SECONDS)
    cluster.write_and_read()
    cluster.do("down")
    cluster.wait_for(stopped=3)


def five(cluster):
    cluster.do("init", *cluster.size)
    cluster.wait_for(stopped=5)
    for number in (1, 2):
        cluster.do("start", number)
        cluster.wait_for(looking=number, stopped=5 - number)
    cluster.no_service()
    for number in (3, 4, 5):
        cluster.do("start", number)
        roles = cluster.wait_for(leader=1, follower=number - 1, **{"stopped": 5 - number} if number < 5 else {})
        assert roles["leader"] == [3], roles
        cluster.write_and_read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    started = time.monotonic()
    for size, story in ((3, three), (5, five)):
        with tempfile.TemporaryDirectory(prefix="zk-tutorial-") as work:
            cluster = Cluster(os.path.abspath(args.zkd), os.path.join(work, "cluster"), size)
            try:
                story(cluster)
                logs = cluster.logs()
                assert " ERROR " not in logs, logs
            except BaseException:
                print(cluster.logs())
                raise
            finally:
                cluster.do("clean")
    print("three servers, then five: all as the tutorial says, %.0f s" % (time.monotonic() - started))
    return 0


if __name__ == "__main__":
    sys.exit(main())
