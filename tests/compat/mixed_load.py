"""Load of every kind of write for ensembles of several kinds of servers, and a model of the tree that it makes.

A client has one request in flight, so that the model knows the exact answer to the next one, errors and the parts of
multis among them. A request that was lost with its connection may have been carried out or not: its znode is set aside
with both states until the load stands still, and one of the two must be there. A client keeps its session and takes it
from server to server.
"""
import dataclasses
import random
import struct
import time

from ensemble import poll
from wire import Refused, stat_of, w

ROOT = "/mix"
QUOTA = "/zookeeper/quota"
USER = "mix:secret"
USER_ID = "mix:gf2dCKzX51zpjx7TMMEvYz4eDhQ="        # base64 of SHA-1
OTHER_ID = "other:tz05ELVFBMUiiBYibDY6e+xrsto="
ZNODES = 60                     # of one client; with more, more are deleted than made
# Sessions of each kind: those that a restart of everybody outlasts, and those that it does not.
TIMEOUTS_MS = (4000, 10000, 15000)
PATIENCE_SECONDS = 3
WATCH_SECONDS = 10
NO_NODE, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -103, -108
EXISTS, NOT_EMPTY, EXPIRED, SESSION_MOVED, NOT_REACHED = -110, -111, -112, -118, -2
DATA_CHANGED = 3
EPHEMERAL, SEQUENTIAL, CONTAINER, TTL = 1, 2, 4, 5
# How long a TTL znode lives, and when it must be gone: the leader looks every second, and counts anew after an election.
TTL_MS = 1500

EVERYBODY = [(31, "world", "anyone")]
# What is asked, and what is kept: `auth` stands for the identities of the one who asks.
ACLS = [
    (EVERYBODY, EVERYBODY),
    ([(31, "digest", USER_ID)], [(31, "digest", USER_ID)]),
    ([(31, "auth", "")], [(31, "digest", USER_ID)]),
    ([(1, "world", "anyone"), (31, "auth", "")], [(1, "world", "anyone"), (31, "digest", USER_ID)]),
    ([(31, "ip", "127.0.0.1"), (5, "digest", OTHER_ID)], [(31, "ip", "127.0.0.1"), (5, "digest", OTHER_ID)]),
    ([(31, "world", "anyone"), (3, "ip", "10.0.0.0/8")], [(31, "world", "anyone"), (3, "ip", "10.0.0.0/8")]),
]


@dataclasses.dataclass
class Znode:
    """What is known of a znode; None where no answer has told it."""
    data: bytes
    acl: list
    owner: int = 0              # an ephemeral's session
    version: int = 0
    aversion: int = 0
    czxid: int = None
    mzxid: int = None
    fleeting: bool = False      # a container or TTL znode: the leader removes it by itself

    def differs(self, found):
        """What is not as it should be of a (data, stat, acl)."""
        data, stat, acl = found
        pairs = {"data": (self.data, data), "acl": (self.acl, acl), "version": (self.version, stat["version"]),
                 "aversion": (self.aversion, stat["aversion"]), "czxid": (self.czxid, stat["czxid"]),
                 "mzxid": (self.mzxid, stat["mzxid"])}
        if not self.fleeting:
            pairs["owner"] = self.owner, stat["ephemeralOwner"]
        return {name: pair for name, pair in pairs.items() if pair[0] is not None and pair[0] != pair[1]}


class Lost(Exception):
    """The connection broke; nobody knows what became of the request."""


def create_body(path, data, acl, flags=0, ttl_ms=None):
    body = w.ustr(path) + w.buf(data) + w.acls(acl) + w.i32(flags)
    return body if ttl_ms is None else body + w.i64(ttl_ms)


def delete_body(path, version=-1):
    return w.ustr(path) + w.i32(version)


def set_body(path, data, version=-1):
    return w.ustr(path) + w.buf(data) + w.i32(version)


