"""Do observers learn from followers (observerMasterPort), whoever is zkd and whoever is Apache?

    masters.py --zkd target/release/zkd [--apache]

Three participants and observers, each server with an address of its own, because observerMasterPort is the same for all:
observers of both kinds under zkd, then one of zkd under Apache ZooKeeper 3.9. Through the observers: writes, syncs,
watches, sessions that only an observer hears of, a session that moves from one to the other, and a master that dies.
"""
import argparse
import re
import sys
import time

from ensemble import ROLES_SECONDS, Ensemble, Member, apache39, lasting_port, poll, zkd
from observers import NODE_DATA_CHANGED, come_back, event_of, refusal, set_watch
from wire import w

TICK_MS = 500
TIMEOUT_MS = 2000
# Of a session that outlives its server.
LONG_TIMEOUT_MS = 10000


class Host(Member):
    """A server that has an address for itself."""
    def __init__(self, number, *args, **kwargs):
        super().__init__(number, *args, **kwargs)
        self.host = "127.0.0.%d" % (100 + number)

    def mntr(self, name):
        found = re.search(r"^zk_%s\t(\S+)$" % name, self.word("mntr"), re.M)
        return found and found[1]

    def master(self):
        """The number of the server that this observer learns from."""
        return int(self.mntr("observer_master_id") or 0)

    def connect(self, **kwargs):
        return super().connect(**{"timeout_ms": TIMEOUT_MS, **kwargs})


class Hosts(Ensemble):
    member = Host


def learn(participant, observers):
    config = {"tickTime": str(TICK_MS), "observerMasterPort": str(lasting_port())}
    with Hosts([participant] * 3 + observers, extra=config, observers=len(observers)) as ensemble:
        leader = ensemble.wait_for_roles()
        for observer in ensemble.members[3:]:
            serve(ensemble, leader, observer)
        if len(observers) > 1:
            move(ensemble.members[3], ensemble.members[4])
        for observer in ensemble.members[3:]:
            lose_master(ensemble, leader, observer)
        ensemble.assert_same()
        ensemble.assert_no_errors()


def serve(ensemble, leader, observer):
    master = ensemble[observer.master()]
    assert master is not leader and not master.observes, "server %d learns from server %d" % (
        observer.number, master.number)
    poll(lambda: master.mntr("synced_observers") in ("1", "2"), 5, "the master shows no observers")
    path = "/by-%d" % observer.number
    client, writer = observer.connect(), leader.connect()
    client.create(path, b"1")
    writer.sync()
    assert writer.get(path)[0] == b"1"
    client.create(path + "-ephemeral", flags=1)
    set_watch(client, path)
    writer.set(path, b"2")
    assert event_of(client) == (NODE_DATA_CHANGED, path)
    for number in range(20):
        writer.set(path, b"%d" % number)
        client.sync(path)
        assert client.get(path)[0] == b"%d" % number, "a sync came too early"
    assert client.multi([("check", w.ustr(path) + w.i32(-1)), ("check", w.ustr(path) + w.i32(7))]) == [0, -103]
    assert refusal(lambda: client.create(path + "-ephemeral")) == -110

    # The leader hears of this session through the observer and its master only, and of the other one not at all.
    silent = observer.connect()
    silent.create(path + "-silent", flags=1)
    until = time.monotonic() + 2 * TIMEOUT_MS / 1000
    while time.monotonic() < until:
        client.get(path)
        writer.get(path)
        time.sleep(0.2)
    assert client.get(path + "-ephemeral")[1]["ephemeralOwner"] == client.session
    poll(lambda: refusal(lambda: writer.get(path + "-silent")) == -101, ROLES_SECONDS, "a silent session goes on")
    silent.close()
    client.end()
    writer.end()


def move(first, second):
    """A session goes from one observer to the other and back."""
    client = first.connect()
    client.create("/moved", flags=1)
    for server in (second, first):
        client = come_back(server, client)
        client.set("/moved", b"at %d" % server.number)
        assert client.get("/moved")[1]["ephemeralOwner"] == client.session
    client.end()


def lose_master(ensemble, leader, observer):
    client = observer.connect(timeout_ms=LONG_TIMEOUT_MS)
    path = "/lost-%d" % observer.number
    client.create(path, flags=1)
    master = ensemble[observer.master()]
    master.kill()
    poll(lambda: observer.mode() == "observer" and observer.master() not in (0, master.number), ROLES_SECONDS,
         "no other master is found")
    assert observer.master() != leader.number
    client = come_back(observer, client)
    client.set(path, b"again")
    assert client.get(path)[1]["ephemeralOwner"] == client.session
    client.end()
    master.launch()
    assert ensemble.wait_for_roles() is leader


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--apache", action="store_true", help="Apache ZooKeeper 3.9 alone: is the test right?")
    args = parser.parse_args()
    ours = zkd(args.zkd)
    if args.apache:
        learn(apache39, [apache39])
    else:
        learn(ours, [ours, apache39])
        learn(apache39, [ours])
    print("observers learn from followers, of zkd and of Apache")
    return 0


if __name__ == "__main__":
    sys.exit(main())
