"""How long does nobody get a write acknowledged when the leader goes? zkd beside Apache ZooKeeper 3.8.0, in one run.

    failover.py --zkd target/release/zkd --rounds 20

Each round the leader of three servers is killed with -9, and in other rounds stopped with SIGTERM, under load. The time
is the longest one between two acknowledgements, of whichever client, from that moment until all clients are served
again; they go to another server at once. Both ensembles run all the time, with the same configuration, and take turns.
With --most-ms it fails if zkd's median after -9 is above that.
"""
import collections
import itertools
import random
import signal
import statistics
import struct
import sys
import threading
import time

from ensemble import Ensemble, apache, arguments, poll, zkd
from wire import Refused

CLIENTS = 3
LOAD_ACKS = 50                  # of each client, before the leader goes and after it has gone
BACK_SECONDS = 60
AGAIN_SECONDS = 0.002           # between two attempts to find a server that serves
PATIENCE_SECONDS = 5


class Client(threading.Thread):
    """Sets one znode all the time, one request at a time; goes to another server when it has to."""

    def __init__(self, number, ensemble):
        super().__init__()
        self.path = "/failover-%d" % number
        self.members = ensemble.members
        self.random = random.Random(number)
        self.session = (0, b"\0" * 16)
        self.zxid = self.xid = 0
        self.stopped = threading.Event()
        self.active = threading.Event()
        self.acks = []              # when

    def run(self):
        while not self.stopped.is_set():
            try:
                self.work()
            except Refused:
                self.session = (0, b"\0" * 16)
            except (OSError, EOFError, struct.error):
                self.stopped.wait(AGAIN_SECONDS)

    def work(self):
        session, password = self.session
        with self.random.choice(self.members).connect(session=session, password=password, zxid=self.zxid,
                                                      xid=self.xid, seconds=PATIENCE_SECONDS) as client:
            self.session = client.session, client.password
            while self.active.wait() and not self.stopped.is_set():
                client.set(self.path, b"x" * 100)
                self.acks.append(time.monotonic())
                self.zxid, self.xid = client.zxid, client.xid


class Contender:
    """An ensemble, its clients, and the times that were found."""

    def __init__(self, kind):
        self.ensemble = Ensemble(kind)
        self.clients = [Client(number, self.ensemble) for number in range(CLIENTS)]
        self.times = collections.defaultdict(list)

    def set_up(self):
        with self.ensemble.wait_for_roles().connect() as client:
            for one in self.clients:
                client.create(one.path)
            client.end()
        for one in self.clients:
            one.start()

    def load(self):
        goals = [len(client.acks) + LOAD_ACKS for client in self.clients]
        poll(lambda: all(len(client.acks) >= goal for client, goal in zip(self.clients, goals)), BACK_SECONDS,
             lambda: "no write is acknowledged: %s" % self.ensemble.modes())

    def round(self, how):
        leader = self.ensemble.wait_for_roles()
        for client in self.clients:
            client.active.set()
        self.load()
        moment = time.monotonic()
        leader.server.signal(how)
        leader.server.process.wait(30)
        self.load()
        for client in self.clients:
            client.active.clear()
        acks = sorted(at for client in self.clients for at in itertools.takewhile(
            lambda at: at > moment - 0.1, reversed(client.acks)))
        self.times[how].append(max(after - before for before, after in zip(acks, acks[1:])) * 1000)
        leader.launch()

    def stop(self):
        for client in self.clients:
            client.stopped.set()
            client.active.set()
            if client.is_alive():
                client.join()


def report(title, zkd_times, apache_times):
    for name, times in (("zkd", zkd_times), ("Apache 3.8.0", apache_times)):
        print("%-8s %-13s median %6.0f ms, worst %6.0f ms, %d rounds" % (
            title, name, statistics.median(times), max(times), len(times)))
    ahead = statistics.median(apache_times) / statistics.median(zkd_times)
    print("%-8s %-13s median %6.1fx,   worst %6.1fx" % (title, "zkd is ahead", ahead, max(apache_times) / max(zkd_times)))
    return ahead


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--most-ms", type=float, help="fail if zkd's median after -9 is above this")
    args = parser.parse_args()
    ours, theirs = contenders = Contender(zkd(args.zkd)), Contender(apache)
    with ours.ensemble, theirs.ensemble:
        try:
            for one in contenders:
                one.set_up()
            for how in (signal.SIGKILL, signal.SIGTERM):
                for _ in range(args.rounds):
                    for one in contenders:
                        one.round(how)
            ours.ensemble.assert_no_errors()
        finally:
            for one in contenders:
                one.stop()
    report("SIGTERM", ours.times[signal.SIGTERM], theirs.times[signal.SIGTERM])
    ahead = report("kill -9", ours.times[signal.SIGKILL], theirs.times[signal.SIGKILL])
    median = statistics.median(ours.times[signal.SIGKILL])
    print("no write for %.0f ms after kill -9, Apache %.1fx" % (median, ahead))
    return 1 if args.most_ms and median > args.most_ms else 0


if __name__ == "__main__":
    sys.exit(main())
