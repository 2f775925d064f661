"""Starts, stops, kills and pauses ensembles of zkd and Apache ZooKeeper, of one kind or mixed, on loopback ports.

    with Ensemble(zkd("target/release/zkd"), size=3) as ensemble:
        ensemble.wait_for_roles()
        ensemble.leader().kill()
        ensemble.wait_for_roles()

Members are servers.Server, numbered from 1. Roles are what `srvr` says.
"""
import argparse
import glob
import os
import random
import re
import shutil
import signal
import socket
import time

import servers
from wire import Client, Refused

ROLES_SECONDS = 60
# A word that takes longer is a server that does not answer. Those that are paused are not asked.
WORD_SECONDS = 5
LOOK_AGAIN_SECONDS = 0.01
# Below the ports that outgoing connections get: a server that comes back finds its ports free.
PORTS = range(15000, 32000)
# How a process may have ended: not yet, killed, or stopped. Apache answers SIGTERM with 143.
ENDS = (None, -signal.SIGKILL, -signal.SIGTERM, 0, 143)

# Lines that no server may write, whatever happens to it: bugs, whether or not a client has noticed.
BAD_LINES = re.compile(r"\bERROR\b|panicked|something is missing|out of its turn")

_taken = set()


def lasting_port(exactly=None):
    """A free port that no outgoing connection takes while its server is away; OSError if `exactly` this one is taken."""
    while True:
        port = exactly or random.SystemRandom().choice(PORTS)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                if exactly:
                    raise
                continue
        if port not in _taken:
            _taken.add(port)
            return port
        if exactly:
            raise OSError("port %d is taken" % port)


def zkd(binary):
    """A kind of server for Ensemble."""
    return lambda **kwargs: servers.Zkd(binary, **kwargs)


def apache(**kwargs):
    """Another kind: Apache ZooKeeper 3.8.0."""
    return servers.Apache380(**kwargs)


def apache39(**kwargs):
    """And Apache ZooKeeper 3.9."""
    return servers.Apache39(**kwargs)


def arguments(doc, with_apache=True):
    """A parser of what a comparison of ensembles is told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True)
    if with_apache:
        parser.add_argument("--apache", action="store_true", help="the same on Apache ZooKeeper 3.8.0: is the test right?")
    return parser


def kind_of(args):
    """The kind of servers that these arguments ask for."""
    return apache if args.apache else zkd(args.zkd)


def poll(what, seconds, complaint):
    """Waits until `what()` is true, and answers it. `complaint` is a text, or makes one."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError("after %d s: %s" % (seconds, complaint() if callable(complaint) else complaint))
        time.sleep(LOOK_AGAIN_SECONDS)


def thread_states(pid):
    for stat in glob.glob("/proc/%d/task/*/stat" % pid):
        with open(stat) as f:
            yield f.read().rpartition(") ")[2][0]


class Member:
    """One server of an ensemble: a process that comes and goes, and a directory that stays."""
    host = "127.0.0.1"

    def __init__(self, number, kind, extra, observes=False):
        self.number = number
        self.observes = observes
        if observes:
            extra = {**extra, "peerType": "observer"}
        self.server = kind(extra=extra, port=lasting_port())
        self.paused = False
        self.ports = lasting_port(), lasting_port()

    def configure(self, members):
        for other in members:
            self.server.extra["server.%d" % other.number] = "%s:%d:%d%s" % (
                other.host, *other.ports, ":observer" if other.observes else "")
        os.makedirs(self.server.data_dir, exist_ok=True)
        with open(os.path.join(self.server.data_dir, "myid"), "w") as f:
            f.write("%d\n" % self.number)

    @property
    def port(self):
        return self.server.port

    @property
    def runs(self):
        return self.server.process is not None and self.server.process.poll() is None

    def launch(self):
        """Starts the process; it finds its role by itself."""
        assert not self.runs
        self.server.launch()

    def kill(self):
        self.server.kill()
        self.paused = False

    def stop(self):
        self.resume()
        self.server.stop()

    def pause(self):
        """SIGSTOP; from here on it does nothing."""
        self.server.signal(signal.SIGSTOP)
        self.paused = True
        poll(lambda: set(thread_states(self.server.pid)) == {"T"}, 5, "server %d does not stand still" % self.number)

    def wipe(self):
        """Takes its database away, but not its number."""
        shutil.rmtree(os.path.join(self.server.data_dir, "version-2"))

    def resume(self):
        if self.paused:
            self.server.signal(signal.SIGCONT)
            self.paused = False

    def assert_not_failed(self):
        """Whoever is not here was asked to go."""
        ended = None if self.server.process is None else self.server.process.poll()
        assert ended in ENDS, "server %d has ended with %s:\n%s" % (self.number, ended, self.log_text()[-4000:])

    def word(self, word):
        """The answer to a four-letter word; empty while there is none."""
        try:
            with socket.create_connection((self.host, self.port), WORD_SECONDS) as s:
                s.sendall(word.encode())
                return b"".join(iter(lambda: s.recv(65536), b"")).decode()
        except OSError:
            return ""

    def mode(self):
        """leader, follower, observer, read-only, or looking; `paused` or `gone` are what is known without asking."""
        if self.paused:
            return "paused"
        if not self.runs:
            return "gone"
        found = re.search(r"^Mode: ([\w-]+)$", self.word("srvr"), re.M)
        return found[1] if found else "looking"

    def connect(self, **kwargs):
        return Client(self.port, host=self.host, **kwargs)

    def log_text(self):
        return self.server.log_text()


