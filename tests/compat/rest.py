"""What must be true of an ensemble, of several kinds of servers or of one, that nobody writes to any more.

Through every server that runs the same tree, Stats, ACLs, ephemerals and gauges must be seen, those that the clients' model
(mixed_load.py) has; the logs of all servers have the same bytes under the same zxid, no server complains about a digest, zkd
logs no error. An Apache server that has spoilt its database by a bug of its own is told by its log, and starts with nothing.
"""
import collections
import itertools
import re
import time

import txnlog
from mixed_load import NO_NODE, QUOTA, USER
from wire import Refused

REST_SECONDS = 60
# What no Apache server may log.
BAD_OF_APACHE = re.compile(
    r"[Dd]igest mismatch|[Dd]igests are not matching|Committing zxid 0x\w+ but next|Current zxid \d+ is <= \d+ for")
# Apache servers spoil their own databases, whoever leads: while one stops following, what is left is applied and logged by
# two threads at once (ZOOKEEPER-4712, and what Apache has not mended), and the digests tell of it from that moment on, or the
# log of txns that come after newer ones; and a follower of 3.8.0 breaks off under an Apache leader with txns twice in its log, or not at all (ZOOKEEPER-4394).
STOPS = re.compile(r"shutdown Follower|shutdown Observer|exception during packet send|Close of session 0x0")
STOPPING_SECONDS = 2
BREAKS_OFF = 'Cannot read field "hdr" because "pif" is null'
# Gauges of mntr that every server must agree upon.
GAUGES = ("zk_znode_count", "zk_ephemerals_count", "zk_global_sessions")


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
        here = [member for member in ensemble if member.runs]
        for member in here:
            self.trees[member.number] = dump_moving_tree(member)
            for mixer in mixers:
                mixer.touch()
        self.ephemerals = {member.number: ephemerals_of(member) for member in here}
        self.gauges = {member.number: gauges_of(member) for member in here}
        self.digests = {member.number: digests_of(member) for member in here}
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


class Examiner:
    """Looks at an ensemble again and again, and remembers what it has seen of it.

    `comes_back(member)` tells whether a server that has spoilt itself may start again; by itself each may.
    """

    def __init__(self, ensemble, comes_back=lambda _: True):
        self.ensemble, self.comes_back = ensemble, comes_back
        self.compared = self.retold = 0
        self.renewed = collections.Counter()    # Apache servers that had spoilt themselves
        self.seen = collections.Counter()       # how much of each server's log is known

    def rest(self, mixers):
        """Requires all of it, of an ensemble that nobody writes to; answers what is there."""
        self.ensemble.wait_for_roles()
        self.renew_spoilt()
        rest = Rest(self.ensemble, mixers)
        rest.check(self.ensemble)
        self.compared, self.retold = compare_logs(self.ensemble)
        self.ensemble.assert_no_errors()
        return rest

    def renew_spoilt(self):
        """Lets each server that has spoilt itself start with nothing; the others have everything."""
        for member in self.ensemble:
            if member.server.name == "zkd" or not member.runs or not spoilt(member, self.seen[member.number]):
                continue
            self.ensemble.wait_for_roles()
            member.kill()
            self.ensemble.wait_for_roles()
            member.wipe()
            self.seen[member.number] = len(member.log_text())
            if self.comes_back(member):
                member.launch()
            self.renewed[member.server.name] += 1

    def restart(self, mixers):
        """Everybody who runs stops and starts; nothing may have changed."""
        before, sessions = self.rest(mixers).tree, {mixer.root: mixer.session for mixer in mixers}
        here = [member for member in self.ensemble if member.runs]
        for member in here:
            member.stop()
        for member in here:
            member.launch()
        after = self.rest(mixers).tree
        # Where a session was too short for this, its ephemerals are gone.
        changed = [mixer.root for mixer in mixers if mixer.session != sessions[mixer.root]]
        changed += [QUOTA + root for root in changed]
        before, after = ({path: znode for path, znode in tree.items() if not path.startswith(tuple(changed))}
                         for tree in (before, after))
        assert_equal_trees(before, "all before the restart", after, "all after it")


def hexes(numbers):
    return sorted("%#x" % number for number in numbers)


def dump_tree(member):
    with member.connect(seconds=30) as client:
        client.auth(USER.encode())
        client.sync()
        try:
            tree = client.tree()
        finally:
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
        except (OSError, EOFError) as failure:
            raise AssertionError("server %d has left a client that reads everything" % member.number) from failure


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
    bad = next(filter(BAD_OF_APACHE.search, outside_of_snapshots(lines)), None)
    if bad:
        stops = [at for at in map(second_of, filter(STOPS.search, lines)) if at]
        assert any(abs(second_of(bad) - at) <= STOPPING_SECONDS for at in stops), "server %d: %s" % (member.number, bad)
    return bad is not None or any(BREAKS_OFF in line for line in lines)


def outside_of_snapshots(lines):
    """Without what is said between a leader's snapshot and its end. An Apache leader's is fuzzy as well."""
    inside = False
    for line in lines:
        inside = "Getting a snapshot from leader" in line or (inside and "Learner received UPTODATE" not in line)
        if not inside:
            yield line


def second_of(line):
    """Of the day, of a line of Apache's log."""
    found = re.match(r"(\d\d):(\d\d):(\d\d\.\d+) ", line)
    return found and 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3])
