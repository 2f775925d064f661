"""Do zkd and Apache ZooKeeper make one ensemble, whatever breaks and whoever leads?

    mixed.py --zkd target/release/zkd --ensemble zkd,apache38,zkd [--observers apache39] [--seed 1] [--rounds 3 | --minutes 5]

Kinds are zkd, apache38 and apache39; servers are numbered in the order given, and of servers that know the same the one
with the highest number leads. Each round is load of all kinds of writes (mixed_load.py) with faults in it, in an order that
the seed gives; then all are back, and through every server the same tree, Stats, ACLs, ephemerals and sessions must be
seen, those that the clients' model has. The logs of all servers must have the same bytes under the same zxid, no server
may complain about a digest, zkd may log no error. An Apache server that has spoilt its database by a bug of its own is
told by its log, counted, and starts with nothing. At the end everybody is stopped and started, and it must be so again.
"""
import argparse
import collections
import itertools
import os
import random
import re
import shutil
import sys
import time

import mixed_load
import txnlog
from ensemble import Ensemble, apache, apache39, poll, zkd
from mixed_load import NO_NODE, QUOTA, ROOT, USER
from wire import Refused

CLIENTS = 4
CONFIG = {"tickTime": "500", "initLimit": "20", "syncLimit": "8", "maxSessionTimeout": "60000", "snapCount": "500",
          "commitLogCount": "500", "preAllocSize": "256", "extendedTypesEnabled": "true",
          "znode.container.checkIntervalMs": "1000"}
# More than the leader keeps in memory.
FAR_BEHIND_SETS = 700
REST_SECONDS = 60
HAND_OVERS_MAX = 5
# What no Apache server may log.
BAD_OF_APACHE = re.compile(r"[Dd]igest mismatch|[Dd]igests are not matching|Committing zxid 0x\w+ but next")
# Apache servers spoil their own databases, whoever leads: while one stops following, what is left is applied and logged by
# two threads at once (ZOOKEEPER-4712, and what Apache has not mended), and the digests tell of it from that moment on; and a
# follower of 3.8.0 breaks off under an Apache leader with txns twice in its log, or not at all (ZOOKEEPER-4394).
STOPS = re.compile(r"shutdown Follower|shutdown Observer|exception during packet send|Close of session 0x0")
STOPPING_SECONDS = 2
BREAKS_OFF = 'Cannot read field "hdr" because "pif" is null'
# Gauges of mntr that every server must agree upon.
GAUGES = ("zk_znode_count", "zk_ephemerals_count", "zk_global_sessions")


# ---- faults, under load ----

def kill_leader(ensemble, load, chance):
    victim = ensemble.wait_for_roles()
    victim.kill()
    load.progress()
    victim.launch()


def stop_leader(ensemble, load, chance):
    victim = ensemble.wait_for_roles()
    victim.stop()
    load.progress()
    victim.launch()


def kill_learner(ensemble, load, chance):
    victim = a_learner(ensemble, chance)
    victim.kill()
    load.progress()
    victim.launch()


def stop_learner(ensemble, load, chance):
    victim = a_learner(ensemble, chance)
    victim.stop()
    load.progress()
    victim.launch()


def pause_leader(ensemble, load, chance):
    """Another one is elected; the old one finds out when it goes on."""
    old = ensemble.wait_for_roles()
    old.pause()
    ensemble.wait_for_roles()
    load.progress()
    old.resume()


def pause_learner(ensemble, load, chance):
    victim = a_learner(ensemble, chance)
    victim.pause()
    time.sleep(chance.uniform(0.1, 6))          # given up or not: the length of the pause is the point
    victim.resume()


def kill_all(ensemble, load, chance):
    for victim in chance.sample(ensemble.members, len(ensemble.members)):
        victim.kill()
    for victim in chance.sample(ensemble.members, len(ensemble.members)):
        victim.launch()