class Ensemble:
    """Servers of one kind, or of several: `kind` is one for all, or a list with one for each. The last are observers."""
    member = Member

    def __init__(self, kind, size=3, extra=None, observers=0):
        kinds = kind if isinstance(kind, list) else [kind] * size
        extra = {"initLimit": "10", "syncLimit": "5", **(extra or {})}
        self.members = [self.member(number, one, extra, observes=number > len(kinds) - observers)
                        for number, one in enumerate(kinds, 1)]
        for member in self.members:
            member.configure(self.members)

    def __getitem__(self, number):
        return self.members[number - 1]

    def __iter__(self):
        return iter(self.members)

    @property
    def quorum(self):
        return sum(not member.observes for member in self.members) // 2 + 1

    def launch(self):
        for member in self.members:
            member.launch()

    def modes(self):
        return {member.number: member.mode() for member in self.members}

    def wait_for_roles(self, among=None, seconds=ROLES_SECONDS):
        """Until one leads and the others follow, of all that run or of those named; answers the leader."""
        modes = {}

        def settled():
            for member in self.members:
                member.assert_not_failed()
            modes.update({member.number: member.mode() for member in among or self.members})
            here = {number: mode for number, mode in modes.items() if mode not in ("gone", "paused")}
            return list(here.values()).count("leader") == 1 and all(
                mode == "observer" if self[number].observes else mode in ("leader", "follower")
                for number, mode in here.items())

        poll(settled, seconds, lambda: "the roles are %s" % modes)
        return next(self[number] for number, mode in modes.items() if mode == "leader")

    def wait_for_no_service(self, among=None, seconds=ROLES_SECONDS):
        """Until nobody leads or follows, of all or of those named."""
        poll(lambda: all(member.mode() not in ("leader", "follower") for member in among or self.members), seconds,
             lambda: "somebody serves: %s" % self.modes())

    def assert_no_service(self, among, seconds=2.0):
        """Asserts that these look for a leader for so long, and serve nobody."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            modes = {member.number: member.mode() for member in among}
            assert set(modes.values()) == {"looking"}, "somebody serves: %s" % modes
            time.sleep(LOOK_AGAIN_SECONDS)

    def leader(self):
        """Who leads now; None when nobody says so."""
        return next((member for member in self.members if member.mode() == "leader"), None)

    def followers(self):
        return [member for member in self.members if member.mode() == "follower"]

    def client(self, member):
        """A client of this server, which shows what was committed before this call."""
        def connect():
            try:
                return member.connect()
            except (OSError, EOFError, Refused):
                return None

        client = poll(connect, ROLES_SECONDS, "server %d takes no client" % member.number)
        client.sync()
        return client

    def tree(self, member):
        """All znodes of this server."""
        with self.client(member) as client:
            tree = client.tree()
            client.end()
        # Each server, Apache's too, writes this znode by itself when it starts.
        tree["/zookeeper/config"][1].pop("mtime")
        return tree

    def assert_same(self):
        """Asserts that all servers that run show the same tree, Stats and ACLs included; answers it."""
        trees = {member.number: self.tree(member) for member in self.members if member.runs and not member.paused}
        first, *others = trees
        for other in others:
            for path in sorted(set(trees[first]) | set(trees[other])):
                ours, theirs = trees[first].get(path), trees[other].get(path)
                assert ours == theirs, "%s is %s on server %d and %s on server %d" % (path, ours, first, theirs, other)
        return trees[first]

    def write_everywhere(self, path):
        """Each server takes a write, and all have them all."""
        for member in self:
            with self.client(member) as client:
                client.create("%s-%d" % (path, member.number), b"d" * 1000)
        self.assert_same()

    def lead_first(self, leader, others):
        """Starts all anew, so that the last member leads: nobody has more than it has, and it has the largest number."""
        assert leader is self.members[-1]
        self.wait_for_roles()
        for member in self:
            member.kill()
        leader.launch()
        poll(lambda: leader.word("ruok") == "imok", ROLES_SECONDS, leader.log_text)
        for number, member in enumerate(others, 1):
            member.launch()
            assert self.wait_for_roles([leader, *others[:number]]) is leader

    def lead_in_turn(self, check):
        """Two servers lead, one after the other, and each is looked at; what they are called."""
        self.wait_for_roles()
        self.write_everywhere("/first")
        led = set()
        for turn in range(2):
            leader = self.wait_for_roles()
            led.add(leader.server.name)
            check(leader)
            leader.kill()
            self.wait_for_roles([member for member in self if member.runs])
            leader.launch()
            self.wait_for_roles()
            self.write_everywhere("/turn-%d" % turn)
        self.assert_no_errors()
        return " and ".join(sorted(led))

    def assert_no_errors(self):
        """Of zkd's servers: Apache's log each connection that breaks as an error."""
        for member in self.members:
            if member.server.name != "zkd":
                continue
            bad = [line for line in member.log_text().splitlines() if BAD_LINES.search(line)]
            assert not bad, "server %d: %s" % (member.number, "\n".join(bad[:20]))

    def stop(self):
        for member in self.members:
            if member.runs:
                member.resume()
                member.server.signal(signal.SIGTERM)
        for member in self.members:
            if member.server.process is not None:
                member.server.stop()
                member.server.log.close()

    def keep(self, directory):
        """The servers' logs and data, for whoever wants to know what happened."""
        for member in self.members:
            at = os.path.join(directory, "server-%d" % member.number)
            shutil.rmtree(at, ignore_errors=True)
            shutil.copytree(member.server.work, at)

    def clean(self):
        for member in self.members:
            shutil.rmtree(member.server.work, ignore_errors=True)

    def __enter__(self):
        try:
            self.launch()
        except BaseException:
            self.stop()
            self.clean()
            raise
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            for member in self.members:
                print("---- log of server %d ----\n%s" % (member.number, member.log_text()[-6000:]))
        self.clean()