class Mixer:
    """One client, which owns /mix/<name> and what lies below."""

    def __init__(self, name, members, seed):
        self.root = "%s/%s" % (ROOT, name)
        self.members = list(members)
        old = any(member.server.name == "apache-3.8.0" for member in members)
        self.other_create = "create" if old else "create2"
        self.random = random.Random(seed)
        self.known = {}             # path: Znode
        self.aside = {}             # path: list of Znode or None, one of which it is
        self.unnamed = []           # (path, Znode, the names there before): a lost sequential create
        self.number = 0
        self.client = None
        self.member = None
        self.session, self.password = 0, b"\0" * 16
        self.left = 0               # a session that this client has tried to end
        self.zxid = self.xid = 0
        self.times = []             # of the acknowledgements
        self.acks = self.refusals = self.failed_multis = self.watches = 0
        self.sessions = self.expired = self.moves = 0
        self.timeout_ms = TIMEOUTS_MS[-1]

    # ---- connections ----

    def connect(self, member=None):
        """True when it stands; False when nobody takes this client, or its session was over."""
        member = member or self.random.choice(self.members)
        if self.session and self.member is not member:
            self.moves += 1
        self.member = member
        if not self.session:
            self.timeout_ms = self.random.choice(TIMEOUTS_MS)
        try:
            self.client = member.connect(timeout_ms=self.timeout_ms, session=self.session, password=self.password,
                                         zxid=self.zxid, xid=self.xid, seconds=PATIENCE_SECONDS)
            if not self.session:
                self.sessions += 1
            self.session, self.password = self.client.session, self.client.password
            self.client.auth(USER.encode())
            self.client.sync(self.root)
        except Refused as refused:
            if refused.code == EXPIRED and self.session:
                self.expired += self.session != self.left
                self.session_is_over()
            self.lose()
            return False
        except (OSError, EOFError, struct.error):
            self.lose()
            return False
        return True

    def session_is_over(self):
        """Its ephemerals go, sooner or later."""
        session, self.session, self.password = self.session, 0, b"\0" * 16
        for path, znode in list(self.known.items()):
            if znode.owner and znode.owner == session:
                self.forget(path)
        for states in self.aside.values():
            if any(state and state.owner == session for state in states):
                states.append(None)

    def lose(self):
        if self.client is not None:
            self.zxid, self.xid = max(self.zxid, self.client.zxid), self.client.xid
            self.client.close()
        self.client = None

    def ask(self, op, body=b""):
        """(zxid, error, reply)."""
        try:
            sent = self.client.send(op, body)
            xid, zxid, error, reply = self.client.receive()
        except (OSError, EOFError, struct.error) as failure:
            self.lose()
            raise Lost() from failure
        assert xid == sent, "answer %d to request %d" % (xid, sent)
        if error in (EXPIRED, SESSION_MOVED):
            self.lose()
            raise Lost()
        return zxid, error, reply

    def must(self, error, op, body):
        """Asks, and requires this error, or 0; answers the reply and its zxid."""
        zxid, got, reply = self.ask(op, body)
        assert got == error, "%s on server %d answered %d instead of %d: %r" % (op, self.member.number, got, error, body)
        self.refusals += bool(error)
        if not error:
            self.acknowledged()
        return reply, zxid

    def acknowledged(self):
        self.acks += 1
        self.times.append(time.monotonic())

    # ---- the model ----

    def forget(self, path):
        """Gone sooner or later, and nobody says when."""
        znode = self.known.pop(path, None)
        self.aside[path] = [znode, None]

    def uncertain(self, path, *states):
        self.known.pop(path, None)
        self.aside[path] = list(states)

    def fresh(self):
        self.number += 1
        return "%s/n%06d" % (self.root, self.number)

    def some_data(self):
        return self.random.randbytes(self.random.randrange(400))

    def some_acl(self):
        return self.random.choice(ACLS)

    def some(self, count=1):
        """Paths of znodes that are there for certain and without children."""
        paths = [path for path, znode in self.known.items() if not znode.fleeting]
        return self.random.sample(paths, min(count, len(paths)))

    # ---- the writes ----

    def step(self):
        """One write or so."""
        choices = [(self.create, 4), (self.create_special, 2), (self.sequential, 1), (self.delete, 3), (self.set, 5),
                   (self.set_acl, 2), (self.multi, 3), (self.failing_multi, 2), (self.refused, 2), (self.sync, 1),
                   (self.quota, 0.3), (self.watch, 0.3), (self.leave, 0.3), (self.abandon, 0.1), (self.move, 0.5)]
        if len(self.known) > ZNODES:
            choices.append((self.delete, 8))
        acts, weights = zip(*choices)
        self.random.choices(acts, weights)[0]()

    def create(self):
        path, data, (asked, kept) = self.fresh(), self.some_data(), self.some_acl()
        flags = self.random.choice((0, 0, EPHEMERAL))
        znode = Znode(data, kept, self.session if flags else 0)
        op = self.random.choice(("create", "create2"))
        try:
            _, zxid = self.must(0, op, create_body(path, data, asked, flags))
        except Lost:
            self.uncertain(path, znode, None)
            return
        znode.czxid = znode.mzxid = zxid
        self.known[path] = znode

    def create_special(self):
        """A container that has had a child, or a TTL znode: the leader removes either by itself."""
        path, data = self.fresh(), self.some_data()
        goes = Znode(data, EVERYBODY, fleeting=True)
        if self.random.random() < 0.5:
            self.uncertain(path, goes, None)
            try:
                self.must(0, "createTTL", create_body(path, data, EVERYBODY, TTL, TTL_MS))
            except Lost:
                pass
            return
        # One that has never had a child stays.
        self.uncertain(path, Znode(data, EVERYBODY, owner=None), None)
        try:
            self.must(0, "createContainer", create_body(path, data, EVERYBODY, CONTAINER))
            self.uncertain(path + "/child", Znode(b"", EVERYBODY), None)
            self.must(0, "create", create_body(path + "/child", b"", EVERYBODY))
            self.must(0, "delete", delete_body(path + "/child"))
        except Lost:
            return
        self.uncertain(path, goes, None)
        self.uncertain(path + "/child", None)

    def sequential(self):
        """A prefix of its own each time, so that a lost answer leaves one name to look for."""
        prefix = self.fresh() + "-"
        data, (asked, kept) = self.some_data(), self.some_acl()
        flags = SEQUENTIAL | self.random.choice((0, EPHEMERAL))
        znode = Znode(data, kept, self.session if flags & EPHEMERAL else 0)
        try:
            reply, zxid = self.must(0, "create2", create_body(prefix, data, asked, flags))
        except Lost:
            self.unnamed.append((prefix, znode))
            return
        decoder = w.Decoder(reply)
        path, stat = decoder.string(), stat_of(decoder)
        assert path.startswith(prefix) and len(path) == len(prefix) + 10, path
        assert stat["czxid"] == zxid and stat["dataLength"] == len(data), stat
        znode.czxid = znode.mzxid = zxid
        self.known[path] = znode

    def delete(self):
        for path in self.some():
            znode = self.known[path]
            try:
                self.must(0, "delete", delete_body(path, self.random.choice((-1, znode.version))))
            except Lost:
                self.uncertain(path, znode, None)
                return
            del self.known[path]

    def set(self):
        for path in self.some():
            self.set_znode(path)

    def set_znode(self, path):
        old, data = self.known[path], self.some_data()
        new = dataclasses.replace(old, data=data, version=old.version + 1, mzxid=None)
        try:
            reply, zxid = self.must(0, "setData", set_body(path, data, self.random.choice((-1, old.version))))
        except Lost:
            self.uncertain(path, old, new)
            return
        stat = stat_of(w.Decoder(reply))
        assert (stat["version"], stat["mzxid"]) == (new.version, zxid), (path, stat, new)
        new.mzxid = zxid
        self.known[path] = new

    def set_acl(self):
        for path in self.some():
            old, (asked, kept) = self.known[path], self.some_acl()
            new = dataclasses.replace(old, acl=kept, aversion=old.aversion + 1)
            try:
                self.must(0, "setACL", w.ustr(path) + w.acls(asked) + w.i32(self.random.choice((-1, old.aversion))))
            except Lost:
                self.uncertain(path, old, new)
                return
            self.known[path] = new

    def multi(self):
        """Everything at once: create and create2, an ephemeral, a set, a delete, a check.

        A 3.8.0 server applies nothing from a create2 on (ZOOKEEPER-4026), and only zkd keeps it from such a txn: so no
        create2 where there is one.
        """
        if len(self.known) < 8:
            return
        changed, deleted, checked = (self.some(3) + [None] * 3)[:3]
        if checked is None:
            return
        one, other, data = self.fresh(), self.fresh(), self.some_data()
        ops = [("check", w.ustr(checked) + w.i32(self.known[checked].version)),
               ("create", create_body(one, data, EVERYBODY)),
               ("setData", set_body(changed, data, self.known[changed].version)),
               (self.other_create, create_body(other, data, EVERYBODY, EPHEMERAL)),
               ("delete", delete_body(deleted))]
        old = self.known[changed]
        new = dataclasses.replace(old, data=data, version=old.version + 1, mzxid=None)
        made, own = Znode(data, EVERYBODY), Znode(data, EVERYBODY, self.session)
        try:
            codes, zxid = self.ask_multi(ops)
        except Lost:
            gone = self.known[deleted]
            self.uncertain(changed, old, new)
            self.uncertain(deleted, gone, None)
            self.uncertain(one, made, None)
            self.uncertain(other, own, None)
            return
        assert codes == [0] * len(ops), codes
        self.acknowledged()
        for znode in (made, own):
            znode.czxid = znode.mzxid = zxid
        new.mzxid = zxid
        self.known.update({changed: new, one: made, other: own})
        del self.known[deleted]

    def ask_multi(self, ops):
        zxid, error, reply = self.ask("multi", w.multi(ops))
        assert error == 0, error
        return multi_codes(reply), zxid

    def failing_multi(self):
        """The parts before the one that fails are answered with 0, those behind it are not reached; nothing is done."""
        target = next(iter(self.some()), None)
        if target is None:
            return
        version = self.known[target].version
        good = [("create", create_body(self.fresh(), b"never", EVERYBODY)), ("setData", set_body(target, b"never")),
                ("check", w.ustr(target) + w.i32(version)), ("delete", delete_body(target))]
        bad = [(("create", create_body(target, b"", EVERYBODY)), EXISTS),
               (("setData", set_body(target, b"", version + 7)), BAD_VERSION),
               (("check", w.ustr(target) + w.i32(version + 9)), BAD_VERSION),
               (("delete", delete_body(self.root + "/nobody")), NO_NODE)]
        before = self.random.sample(good[:2], self.random.randrange(3))
        (op, code), behind = self.random.choice(bad), self.random.sample(good, self.random.randrange(3))
        if code == BAD_VERSION and any(name == "setData" for name, _ in before):
            before = [part for part in before if part[0] != "setData"]
        try:
            codes, _ = self.ask_multi(before + [op] + behind)
        except Lost:
            return                                      # it has no effect in any case
        self.failed_multis += 1
        expected = [0] * len(before) + [code] + [NOT_REACHED] * len(behind)
        assert codes == expected, "a multi that fails on server %d (leader %s): %s instead of %s" % (
            self.member.number, self.member.server.name, codes, expected)

    def refused(self):
        target = next(iter(self.some()), None)
        if target is None:
            return
        znode = self.known[target]
        error, op, body = self.random.choice((
            (EXISTS, "create", create_body(target, b"", EVERYBODY)),
            (BAD_VERSION, "setData", set_body(target, b"", znode.version + 3)),
            (BAD_VERSION, "delete", delete_body(target, znode.version + 3)),
            (BAD_VERSION, "setACL", w.ustr(target) + w.acls(EVERYBODY) + w.i32(znode.aversion + 3)),
            (NO_NODE, "delete", delete_body(self.root + "/nobody")),
            (NO_NODE, "create2", create_body(self.root + "/nobody/child", b"", EVERYBODY)),
            (NOT_EMPTY, "delete", delete_body(ROOT)),
            *([(NO_CHILDREN_FOR_EPHEMERALS, "create", create_body(target + "/child", b"", EVERYBODY))]
              if znode.owner else [])))
        try:
            self.must(error, op, body)
        except Lost:
            pass

    def sync(self):
        try:
            self.must(0, "sync", w.ustr(self.root))
        except Lost:
            pass

    def quota(self):
        """Limits on this client's own znodes, made once and changed from then on; nothing enforces them."""
        at = QUOTA + self.root
        limits = b"count=%d,bytes=%d" % (self.random.randrange(100, 10000), self.random.randrange(1, 1 << 30))
        try:
            for path in (QUOTA + ROOT, at):
                self.ask("create", create_body(path, b"", EVERYBODY))
            _, error, _ = self.ask("setData", set_body(at + "/zookeeper_limits", limits))
            if error == NO_NODE:
                self.must(0, "create", create_body(at + "/zookeeper_limits", limits, EVERYBODY))
                self.must(0, "create", create_body(at + "/zookeeper_stats", b"count=0,bytes=0", EVERYBODY))
        except Lost:
            pass

    def watch(self):
        """A second session, on another server, sees a change that this one makes."""
        path = next(iter(self.some()), None)
        others = [member for member in self.members if member is not self.member]
        if path is None or not others:
            return
        try:
            with self.random.choice(others).connect(timeout_ms=TIMEOUTS_MS[0], seconds=WATCH_SECONDS) as watcher:
                self.sessions += 1
                watcher.auth(USER.encode())
                watcher.sync(path)
                watcher.call("getData", w.ustr(path) + w.boolean(True))
                before = self.known[path].version
                self.set_znode(path)
                if path in self.known and self.known[path].version > before:
                    kind, at = event_of(watcher.conn.frame())
                    assert (kind, at) == (DATA_CHANGED, path), (kind, at, path)
                    watcher.end()
                    self.watches += 1
        except (OSError, EOFError, struct.error):
            pass                                        # that server is away: the watch went with it
        except Refused as refused:
            assert refused.code in (EXPIRED, SESSION_MOVED), refused

    def leave(self):
        """Ends the session: its ephemerals go with it."""
        session = self.session
        try:
            self.must(0, "closeSession", b"")
        except Lost:
            self.left = session
            return                                      # it lives or not: connect() finds out
        self.lose()
        self.session, self.password = 0, b"\0" * 16
        for path, znode in list(self.known.items()):
            if znode.owner == session:
                del self.known[path]
        for states in self.aside.values():
            if any(state and state.owner == session for state in states):
                states[:] = [None]

    def abandon(self):
        """Lets a short session die; a new one begins."""
        if self.timeout_ms == TIMEOUTS_MS[0]:
            self.lose()
            self.session_is_over()

    def move(self):
        """The same session, on a server of another kind if there is one."""
        kind = self.member.server.name
        others = [member for member in self.members if member.server.name != kind] or self.members
        self.lose()
        self.connect(self.random.choice(others))

    # ---- rounds ----

    def run(self, stopped):
        while not stopped.is_set():
            if self.client is None and not self.connect():
                stopped.wait(0.02)                      # nobody serves: ask again, but do not spin
                continue
            self.step()

    def touch(self):
        """Keeps the session alive; connects again if it has to. The session may be a new one."""
        if self.client is not None:
            try:
                self.sync_quietly()
                return
            except Lost:
                pass
        poll(self.connect, 60, "nobody takes the client of %s" % self.root)

    def sync_quietly(self):
        self.ask("sync", w.ustr(self.root))

    def settle(self, tree):
        """Requires of a tree at rest what this client knows, and learns what it did not know."""
        there = {path: found for path, found in tree.items() if path.startswith(self.root + "/")}
        for path, znode in self.known.items():
            assert path in there, "%s was acknowledged and is not there: %s" % (path, znode)
            differs = znode.differs(there[path])
            assert not differs, "%s is not as it was acknowledged (ours, theirs): %s" % (path, differs)
        for path, states in self.aside.items():
            found = there.get(path)
            if found is None:
                assert any(state is None or state.fleeting for state in states), "%s is gone: %s" % (path, states)
                continue
            assert any(state and not state.differs(found) for state in states), "%s is %s, and none of %s" % (
                path, found, states)
        for prefix, znode in self.unnamed:
            paths = [path for path in there if path.startswith(prefix)]
            assert len(paths) <= 1, "a sequential create was done twice: %s" % paths
            for path in paths:
                assert not znode.differs(there[path]), (path, znode, there[path])
                self.aside[path] = [znode]
        for path in there:
            assert path in self.known or path in self.aside, "%s was never made, or its delete was acknowledged" % path
        for path in self.aside:
            if path in there and there[path][1]["ephemeralOwner"] in (0, self.session) and path.count("/") == 3:
                data, stat, acl = there[path]
                if stat["numChildren"]:
                    continue
                self.known[path] = Znode(data, acl, stat["ephemeralOwner"], stat["version"], stat["aversion"],
                                         stat["czxid"], stat["mzxid"])
        self.aside = {path: states for path, states in self.aside.items() if path in there and path not in self.known}
        self.unnamed = []

    def passing(self, tree):
        """What has to go by itself before the tree is at rest."""
        fleeting = [path for path, states in self.aside.items() if any(s and s.fleeting for s in states)]
        owners = {state.owner for states in self.aside.values() for state in states if state and state.owner}
        foreign = [path for path, (_, stat, _) in tree.items() if path.startswith(self.root + "/")
                   and stat["ephemeralOwner"] in owners - {self.session}]
        return [path for path in fleeting if path in tree] + foreign