def far_behind(ensemble, load, chance):
    """A learner has missed more than its leader has in memory."""
    leader = ensemble.wait_for_roles()
    victim = a_learner(ensemble, chance)
    victim.kill()
    with leader.connect() as client:
        for number in range(FAR_BEHIND_SETS):
            client.send("setData", mixed_load.set_body(ROOT, b"%d" % number * 100))
        for _ in range(FAR_BEHIND_SETS):
            client.receive()
        client.end()
    victim.launch()


def crash_again_and_again(ensemble, load, chance):
    victim = chance.choice(ensemble.members)
    for _ in range(4):
        victim.kill()
        load.progress(3)
        victim.launch()
        time.sleep(chance.uniform(0.1, 1.5))    # the random moment, in the midst of its synchronisation, is the point


def hand_over(ensemble, load, chance):
    """The leader is killed again and again, until one of another kind leads."""
    leader = ensemble.wait_for_roles()
    kind = leader.server.name
    for _ in range(HAND_OVERS_MAX):
        leader.kill()
        load.progress(3)
        leader.launch()
        leader = ensemble.wait_for_roles()
        if leader.server.name != kind:
            return


def nothing(ensemble, load, chance):
    """Load alone."""
    load.progress(40)


def a_learner(ensemble, chance):
    leader = ensemble.wait_for_roles()
    return chance.choice([member for member in ensemble if member is not leader])


FAULTS = [kill_leader, far_behind, stop_leader, kill_learner, pause_leader, stop_learner, hand_over, crash_again_and_again,
          pause_learner, kill_all, nothing]


# ---- a fault at rest ----

def divergent_tail(ensemble, chance):
    """The leader logs what nobody else gets, and dies; the others elect one of them, and it comes back."""
    leader = ensemble.wait_for_roles()
    if chance.random() < 0.5:
        leader.kill()
        leader.launch()
        leader = ensemble.wait_for_roles()      # mostly another one
    others = [member for member in ensemble if member is not leader]
    client = leader.connect()
    for other in others:
        other.pause()
    name = b"tail-%d" % chance.randrange(1 << 30)
    for number in range(chance.randrange(1, 20)):
        client.send("create", mixed_load.create_body("%s/%s-%d" % (ROOT, name.decode(), number), b"",
                                                     mixed_load.EVERYBODY))
    poll(lambda: any(name in record for found in txnlog.of_directory(leader.server.data_dir).values() for record in found),
         10, "the leader has not logged what nobody else can")
    leader.kill()
    for other in others:
        other.kill()                            # they have not even read it
    client.close()
    for other in others:
        other.launch()
    ensemble.wait_for_roles(others)
    leader.launch()
    ensemble.wait_for_roles()


# ---- what must be true at rest ----

class Rest:
    """All that can be seen of an ensemble that nobody writes to."""

    def __init__(self, ensemble, mixers):
        self.leader = ensemble.wait_for_roles()
        deadline = time.monotonic() + REST_SECONDS
        while not self.look(ensemble, mixers):
            assert time.monotonic() < deadline, "not at rest: sessions %s, of the clients %s; to go: %s" % (
                hexes(sessions_of(self.leader)), hexes(mixer.session for mixer in mixers), self.passing)
            time.sleep(0.2)                     # the leader's own timers end sessions and remove znodes
        for mixer in mixers:
            mixer.settle(self.tree)

    def look(self, ensemble, mixers):
        """Looks through every server; False if something went meanwhile, or has yet to go."""
        def only_these_live():
            for mixer in mixers:
                mixer.touch()
            return sessions_of(self.leader) == {mixer.session for mixer in mixers}

        sessions = [mixer.session for mixer in mixers]
        alive = only_these_live()
        self.passing = [path for mixer in mixers for path in mixer.passing(dump_moving_tree(self.leader))]
        if not alive or self.passing:
            return False
        self.trees = {}
        for member in ensemble:
            self.trees[member.number] = dump_moving_tree(member)
            for mixer in mixers:
                mixer.touch()
        self.ephemerals = {member.number: ephemerals_of(member) for member in ensemble}
        self.gauges = {member.number: gauges_of(member) for member in ensemble}
        self.digests = {member.number: digests_of(member) for member in ensemble}
        # Of these dumps' own sessions none is left, and the clients' have not been lost.
        return only_these_live() and sessions == [mixer.session for mixer in mixers]

    @property
    def tree(self):
        return self.trees[self.leader.number]

    def check(self, ensemble):
        for number, tree in self.trees.items():
            assert_equal_trees(self.tree, "the leader, %s," % self.leader.server.name, tree,
                               "server %d, %s," % (number, ensemble[number].server.name))
        owned = {path: stat["ephemeralOwner"] for path, (_, stat, _) in self.tree.items()
                 if 0 < stat["ephemeralOwner"] < 0xff << 56}
        for number, found in self.ephemerals.items():
            assert found == owned, "dump of server %d says %s, the tree %s" % (number, found, owned)
        assert len(set(self.gauges.values())) == 1, "%s are %s" % (GAUGES, self.gauges)
        for (one, ours), (other, theirs) in itertools.combinations(self.digests.items(), 2):
            for zxid in ours.keys() & theirs.keys():
                assert ours[zxid] == theirs[zxid], "digest at %x: %d on server %d, %d on server %d" % (
                    zxid, ours[zxid], one, theirs[zxid], other)


