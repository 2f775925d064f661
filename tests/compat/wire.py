"""A small synchronous client for tests: sends requests as bytes, decodes the replies that tests look into."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "client"))
import zkwire as w  # noqa: E402,F401

STAT = struct.Struct(">qqqqiiiqiiq")
STAT_FIELDS = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner", "dataLength",
               "numChildren", "pzxid")

TREE_BATCH = 200


class Refused(Exception):
    """An error code in a reply."""

    def __init__(self, code):
        super().__init__("error %d" % code)
        self.code = code


def data_of(reply):
    decoder = w.Decoder(reply)
    data = decoder.buffer()
    return data, stat_of(decoder)


def stat_of(decoder):
    return dict(zip(STAT_FIELDS, STAT.unpack(decoder.take(STAT.size))))


def children_of(reply):
    decoder = w.Decoder(reply)
    return sorted(decoder.string() for _ in range(decoder.int()))


def acl_of(reply):
    decoder = w.Decoder(reply)
    return [(decoder.int(), decoder.string(), decoder.string()) for _ in range(decoder.int())]


class Client:
    """One session on one connection."""

    def __init__(self, port, timeout_ms=30000, session=0, password=b"\0" * 16, seconds=10, zxid=0, xid=0,
                 host="127.0.0.1", tls=None):
        self.conn = w.Conn(host, port, seconds)
        if tls is not None:
            self.conn.s = tls.wrap_socket(self.conn.s)
        self.zxid = zxid            # the last one seen: a server that knows less must not answer
        try:
            self.conn.send(w.connect_request(last_zxid=zxid, timeout=timeout_ms, session=session, passwd=password))
            reply = self.conn.frame()
        except (OSError, EOFError):
            self.conn.close()
            raise
        _, self.timeout_ms, self.session = struct.unpack(">iiq", reply[:16])
        self.password = reply[20:36]
        if self.timeout_ms == 0:
            self.conn.close()
            raise Refused(-112)
        self.xid = xid              # goes on where the connection before has ended, as in real clients

    def send(self, op, body=b""):
        self.xid += 1
        self.conn.send(w.request(self.xid, op, body))
        return self.xid

    def receive(self):
        """(xid, zxid, error, body) of the next reply; notifications are passed over."""
        while True:
            frame = self.conn.frame()
            xid, zxid, error = struct.unpack(">iqi", frame[:16])
            if xid != -1:
                self.zxid = max(self.zxid, zxid)
                return xid, zxid, error, frame[16:]

    def call(self, op, body=b""):
        sent = self.send(op, body)
        xid, _, error, reply = self.receive()
        if xid != sent:
            raise AssertionError("reply %d to request %d" % (xid, sent))
        if error:
            raise Refused(error)
        return reply

    def create(self, path, data=b"", flags=0, acl=w.OPEN_ACL, op="create"):
        reply = self.call(op, w.ustr(path) + w.buf(data) + w.acls(acl) + w.i32(flags))
        return w.Decoder(reply).string()

    def set(self, path, data, version=-1):
        self.call("setData", w.ustr(path) + w.buf(data) + w.i32(version))

    def delete(self, path, version=-1):
        self.call("delete", w.ustr(path) + w.i32(version))

    def get(self, path):
        return data_of(self.call("getData", w.ustr(path) + w.boolean(False)))

    def reconfig(self, joining=None, leaving=None, members=None, version=-1):
        """The configuration that is in force then, a text."""
        body = b"".join(map(w.ustr, (joining, leaving, members))) + struct.pack(">q", version)
        return data_of(self.call("reconfig", body))[0].decode()

    def children(self, path):
        return children_of(self.call("getChildren", w.ustr(path) + w.boolean(False)))

    def acl(self, path):
        return acl_of(self.call("getACL", w.ustr(path)))

    def auth(self, credentials, scheme="digest"):
        self.call("auth", w.i32(0) + w.ustr(scheme) + w.buf(credentials))

    def multi(self, ops):
        """Error codes of the parts, all 0 when it succeeded. `ops` are (name, body) pairs."""
        decoder = w.Decoder(self.call("multi", w.multi(ops)))
        codes = []
        while True:
            kind, done, error = decoder.int(), decoder.bool(), decoder.int()
            if done:
                return codes
            codes.append(error)
            if kind == -1:
                decoder.int()
            elif kind in (1, 15):
                decoder.string()
                if kind == 15:
                    decoder.take(STAT.size)
            elif kind == 5:
                decoder.take(STAT.size)

    def sync(self, path="/"):
        self.call("sync", w.ustr(path))

    def tree(self, path="/"):
        """Every znode from `path` down: {path: (data, stat, acl)}. Many requests are in flight at once."""
        found = {}
        waiting = [path]
        while waiting:
            batch, waiting = waiting[:TREE_BATCH], waiting[TREE_BATCH:]
            requests = b""
            for at in batch:
                for op, body in (("getData", w.ustr(at) + w.boolean(False)), ("getACL", w.ustr(at)),
                                 ("getChildren", w.ustr(at) + w.boolean(False))):
                    self.xid += 1
                    requests += w.request(self.xid, op, body)
            self.conn.send(requests)
            replies = [[self.receive() for _ in range(3)] for _ in batch]
            for at, (data, acl, children) in zip(batch, replies):
                for _, _, error, _ in (data, acl, children):
                    if error:
                        raise Refused(error)
                found[at] = (*data_of(data[3]), acl_of(acl[3]))
                waiting += [at.rstrip("/") + "/" + child for child in children_of(children[3])]
        return found

    def close(self):
        self.conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def end(self):
        """Ends the session."""
        self.call("closeSession")
        self.conn.close()
