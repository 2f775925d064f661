"""Can anything that a client may send tell zkd from Apache ZooKeeper 3.8.0?

    differential.py --zkd target/release/zkd --seed 1 --ops 1000

Seeded random requests, valid and not, go as the same bytes to both servers in step; replies and events are compared field
by field. Times are masked; zxids, session ids and passwords must correspond one to one; sets are compared as sets. After
each request every session is pinged, so that all its events have come. zkd answers as 3.9.3 does: what differs from 3.8.0
is in KNOWN or is not generated, each with its reason.
"""
import argparse
import random
import struct
import sys

import servers
from wire import w

SESSIONS = 4

# Differences between 3.8.0 and 3.9.3 that the comparison lets pass.
KNOWN = {
    "exists-read": "exists checks READ since 3.9.2: -102 where 3.8.0 answers",
    "foreign-watch": "3.8.0 takes anybody's watch on the path for the client's own when it checks or removes one",
    "watch-null-path": "checking or removing a watch of the null path is -5 in 3.8.0 and -121 since 3.9.0",
    "multi-create2": "create2 in a multi is answered with a Stat since 3.9.0",
    "event-zxid": "notifications carry the txn's zxid since 3.9.0, and -1 before",
    "multi-error-body": "Apache ends an empty list behind some -5 answers to a multi; clients do not look behind an error",
    "null-path-zxid": "a multi with a null path is a txn since 3.9.0; before, it takes a zxid for nothing, and shows the last",
    "truncated-zxid": "a write that does not decode takes a zxid in 3.8.0 and none since 3.9.0",
}
# Not generated: watcher types 4 and 5, two modes of watch on one path, bad flags and null ACLs in a multi (3.9.0 changed
# them); check outside of a multi (3.8.0 never answers); deleteContainer, createSession, createTTL with other flags,
# limits on the root, addWatch without a path (they harm Apache, and zkd refuses them).


class Different(Exception):
    """The two servers do not agree."""


class Side:
    """One connection to one server."""

    def __init__(self, port, connect):
        self.conn = w.Conn("127.0.0.1", port, 15)
        self.conn.send(connect)

    def frames(self, last):
        """Frames up to the one that `last` accepts; None stands for the end of the connection."""
        out = []
        while True:
            try:
                frame = self.conn.frame()
            except (EOFError, OSError):
                return out + [None]
            out.append(frame)
            if last(frame):
                return out


def is_reply(frame):
    return frame[:4] != b"\xff\xff\xff\xff"


def ends_connection(reply):
    """An unknown opcode, or a refused identity."""
    zxid, error = struct.unpack(">qi", reply[4:16])
    return error == -115 or (error == -6 and zxid == -1)


class Pair:
    """One session on both servers."""

    def __init__(self, run, connect=None):
        self.run, self.xid, self.open = run, 0, True
        connect = connect or (w.connect_request(timeout=40000),) * 2
        self.sides = [Side(port, request) for port, request in zip(run.ports, connect)]
        replies = [side.frames(lambda _: True)[0] for side in self.sides]
        fields = [reply and struct.unpack(">iiq", reply[:16]) for reply in replies]
        if any(field is None for field in fields) or fields[0][1] != fields[1][1]:
            raise Different("connect: %s" % (replies,))
        self.ids = [field[2] for field in fields]
        self.passwords = [reply[20:36] for reply in replies]
        self.valid = fields[0][1] != 0
        if self.valid:
            run.sessions[self.ids[0]] = self.ids[1]
        else:
            self.open = False
        if connect[0][20:28] == bytes(8):
            run.clock()

    def exchange(self, op, request):
        """Sends the bytes to both and compares what comes up to the reply, then all events everywhere."""
        for side in self.sides:
            try:
                side.conn.send(request)
            except OSError:
                pass                # closed after its last answer; frames() sees it
        got = [side.frames(is_reply) for side in self.sides]
        self.run.compare(op, *got)
        if got[0][-1] is not None and ends_connection(got[0][-1]):
            self.run.compare("close", *[side.frames(lambda _: False) for side in self.sides])
            self.open = False
        if got[0][-1] is None:
            self.open = False