def multi_codes(reply):
    decoder, codes = w.Decoder(reply), []
    while True:
        kind, done, error = decoder.int(), decoder.bool(), decoder.int()
        if done:
            return codes
        if kind == -1:
            error = decoder.int()
        elif kind in (1, 15):
            decoder.string()
        if kind in (5, 15):
            stat_of(decoder)
        codes.append(error)


def event_of(frame):
    """(type, path) of a notification."""
    assert frame[:4] == b"\xff\xff\xff\xff", frame.hex()
    kind, _ = struct.unpack(">ii", frame[16:24])
    return kind, w.Decoder(frame[24:]).string()


def summary(mixers):
    """What these clients have done, in words."""
    total = lambda name: sum(getattr(mixer, name) for mixer in mixers)
    return "%d writes acknowledged, %d refused, %d multis failed, %d watches fired; %d sessions, %d expired, %d moves" % tuple(
        map(total, ("acks", "refusals", "failed_multis", "watches", "sessions", "expired", "moves")))


def set_up(ensemble, names, seed):
    chance = random.Random(seed)
    mixers = [Mixer(name, ensemble.members, chance.random()) for name in names]
    with ensemble.wait_for_roles().connect() as client:
        client.create(ROOT)
        for mixer in mixers:
            client.create(mixer.root)
        client.end()
    return mixers