def hexes(numbers):
    return sorted("%#x" % number for number in numbers)


def dump_tree(member):
    with member.connect(seconds=30) as client:
        client.auth(USER.encode())
        client.sync()
        tree = client.tree()
        client.end()
    # Each server writes this znode by itself when it starts.
    tree["/zookeeper/config"][1].pop("mtime")
    return tree


def dump_moving_tree(member):
    """The same while znodes may still go."""
    while True:
        try:
            return dump_tree(member)
        except Refused as refused:
            if refused.code != NO_NODE:
                raise


def assert_equal_trees(ours, our_name, theirs, their_name):
    for path in sorted(ours.keys() | theirs.keys()):
        assert ours.get(path) == theirs.get(path), "%s is %s on %s and %s on %s" % (
            path, ours.get(path), our_name, theirs.get(path), their_name)


def sessions_of(leader):
    """Those that the leader would let expire."""
    text = leader.word("dump").partition("ephemeral nodes dump")[0]
    return {int(found, 16) for found in re.findall(r"^\t(0x\w+)$", text, re.M)}


def ephemerals_of(member):
    """{path: session} as `dump` shows them."""
    found, owner = {}, None
    for line in member.word("dump").partition("Sessions with Ephemerals")[2].partition("Connections dump")[0].splitlines():
        if line.startswith("0x"):
            owner = int(line.rstrip(":"), 16)
        elif line.startswith("\t/"):
            found[line[1:]] = owner
    return found


def gauges_of(member):
    found = dict(re.findall(r"^(\w+)\t(\S+)$", member.word("mntr"), re.M))
    return tuple(found.get(name) for name in GAUGES)


def digests_of(member):
    """{zxid: digest of the tree after it}, of every 128th txn; a server has those that it applied since it started."""
    return {int(zxid, 16): int(digest) for zxid, digest in re.findall(r"^([0-9a-f]+): (-?\d+)$", member.word("hash"), re.M)}


def compare_logs(ensemble):
    """Asserts that no two servers have logged different bytes under one zxid; (txns compared, failed multis retold)."""
    logs = {member.number: txnlog.of_directory(member.server.data_dir) for member in ensemble}
    compared = retold = 0
    for zxid in sorted(set().union(*logs.values())):
        records = {(number, record) for number, log in logs.items() for record in log.get(zxid, ())}
        compared += len({number for number, _ in records}) > 1
        if len({record for _, record in records}) == 1:
            continue
        # Apache tells a multi that failed otherwise once it has applied it: the parts before the error lose their types.
        kernels = {repr(txnlog.failed_multi(record)) for _, record in records}
        assert len(kernels) == 1 and "None" not in kernels, "txn %#x is not the same in all logs:\n%s" % (
            zxid, "\n".join("server %d, %s: %s" % (number, ensemble[number].server.name, record.hex())
                            for number, record in sorted(records)))
        retold += 1
    return compared, retold