class Run:
    """All sessions of one comparison."""

    def __init__(self, ports, seed):
        self.ports, self.random = ports, random.Random(seed)
        self.sessions, self.zxids = {}, {0: 0, -1: -1}
        self.extra = 0              # zxids that only Apache has spent
        self.hidden = False         # whether Apache may have spent some that nobody has seen yet
        self.kinds = {}
        self.pairs = []

    def clock(self):
        """A new session took a zxid on both sides; nobody is told which."""

    # -- comparing ------------------------------------------------------------

    def compare(self, op, ours, theirs):
        if len(ours) != len(theirs):
            raise Different("%d frames and %d: %s / %s" % (len(ours), len(theirs), describe(op, ours),
                                                           describe(op, theirs)))
        events = [[f for f in side if f is not None and not is_reply(f)] for side in (ours, theirs)]
        shown = [sorted(self.event(f) for f in side) for side in events]
        if shown[0] != shown[1]:
            raise Different("events %s / %s" % tuple(shown))
        if (ours[-1] is None) != (theirs[-1] is None):
            raise Different("one closed: %s / %s" % (describe(op, ours), describe(op, theirs)))
        if ours[-1] is not None:
            self.reply(op, ours[-1], theirs[-1])

    @staticmethod
    def event(frame):
        _, event, _ = w.decode_frame(frame, "")
        return (event["type"], event["state"], event["path"])

    def reply(self, op, ours, theirs):
        (kind_a, a, _), (kind_b, b, _) = w.decode_frame(ours, op), w.decode_frame(theirs, op)
        self.kinds[a.get("err", 0)] = self.kinds.get(a.get("err", 0), 0) + 1
        if (op, a["err"], b["err"]) == ("exists", -102, 0):
            return                  # exists-read
        if op in ("checkWatches", "removeWatches") and a["err"] == -121 and b["err"] in (0, -5):
            return                  # foreign-watch, watch-null-path
        if kind_a != kind_b and not op.startswith("multi"):
            raise Different("%s / %s" % (a, b))
        self.header(op, a, b)
        if a["err"] != b["err"] or a["xid"] != b["xid"]:
            raise Different("%s / %s" % (a, b))
        for side in (a, b):
            del side["zxid"]
            if side["err"] == -5:
                side.pop("results", None)       # multi-error-body
        shown_a, shown_b = self.normal(a, 0), self.normal(b, 1)
        if shown_a != shown_b:
            raise Different("%s / %s" % (shown_a, shown_b))

    def header(self, op, a, b):
        ours, theirs = a["zxid"], b["zxid"]
        if ours in (0, -1) or theirs in (0, -1):
            if ours != theirs:
                raise Different("zxid %d / %d" % (ours, theirs))
            return
        if op == "multi" and a["err"] == -5 and theirs == ours + self.extra - 1:
            self.extra -= 1                     # null-path-zxid: it is not shown until the next txn
        if theirs > ours + self.extra and (a["err"] == -5 or self.hidden):
            self.extra = theirs - ours          # truncated-zxid
            self.hidden = False
        if op == "multi" and a["err"] == -5:
            self.hidden = True                  # spent without being shown: seen at the next txn
        if theirs != ours + self.extra:
            raise Different("zxid %#x / %#x, %d spent by Apache alone" % (ours, theirs, self.extra))
        self.zxids.setdefault(ours, theirs)

    def normal(self, value, side):
        """What must be equal on both sides."""
        if isinstance(value, dict):
            out = {}
            for key, field in value.items():
                if key in ("ctime", "mtime"):
                    field = bool(field)
                elif key in ("czxid", "mzxid", "pzxid"):
                    field = self.zxids.get(field, "?%d" % field) if side == 0 else field
                elif key == "ephemeralOwner":
                    field = self.sessions.get(field, field) if side == 0 else field
                elif key in ("children", "ephemerals", "acl", "clientInfo"):
                    field = sorted(field, key=repr)
                else:
                    field = self.normal(field, side)
                out[key] = field
            return out
        if isinstance(value, (list, tuple)):
            if value and value[0] == "create2":
                return ["create", value[1], value[2]]     # multi-create2
            if len(value) == 3 and value[0] == "getChildren":
                return ["getChildren", value[1], sorted(value[2])]
            return [self.normal(item, side) for item in value]
        return value

    # -- generating -----------------------------------------------------------

    def path(self):
        r = self.random
        if r.random() < 0.08:
            return r.choice(["", "/", "a", "/d/", "//d", "/d//x", "/d/./x", "/d/..", "/d/x\0y", "/d/\u00e9", "/d/\ue000",
                             "/zookeeper", "/zookeeper/config", "/no/such", None, b"/d/\xff\xfe"])
        parts = [r.choice("abcd") for _ in range(r.randrange(1, 4))]
        return "/d/" + "/".join(parts)

    def acl(self):
        r = self.random
        if r.random() < 0.75:
            return w.OPEN_ACL
        one = lambda: (r.choice([1, 2, 4, 8, 16, 31, 15, 0, -1, 64]), *r.choice([  # noqa: E731
            ("world", "anyone"), ("world", "x"), ("auth", ""), ("auth", "x"), ("digest", "u:h"), ("digest", "bad"),
            ("digest", "super:x:y"), ("ip", "127.0.0.1"), ("ip", "10.0.0.0/8"), ("ip", "1.2.3"), ("ip", "127.0.0.0/33"),
            ("super", ""), ("sasl", "x"), ("nobody", "x"), (None, "x"), ("digest", None)]))
        return r.choice([[], None, [one()], [one(), one()], [(31, "world", "anyone"), one()], [(31, "auth", "")],
                         [(31, "auth", ""), (1, "world", "anyone")]])

    def data(self):
        return self.random.choice([None, b"", b"x", b"data", bytes(100)])

    def version(self):
        return self.random.choice([-1, -1, -1, 0, 0, 1, 2, 5, -2])

    def create(self, sub=False):
        r = self.random
        path = self.path()
        if r.random() < 0.3 and isinstance(path, str):
            path = path.rstrip("/") + r.choice(["/s-", "/", "s"])
        op = r.choice(["create", "create", "create2", "createContainer"])
        flags = {"createContainer": 4}.get(op, r.choice([0, 0, 0, 0, 1, 2, 3, 4] if not sub else [0, 0, 0, 1, 2, 3]))
        acl = self.acl()
        if sub and not acl:
            acl = w.OPEN_ACL
        if not sub and op != "createContainer" and r.random() < 0.03:
            flags = r.choice([5, 6, 7, -1, 99])
        return op, w.ustr(path) + w.buf(self.data()) + w.acls(acl) + w.i32(flags)

    def write(self, sub=False):
        r, choice = self.random, self.random.random()
        if choice < 0.5:
            return self.create(sub)
        if choice < 0.7:
            return "delete", w.ustr(self.path()) + w.i32(self.version())
        if choice < 0.9 or sub:
            if sub and r.random() < 0.4:
                return "check", w.ustr(self.path()) + w.i32(self.version())
            return "setData", w.ustr(self.path()) + w.buf(self.data()) + w.i32(self.version())
        return "setACL", w.ustr(self.path()) + w.acls(self.acl()) + w.i32(self.version())

    def multi(self):
        return "multi", w.multi([self.write(sub=True) for _ in range(self.random.randrange(0, 5))])

    def read(self):
        r = self.random
        watch = w.boolean(r.random() < 0.4)
        op = r.choice(["exists", "getData", "getData", "getChildren", "getChildren2", "getACL", "getEphemerals",
                       "getAllChildrenNumber", "whoAmI", "sync", "multiRead", "checkWatches", "removeWatches",
                       "setWatches", "setWatches2", "addWatch"])
        if op == "exists":
            # Where READ may be missing, 3.8.0 leaves a watch and 3.9 does not.
            watch = w.boolean(False)
        if op in ("exists", "getData", "getChildren", "getChildren2"):
            return op, w.ustr(self.path()) + watch
        if op in ("getACL", "getEphemerals", "getAllChildrenNumber", "sync"):
            return op, w.ustr(self.path())
        if op == "whoAmI":
            return op, b""
        if op == "multiRead":
            reads = [(r.choice(["getData", "getChildren"]), w.ustr(self.path()) + watch) for _ in range(r.randrange(4))]
            return op, w.multi(reads)
        if op in ("checkWatches", "removeWatches"):
            return op, w.ustr(self.path()) + w.i32(r.choice([1, 2, 3, 3, 9]))
        if op == "addWatch":
            # A path of its own kind for each mode: before 3.9 a second mode takes the place of the first.
            return op, w.ustr(r.choice(["/p/one", "/p/two"])) + w.i32(0) if r.random() < 0.5 else \
                w.ustr(r.choice(["/r/one", "/r"])) + w.i32(1)
        lists = [[self.path() or "/d" for _ in range(r.randrange(3))] for _ in range(3)]
        body = w.i64(r.choice([0, 1 << 60])) + b"".join(w.vec(paths, w.ustr) for paths in lists)
        return op, body + (w.vec(["/p/one"], w.ustr) + w.vec(["/r"], w.ustr) if op == "setWatches2" else b"")

    def around(self):
        """Changes where the persistent watches are."""
        r = self.random
        path = r.choice(["/p", "/p/one", "/p/two", "/r", "/r/one", "/r/one/x", "/p/one/y"])
        if r.random() < 0.5:
            return "create", w.ustr(path) + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0)
        if r.random() < 0.5:
            return "delete", w.ustr(path) + w.i32(-1)
        return "setData", w.ustr(path) + w.buf(b"z") + w.i32(-1)

    def auth(self):
        r = self.random
        if r.random() < 0.08:
            scheme, data = r.choice([("world", b""), ("nobody", b"x"), (None, b"x"), ("digest", None), ("super", b"")])
        else:
            scheme, data = r.choice([("digest", b"u:p"), ("digest", b"v:p"), ("ip", b""), ("digest", b"nocolon"),
                                     ("digest", b"")])
        return "auth", w.i32(r.choice([0, 7])) + w.ustr(scheme) + w.buf(data)

    def next_request(self):
        choice = self.random.random()
        if choice < 0.42:
            op, body = self.write()
        elif choice < 0.55:
            op, body = self.multi()
        elif choice < 0.62:
            op, body = self.around()
        elif choice < 0.96:
            op, body = self.read()
        elif choice < 0.985:
            op, body = self.auth()
        else:
            op, body = self.random.choice([("ping", b""), ("sasl", w.buf(b"x")), (999, b""), (0, b""), ("ping", b"xx")])
        # A cut auth or sasl packet closes; the others answer -5. A cut setWatches may have done half of its work.
        if self.random.random() < 0.03 and body and op not in ("auth", "sasl", "setWatches", "setWatches2"):
            body = body[:self.random.randrange(len(body))]
        if self.random.random() < 0.03 and op not in ("sasl", "ping"):
            body += b"behind"
        return op, body

    # -- running --------------------------------------------------------------

    def step(self, number):
        r = self.random
        pair = r.choice(self.pairs)
        choice = r.random()
        if choice < 0.01:
            self.replace(pair, self.reconnect(pair, right=r.random() < 0.7))
            return "reconnect", b""
        if choice < 0.02:
            pair.xid += 1
            pair.exchange("closeSession", w.request(pair.xid, "closeSession"))
            pair.open = False
            self.replace(pair, Pair(self))
            return "closeSession", b""
        op, body = self.next_request()
        pair.xid += 1
        self.last = (number, op, body)
        name = op if isinstance(op, str) else "unknown"
        pair.exchange(name, w.request(pair.xid, op, body))
        if not pair.open:
            self.replace(pair, Pair(self))
        return op, body

    def reconnect(self, pair, right):
        """Comes back to the session on a new connection; with a wrong password the old one is cut all the same."""
        requests = [w.connect_request(timeout=40000, session=session, passwd=password if right else b"y" * 16)
                    for session, password in zip(pair.ids, pair.passwords)]
        back = Pair(self, requests)
        self.compare("reconnect", *[side.frames(lambda _: False) for side in pair.sides])
        back.xid = pair.xid
        return back if back.valid else Pair(self)

    def replace(self, old, new):
        for side in old.sides:
            side.conn.close()
        self.pairs[self.pairs.index(old)] = new

    def settle(self):
        for pair in list(self.pairs):
            pair.exchange("ping", w.request(-2, "ping"))
            if not pair.open:       # the answer before was the last one on this connection
                self.replace(pair, Pair(self))

    def run(self, ops):
        self.pairs = [Pair(self) for _ in range(SESSIONS)]
        self.last = None
        first = self.pairs[0]
        for path in ("/d", "/p", "/r"):
            first.xid += 1
            first.exchange("create", w.request(first.xid, "create", w.ustr(path) + w.buf(b"") + w.acls(w.OPEN_ACL) +
                                               w.i32(0)))
        for number in range(ops):
            self.step(number)
            self.settle()
        for pair in self.pairs:
            for side in pair.sides:
                side.conn.close()


def describe(op, frames):
    return [None if frame is None else w.decode_frame(frame, op)[1] for frame in frames]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", help="without it Apache is compared with itself")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    parser.add_argument("--ops", type=int, default=1000)
    args = parser.parse_args()
    answers = {}
    for seed in range(args.seed, args.seed + args.seeds):
        ours = servers.Zkd(args.zkd) if args.zkd else servers.Apache380()
        with ours, servers.Apache380() as theirs:
            run = Run([ours.port, theirs.port], seed)
            try:
                run.run(args.ops)
            except Different as different:
                number, op, body = run.last or (0, "", b"")
                print("seed %d, request %d: %s %s\n  %s" % (seed, number, op, body.hex(), different))
                return 1
            for code, count in run.kinds.items():
                answers[code] = answers.get(code, 0) + count
    print("%d seeds of %d requests, no difference; answers by code: %s" % (
        args.seeds, args.ops, ", ".join("%d: %d" % pair for pair in sorted(answers.items(), reverse=True))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
