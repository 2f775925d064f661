"""A small synchronous client for tests: sends requests as bytes, decodes the replies that tests look into."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "client"))
import zkwire as w  # noqa: E402,F401

STAT = struct.Struct(">qqqqiiiqiiq")
STAT_FIELDS = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner", "dataLength",
               "numChildren", "pzxid")


class Refused(Exception):
    """An error code in a reply."""

    def __init__(self, code):
        super().__init__("error %d" % code)
        self.code = code


class Client:
    """One session on one connection."""

    def __init__(self, port, timeout_ms=30000, session=0, password=b"\0" * 16, seconds=10):
        self.conn = w.Conn("127.0.0.1", port, seconds)
        self.conn.send(w.connect_request(timeout=timeout_ms, session=session, passwd=password))
        reply = self.conn.frame()
        _, self.timeout_ms, self.session = struct.unpack(">iiq", reply[:16])
        self.password = reply[20:36]
        if self.timeout_ms == 0:
            raise Refused(-112)
        self.xid = 0

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
        decoder = w.Decoder(self.call("getData", w.ustr(path) + w.boolean(False)))
        data = decoder.buffer()
        return data, dict(zip(STAT_FIELDS, STAT.unpack(decoder.take(STAT.size))))

    def children(self, path):
        decoder = w.Decoder(self.call("getChildren", w.ustr(path) + w.boolean(False)))
        return sorted(decoder.string() for _ in range(decoder.int()))

    def acl(self, path):
        decoder = w.Decoder(self.call("getACL", w.ustr(path)))
        return [(decoder.int(), decoder.string(), decoder.string()) for _ in range(decoder.int())]

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

    def tree(self, path="/"):
        """Every znode from `path` down: {path: (data, stat, acl)}."""
        found = {}
        waiting = [path]
        while waiting:
            at = waiting.pop()
            data, stat = self.get(at)
            found[at] = (data, stat, self.acl(at))
            waiting += [at.rstrip("/") + "/" + child for child in self.children(at)]
        return found

    def close(self):
        self.conn.close()

    def end(self):
        """Ends the session."""
        self.call("closeSession")
        self.conn.close()