def spoilt(member, seen):
    """Whether an Apache server has spoilt itself, by its log from `seen` on; asserts that it complains of nothing else."""
    # What is loaded at a start comes from the server's own files, a fuzzy snapshot and what it has logged since.
    lines = [line for line in member.log_text()[seen:].splitlines() if "[main]" not in line]
    bad = next(filter(BAD_OF_APACHE.search, lines), None)
    if bad:
        stops = [at for at in map(second_of, filter(STOPS.search, lines)) if at]
        assert any(abs(second_of(bad) - at) <= STOPPING_SECONDS for at in stops), "server %d: %s" % (member.number, bad)
    return bad is not None or any(BREAKS_OFF in line for line in lines)


def second_of(line):
    """Of the day, of a line of Apache's log."""
    found = re.match(r"(\d\d):(\d\d):(\d\d\.\d+) ", line)
    return found and 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])


# ---- how learners were synchronised ----

def syncs(ensemble):
    """{(leader's kind, learner's kind, DIFF or SNAP or TRUNC): how often}, as the leaders' logs tell it."""
    kinds = {member.number: member.server.name for member in ensemble}
    counts = collections.Counter()
    for member in ensemble:
        text = member.log_text()
        if member.server.name == "zkd":
            told = zkd_syncs(text)
        else:
            told = apache_syncs(text)
        counts.update((member.server.name, kinds.get(learner, "?"), how) for learner, how in told)
    return counts


def zkd_syncs(text):
    for learner, plan in re.findall(r"synchronising a learner.*?learner=\D*(\d+).*?plan=(\w+)", text):
        yield int(learner), {"Snap": "SNAP", "Trunc": "TRUNC"}.get(plan, "DIFF")


def apache_syncs(text):
    """A line tells who it is, a later one of the same thread what it gets."""
    learners = {}
    for thread, line in re.findall(r"\[(LearnerHandler-[^]]+)\] \w+ \S+ - (.*)", text):
        who = re.search(r"Synchronizing with (?:Follower|Learner) sid: (\d+)", line)
        what = re.search(r"Sending (DIFF|TRUNC|snapshot) ", line)
        if who:
            learners[thread] = int(who[1])
        elif what:
            yield learners.get(thread, 0), what[1].upper().replace("SNAPSHOT", "SNAP")


# ---- a run ----

