"""Does an ensemble go from Apache ZooKeeper to zkd and back, server by server, without its clients losing anything?

    migration.py --zkd target/release/zkd [--apache apache39] [--leader-first] [--baseline] [--rounds 1]

Three Apache servers are replaced by zkd, one after the other, on the same configuration files and the same data
directories, and then zkd by Apache, while a Curator client and kazoo clients write. Followers go first and the leader
last, or the leader first. Every acknowledged write must be there at the end, on every server. With --baseline an
ensemble of Apache servers is restarted first in the same order: its gaps between writes are those to compare with.
"""
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NodeExistsError
from kazoo.protocol.states import KazooState

import curator
from ensemble import Ensemble, Member, apache, apache39, arguments, poll, zkd

CONFIG = {"tickTime": "1000", "initLimit": "10", "syncLimit": "5", "preAllocSize": "1024"}
ROOT = "/migration"
SESSION_SECONDS = 10
KAZOO_CLIENTS = 2
# What every client must get acknowledged before the next server goes.
ACKS_BETWEEN = 50
PROGRESS_SECONDS = 60


class Movable(Member):
    """A server that can be replaced by one of another kind, on the same files."""

    def become(self, kind):
        old, config = self.server, self.config_file()
        new = kind(data_dir=old.data_dir, extra=old.extra, port=old.port)
        shutil.rmtree(new.work)
        new.work = old.work
        old.log.close()
        self.server = new
        self.launch()
        assert self.config_file() == config, "the configuration has changed"

    def config_file(self):
        with open(os.path.join(self.server.work, "zoo.cfg")) as f:
            return f.read()


class MovableEnsemble(Ensemble):
    member = Movable


class Writer:
    """What a client has got acknowledged, and when."""

    def __init__(self, name):
        self.name = name
        self.root = "%s/%s" % (ROOT, name)
        self.times = []             # of the acknowledgements; the n-th is of znode n
        self.lost = 0

    def acknowledged(self):
        self.times.append(time.monotonic())

    def gap(self, since):
        """The longest time without an acknowledgement from then on, in seconds."""
        times = [since] + [at for at in self.times if at >= since] + [time.monotonic()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def path(self, number):
        return "%s/n%08d" % (self.root, number)


class KazooWriter(Writer):
    def __init__(self, name, hosts):
        super().__init__(name)
        self.client = KazooClient(hosts, timeout=SESSION_SECONDS, randomize_hosts=True)
        self.client.add_listener(self.listen)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def listen(self, state):
        self.lost += state == KazooState.LOST and not self.stopped.is_set()

    def start(self):
        self.client.start(timeout=PROGRESS_SECONDS)
        self.client.create(self.path(0) + "-ephemeral", ephemeral=True)
        self.thread.start()

    def run(self):
        while not self.stopped.is_set():
            try:
                self.client.create(self.path(len(self.times)), b"x" * 100)
            except NodeExistsError:
                pass                # made by a try of this loop whose answer was lost
            except KazooException:
                self.stopped.wait(0.01)
                continue
            self.acknowledged()
            self.stopped.wait(0.002)

    def stop(self):
        self.stopped.set()
        self.thread.join()
        self.client.stop()
        self.client.close()


class CuratorWriter(Writer):
    def __init__(self, name, command, hosts):
        super().__init__(name)
        self.sessions = []
        self.process = subprocess.Popen(command + [hosts, self.root, str(1000 * SESSION_SECONDS)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.listen)

    def start(self):
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            word, _, value = line.strip().partition(" ")
            if word == "ACK":
                assert int(value) == len(self.times), line
                self.acknowledged()
            elif word == "SESSION" and value not in self.sessions:
                self.sessions.append(value)
        self.lost = max(0, len(self.sessions) - 1)

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
        self.thread.join()


def progress(writers, acks=ACKS_BETWEEN):
    goals = [len(writer.times) + acks for writer in writers]
    poll(lambda: all(len(writer.times) >= goal for writer, goal in zip(writers, goals)), PROGRESS_SECONDS,
         lambda: "a client stands still: %s, wanted %s" % ([len(writer.times) for writer in writers], goals))


def replace_all(ensemble, kind, writers, leader_first, title):
    """Every server, one after the other; prints what the clients saw of each, and answers the longest gap in seconds."""
    leader = ensemble.wait_for_roles()
    order = [member for member in ensemble if member is not leader]
    order.insert(0 if leader_first else len(order), leader)
    longest = 0
    for member in order:
        was, began = "%s %s" % (member.server.name, member.mode()), time.monotonic()
        member.stop()
        member.become(kind)
        ensemble.wait_for_roles()
        progress(writers)
        gaps = {writer.name: writer.gap(began) for writer in writers}
        longest = max(longest, *gaps.values())
        print("%-22s server %d: %-21s -> %-21s without an acknowledgement: %s" % (
            title, member.number, was, "%s %s" % (member.server.name, member.mode()),
            ", ".join("%s %5d ms" % (name, 1000 * gap) for name, gap in gaps.items())), flush=True)
    return longest


def campaign(title, kinds, start, args, command):
    """Goes through the kinds one after the other; (acknowledged, sessions lost, longest gaps in seconds)."""
    with MovableEnsemble(start, 3, CONFIG) as ensemble:
        leader = ensemble.wait_for_roles()
        hosts = ",".join("127.0.0.1:%d" % member.port for member in ensemble)
        writers = [KazooWriter("kazoo-%d" % number, hosts) for number in range(KAZOO_CLIENTS)]
        writers.append(CuratorWriter("curator", command, hosts))
        with leader.connect() as client:
            for path in [ROOT] + [writer.root for writer in writers]:
                client.create(path)
            client.end()
        for writer in writers:
            writer.start()
        try:
            progress(writers)
            gaps = [replace_all(ensemble, kind, writers, args.leader_first, title) for kind in kinds]
        finally:
            for writer in writers:
                writer.stop()
        ensemble.wait_for_roles()
        tree = ensemble.assert_same()
        for writer in writers:
            for number in range(len(writer.times)):
                assert writer.path(number) in tree, "%s was acknowledged and is not there" % writer.path(number)
        ensemble.assert_no_errors()
        acked, lost = sum(len(writer.times) for writer in writers), sum(writer.lost for writer in writers)
    print("%-22s %d writes acknowledged, none lost; %d sessions lost; longest time without one: %s" % (
        title, acked, lost, ", ".join("%d ms" % (1000 * gap) for gap in gaps)), flush=True)
    return acked, lost, gaps


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--apache", choices=("apache38", "apache39"), default="apache38")
    parser.add_argument("--leader-first", action="store_true")
    parser.add_argument("--baseline", action="store_true", help="restart Apache servers first, in the same order")
    parser.add_argument("--rounds", type=int, default=1, help="there and back, so often")
    args = parser.parse_args()
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    theirs, ours = apache39 if args.apache == "apache39" else apache, zkd(args.zkd)
    with tempfile.TemporaryDirectory(prefix="zk-curator-") as work:
        command = curator.compiled(work, "Load")
        allowed = 0
        if args.baseline:
            _, allowed, _ = campaign("Apache restarted", [theirs], theirs, args, command)
        acked, lost, gaps = campaign("to zkd and back", [ours, theirs] * args.rounds, theirs, args, command)
    assert lost <= allowed * 2 * args.rounds, "%d sessions lost; restarts of Apache lose %d" % (lost, allowed)
    print("there and back %d times: %d writes acknowledged, none lost; %d sessions lost; longest gap between writes %d ms" % (
        args.rounds, acked, lost, 1000 * max(gaps)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
