"""Load for an ensemble, and a model of what it has acknowledged.

Each writer is one client as clients are: it keeps its session over broken connections, goes to another server at once,
tells it the last zxid it has seen, and has several requests in flight. What was acknowledged must be there, with the
zxid that the acknowledgement named; of what was asked without an answer both is right, but nothing else may be there.
"""
import itertools
import random
import struct

import load
from wire import Refused, stat_of, w

ROOT = "/load"
IN_FLIGHT = 8
ZNODES = 150                    # of one writer; with more, more are deleted than made
# A server that is paused answers nobody: then the next one is asked.
PATIENCE_SECONDS = 1.5
BAD_VERSION, NO_NODE, EXPIRED = -103, -101, -112


class Writer:
    """Owns what lies below /load/<name>."""

    def __init__(self, name, members, seed):
        self.members = members
        self.root = "%s/%s" % (ROOT, name)
        self.random = random.Random(seed)
        self.numbers = itertools.count()
        self.made = {}              # path: (data, czxid), acknowledged
        self.open = {}              # path: data, or None for a delete: no answer has come
        self.removed = set()
        self.counter = (0, b"", 0)  # the last acknowledged set: version, data, mzxid
        self.sent_version = 0
        self.client = None
        self.session = (0, b"\0" * 16)
        self.ephemeral = None       # acknowledged, of this session
        self.zxid = self.xid = 0
        self.acks = self.sessions = self.connections = 0
        self.waiting = []           # (kind, what it was about), in the order in which it was sent

    # ---- the client ----

    def run(self, stopped):
        """Writes until it is told to stop."""
        while not stopped.is_set():
            try:
                if self.client is None and not self.connect():
                    stopped.wait(0.002)                     # nobody serves: ask again, but do not spin
                    continue
                self.work(stopped)
            except (OSError, EOFError, struct.error):
                self.lose()
            except Refused as refused:
                if refused.code != EXPIRED:
                    raise
                self.lose()
        self.drain()

    def connect(self):
        member = self.random.choice(self.members)
        session, password = self.session
        timeout_ms = self.random.randrange(1200, 3500)
        try:
            self.client = member.connect(timeout_ms=timeout_ms, session=session, password=password, zxid=self.zxid,
                                         xid=self.xid, seconds=PATIENCE_SECONDS)
        except Refused:
            self.session = (0, b"\0" * 16)                  # it has expired
            return False
        except (OSError, EOFError, struct.error):
            return False
        self.connections += 1
        if not session:
            self.sessions += 1
        self.look_again()
        return True

    def look_again(self):
        """What must be true on a server that was just connected to."""
        client = self.client
        # This server has seen all that this client has seen.
        self.see_counter()
        client.sync()
        if self.ephemeral:
            owner, path = self.ephemeral
            if owner == client.session:
                assert exists(client, path), "%s died before its session did" % path
            else:
                # A leader that is none any more may have said so: then this goes when the next one finds out.
                self.ephemeral = None
        if self.session[0] != client.session:
            self.session = client.session, client.password
            path = "%s/e-%x" % (self.root, client.session)
            client.create(path, b"", 1)
            self.ephemeral = client.session, path
        self.see_counter()

    def see_counter(self):
        data, stat = self.client.get(self.root)
        self.check_counter(data, stat)
        self.sent_version = stat["version"]

    def check_counter(self, data, stat):
        version, acked, mzxid = self.counter
        assert stat["version"] >= version, "%s: version %d was acknowledged, %d is there" % (
            self.root, version, stat["version"])
        if stat["version"] == version and version:
            assert (data, stat["mzxid"]) == (acked, mzxid), "%s: another version %d than was acknowledged" % (
                self.root, version)

    def work(self, stopped):
        while not stopped.is_set():
            while len(self.waiting) < IN_FLIGHT:
                self.send()
            self.receive()

    def lose(self):
        """The connection is gone, and with it the answers."""
        if self.client is not None:
            self.zxid, self.xid = max(self.zxid, self.client.zxid), self.client.xid
            self.client.close()
        self.client = None
        self.waiting.clear()        # what these were about is in `open`

    def drain(self):
        try:
            while self.waiting:
                self.receive()
        except (OSError, EOFError, struct.error):
            self.lose()

    def finish(self, politely):
        """Ends the session, or lets it die."""
        try:
            if self.client is not None and politely:
                self.client.end()
        except (OSError, EOFError, struct.error, Refused):
            pass
        self.lose()
        self.session = (0, b"\0" * 16)

    def send(self):
        choice = self.random.random()
        if choice < 0.03:
            self.put("sync", self.root, "sync", w.ustr(self.root))
        elif choice < 0.4:
            self.sent_version += 1
            data = b"%d-%d" % (self.sent_version, next(self.numbers))
            self.put("set", (self.sent_version, data), "setData",
                     w.ustr(self.root) + w.buf(data) + w.i32(self.sent_version - 1))
        elif choice < 0.5:
            data = w.buf(b"%d" % next(self.numbers)) + w.i32(-1)
            self.put("pair", None, "multi", w.multi([("setData", w.ustr(self.root + half) + data)
                                                     for half in ("-a", "-b")]))
        elif choice < 0.74 or len(self.made) < ZNODES:
            path = "%s/n%08d" % (self.root, next(self.numbers))
            self.open[path] = data = self.random.randbytes(self.random.randrange(600))
            self.put("create", (path, data), "create", create_body(path, data))
        else:
            path = self.random.choice(list(self.made))
            del self.made[path]
            self.open[path] = None
            self.put("delete", path, "delete", w.ustr(path) + w.i32(-1))

    def put(self, kind, about, op, body):
        self.waiting.append((kind, about))      # first: a request that broke off may have gone
        self.client.send(op, body)

    def receive(self):
        _, zxid, error, reply = self.client.receive()
        kind, about = self.waiting.pop(0)
        if error == EXPIRED:
            raise EOFError()                    # the connection goes as well
        if error == BAD_VERSION and kind == "set":
            # One from before, sent through a server that was away, has come first.
            self.drain()
            if self.client is not None:
                self.see_counter()
            return
        if error:
            raise AssertionError("%s of %s answered %d" % (kind, about, error))
        self.acks += 1
        if kind == "set":
            version, data = about
            stat = stat_of(w.Decoder(reply))
            assert stat["version"] == version and stat["mzxid"] == zxid, (about, stat, zxid)
            self.counter = version, data, zxid
        elif kind == "create":
            path, data = about
            self.made[path] = data, zxid
            del self.open[path]
        elif kind == "delete":
            self.removed.add(about)
            del self.open[about]

    # ---- the check ----

    def check(self, tree):
        data, stat, _ = tree[self.root]
        self.check_counter(data, stat)
        there = {path: (data, stat["czxid"]) for path, (data, stat, _) in tree.items()
                 if path.startswith(self.root + "/n")}
        for path, made in self.made.items():
            assert there.get(path) == made, "%s: acknowledged %s, found %s" % (path, made, there.get(path))
        for path, (data, _) in there.items():
            assert path not in self.removed, "%s is there after its delete was acknowledged" % path
            assert path in self.made or self.open.get(path, b"?") in (data, None), "%s was never made" % path
        a, b = tree[self.root + "-a"], tree[self.root + "-b"]
        assert (a[0], a[1]["mzxid"]) == (b[0], b[1]["mzxid"]), "half a multi: %s and %s" % (a, b)


def create_body(path, data=b""):
    return w.ustr(path) + w.buf(data) + w.acls(w.OPEN_ACL) + w.i32(0)


def exists(client, path):
    try:
        client.get(path)
        return True
    except Refused as refused:
        if refused.code != NO_NODE:
            raise
        return False


class Load(load.Load):
    """The same for writers: what was in flight before, and then some."""
    acks, patience = 3 * IN_FLIGHT, 40


def set_up(ensemble, names, seed):
    """The znodes that the writers own, and the writers."""
    chance = random.Random(seed)
    writers = [Writer(name, ensemble.members, chance.random()) for name in names]
    client = ensemble.wait_for_roles().connect()
    client.create(ROOT)
    for writer in writers:
        for path in (writer.root, writer.root + "-a", writer.root + "-b"):
            client.create(path)
    client.end()
    return writers