class Run:
    def __init__(self, args, ensemble):
        self.args, self.ensemble = args, ensemble
        self.chance = random.Random(args.seed)
        self.leaders = collections.Counter()
        self.faults = self.compared = self.retold = 0
        self.renewed = collections.Counter()    # Apache servers that had spoilt themselves
        self.seen = collections.Counter()       # how much of each server's log is known

    def rounds(self, mixers):
        started, order = time.monotonic(), []
        for number in itertools.count():
            if self.args.minutes and time.monotonic() - started > 60 * self.args.minutes:
                return
            if not self.args.minutes and number >= self.args.rounds:
                return
            faults = []
            for _ in range(self.args.faults):
                if not order:
                    order = self.chance.sample(FAULTS, len(FAULTS))
                faults.append(order.pop())
            names = " ".join(fault.__name__ for fault in faults)
            began = time.monotonic()
            try:
                self.round(mixers, faults, number)
            except BaseException:
                print("round %d, seed %d: %s" % (number, self.args.seed, names), flush=True)
                raise
            if self.args.verbose:
                print("%3d %-60s %6d acknowledged %5.1f s" % (number, names, sum(mixer.acks for mixer in mixers),
                                                            time.monotonic() - began), flush=True)

    def round(self, mixers, faults, number):
        ensemble = self.ensemble
        with mixed_load.Load(mixers) as load:
            load.progress()
            for fault in faults:
                fault(ensemble, load, self.chance)
                load.progress(3)
                self.leaders[ensemble.wait_for_roles().server.name] += 1
            self.faults += len(faults)
        self.rest(mixers)
        if number % 2:
            divergent_tail(ensemble, self.chance)
            self.faults += 1
            self.leaders[ensemble.wait_for_roles().server.name] += 1
            self.rest(mixers)

    def renew_spoilt(self):
        """Lets each server that has spoilt itself start with nothing; the others have everything."""
        for member in self.ensemble:
            if member.server.name == "zkd" or not spoilt(member, self.seen[member.number]):
                continue
            self.ensemble.wait_for_roles()
            member.kill()
            self.ensemble.wait_for_roles()
            shutil.rmtree(os.path.join(member.server.data_dir, "version-2"))
            self.seen[member.number] = len(member.log_text())
            member.launch()
            self.renewed[member.server.name] += 1

    def rest(self, mixers):
        self.ensemble.wait_for_roles()
        self.renew_spoilt()
        rest = Rest(self.ensemble, mixers)
        rest.check(self.ensemble)
        self.compared, self.retold = compare_logs(self.ensemble)
        self.ensemble.assert_no_errors()
        return rest

    def restart(self, mixers):
        """Everybody stops and starts; nothing may have changed."""
        before, sessions = self.rest(mixers).tree, {mixer.root: mixer.session for mixer in mixers}
        for member in self.ensemble:
            member.stop()
        for member in self.ensemble:
            member.launch()
        after = self.rest(mixers).tree
        # Where a session was too short for this, its ephemerals are gone.
        changed = [mixer.root for mixer in mixers if mixer.session != sessions[mixer.root]]
        changed += [QUOTA + root for root in changed]
        before, after = ({path: znode for path, znode in tree.items() if not path.startswith(tuple(changed))}
                         for tree in (before, after))
        assert_equal_trees(before, "all before the restart", after, "all after it")

    def __call__(self):
        started = time.monotonic()
        with self.ensemble as ensemble:
            mixers = mixed_load.set_up(ensemble, ["c%d" % n for n in range(CLIENTS)], self.chance.random())
            try:
                self.rounds(mixers)
                self.restart(mixers)
            finally:
                if self.args.logs:
                    self.keep()
            how = syncs(ensemble)
        for (leader, learner, plan), count in sorted(how.items()):
            print("%-12s synchronised %-12s with %-5s %4d times" % (leader, learner, plan, count))
        total = lambda name: sum(getattr(mixer, name) for mixer in mixers)
        print("%s: %d faults, leaders %s; %d writes acknowledged, %d refused, %d multis failed, %d watches fired; %d sessions, "
              "%d expired, %d moves between servers; %d txns compared in the logs, %d failed multis retold; spoilt by "
              "themselves: %s; %.0f s" % (
                  self.args.ensemble + (self.args.observers and " + " + self.args.observers), self.faults,
                  dict(self.leaders), total("acks"), total("refusals"), total("failed_multis"), total("watches"),
                  total("sessions"), total("expired"), total("moves"), self.compared, self.retold, dict(self.renewed) or "none",
                  time.monotonic() - started))

    def keep(self):
        """The servers' logs and data, for whoever wants to know what happened."""
        for member in self.ensemble:
            at = os.path.join(self.args.logs, "server-%d" % member.number)
            shutil.rmtree(at, ignore_errors=True)
            shutil.copytree(member.server.work, at)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--ensemble", action="append", required=True, help="kinds, with commas between; may be given again")
    parser.add_argument("--observers", default="", help="the same for observers, which get the highest numbers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faults", type=int, default=2, help="of one round")
    parser.add_argument("--minutes", type=float, help="of each ensemble, instead of rounds")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    parser.add_argument("--logs", help="keep the servers' logs and data in this directory")
    args = parser.parse_args()
    kinds = {"zkd": zkd(args.zkd), "apache38": apache, "apache39": apache39}
    for names in args.ensemble:
        servers = names.split(",")
        observers = [name for name in args.observers.split(",") if name]
        if len(servers) < 3:
            parser.error("an ensemble of %d loses its quorum with each fault" % len(servers))
        args.ensemble = names
        Run(args, Ensemble([kinds[name] for name in servers + observers], extra=CONFIG, observers=len(observers)))()
    return 0


if __name__ == "__main__":
    sys.exit(main())
