"""Does each server open what the other has written, to the same tree, Stats, ACLs and sessions?

    storage_roundtrip.py --zkd target/release/zkd

One data directory passes from server to server; each writes more before it is stopped or killed, and the next one must
show, through the wire, exactly what the one before showed. Then every session must be there to come back to. TTL znodes
as 3.5.3 stored them mean to each what they mean to the other.
"""
import argparse
import os
import shutil
import sys
import struct
import tempfile
import zlib

import servers
from ensemble import poll
from wire import Client, Refused, w

EXTRA = {"extendedTypesEnabled": "true", "preAllocSize": "64",
         "DigestAuthenticationProvider.superDigest": "super:g9oN2HttPfn8MMWJZ2r45Np/LIA="}
# With so few txns between snapshots, several are taken in each turn.
OFTEN = {"snapCount": "40"}


def write_much(client, turn):
    """All kinds of znodes and changes, and requests that fail, below a root of this turn."""
    root = "/turn%d" % turn
    client.create(root, b"root")
    client.create(root + "/null", None)
    client.create(root + "/empty", b"")
    client.create(root + "/big", os.urandom(500000))
    client.create(root + "/\u00e9\u20ac\u4e2d", "\u00e9".encode())
    for _ in range(3):
        client.create(root + "/seq-", b"s", 2)
        client.create(root + "/eph-", b"e", 3)
    # With other flags the digest that Apache foresees is not the one that its tree then has.
    client.create(root + "/container", b"", 4, op="createContainer")
    client.create(root + "/container/child")
    client.call("createTTL", w.ustr(root + "/ttl") + w.buf(b"t") + w.acls(w.OPEN_ACL) + w.i32(5) + w.i64(3600000))
    client.create(root + "/read-only", b"r", 0, w.READ_ACL)
    client.auth(b"user:secret")
    client.create(root + "/mine", b"m", 0, [(31, "auth", ""), (1, "ip", "127.0.0.0/8")])
    for version in range(20):
        client.set(root + "/empty", b"v%d" % version, version)
    client.call("setACL", w.ustr(root + "/null") + w.acls([(31, "world", "anyone"), (1, "digest", "a:b")]) + w.i32(0))
    client.create(root + "/gone")
    client.delete(root + "/gone")
    quota = "/zookeeper/quota" + root
    for path in (quota, quota + "/zookeeper_limits", quota + "/zookeeper_stats"):
        client.create(path, b"count=1000,bytes=-1" if path != quota else b"")
    create = w.ustr(root + "/multi") + w.buf(b"1") + w.acls(w.OPEN_ACL) + w.i32(0)
    change = w.ustr(root + "/multi") + w.buf(b"2") + w.i32(0)
    assert client.multi([("create", create), ("setData", change), ("check", w.ustr(root) + w.i32(0))]) == [0, 0, 0]
    assert client.multi([("delete", w.ustr(root + "/multi") + w.i32(-1)), ("check", w.ustr(root) + w.i32(9))]) == [0, -103]
    for op, body, code in (("delete", w.ustr(root) + w.i32(-1), -111), ("create", create, -110),
                           ("setData", w.ustr("/no") + w.buf(b"") + w.i32(-1), -101)):
        try:
            client.call(op, body)
            raise AssertionError("%s was not refused" % op)
        except Refused as refused:
            assert refused.code == code, (op, refused)
    for number in range(60):
        client.create(root + "/many-%d" % number, b"%d" % number)


def look(port):
    client = Client(port)
    client.auth(b"super:superpw")
    tree = client.tree()
    client.end()
    return tree


def difference(before, after):
    for path in sorted(set(before) | set(after)):
        old, new = before.get(path), after.get(path)
        if path == "/zookeeper/config" and old and new:
            continue
        if old != new:
            short = lambda found: None if found is None else (found[0] and found[0][:40], found[1], found[2])  # noqa: E731
            return "%s was %s, is %s" % (path, short(old), short(new))
    return None


def pass_on(kinds, often, kill, compression=""):
    """One directory through servers of these kinds."""
    extra = dict(EXTRA, **(OFTEN if often else {}))
    if compression:
        extra["snapshot.compression.method"] = compression
    work = tempfile.mkdtemp(prefix="zk-roundtrip-")
    data_dir = os.path.join(work, "data")
    before, sessions = None, []
    try:
        for turn, kind in enumerate(kinds):
            server = kind(data_dir=data_dir, extra=extra)
            server.start()
            try:
                if before is not None:
                    found = difference(before, look(server.port))
                    assert found is None, "%s after %s: %s" % (server.name, kinds[turn - 1].__name__, found)
                for session, password in sessions:
                    Client(server.port, session=session, password=password).close()
                writer = Client(server.port)
                write_much(writer, turn)
                sessions.append((writer.session, writer.password))
                writer.close()
                before = look(server.port)
                server.kill() if kill else server.stop()
            except BaseException:
                print("---- log of %s ----\n%s" % (server.name, server.log_text()[-6000:]))
                raise
            finally:
                server.stop()
                log = server.log_text()
                server.clean()
            assert "digest" not in log.lower() or server.name != "zkd", log
        names = os.listdir(os.path.join(data_dir, "version-2"))
        assert not compression or any(name.endswith("." + compression) for name in names), names
        return len(before)
    finally:
        shutil.rmtree(work, ignore_errors=True)


SEAL = struct.Struct(">qi1s")


def as_3_5_3_wrote(data_dir, owners):
    """Changes owners in the only snapshot, which has nothing but a checksum behind its znodes."""
    directory = os.path.join(data_dir, "version-2")
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if name.startswith("log."):
            os.remove(path)
        elif name.startswith("snapshot."):
            with open(path, "rb") as f:
                body = f.read()[:-SEAL.size]
            for new, old in owners.items():
                pattern = struct.pack(">Q", new)
                assert body.count(pattern) == 1, (name, hex(new), body.count(pattern))
                body = body.replace(pattern, struct.pack(">Q", old))
            with open(path, "wb") as f:
                f.write(body + SEAL.pack(zlib.adler32(body), 1, b"/"))


def old_ttls(kind, maker):
    """What becomes of such znodes, with emulate353TTLNodes and without."""
    plain = {"extendedTypesEnabled": "true", "digest.enabled": "false", "serializeLastProcessedZxid.enabled": "false"}
    # Bit 63 is the mark, and the lower 40 bits count.
    owners = {0xff00000000000000 | 3600001: 1 << 63 | 3600001, 0xff00000000000000 | 3600002: 1 << 63 | 1 << 50 | 1}
    seen = []
    for emulates in ("true", "false"):
        work = tempfile.mkdtemp(prefix="zk-roundtrip-")
        try:
            with maker(data_dir=work, extra=plain) as server, Client(server.port) as client:
                for path, ttl in (("/stays", 3600001), ("/goes", 3600002)):
                    client.call("createTTL", w.ustr(path) + w.buf(b"t") + w.acls(w.OPEN_ACL) + w.i32(5) + w.i64(ttl))
                client.end()
            # A snapshot is taken at the start.
            with servers.Apache39(data_dir=work, extra=plain):
                pass
            for name in sorted(os.listdir(os.path.join(work, "version-2")))[:-1]:
                if name.startswith("snapshot."):
                    os.remove(os.path.join(work, "version-2", name))
            as_3_5_3_wrote(work, owners)
            extra = {**plain, "emulate353TTLNodes": emulates, "znode.container.checkIntervalMs": "100"}
            with kind(data_dir=work, extra=extra) as server, Client(server.port) as client:
                if emulates == "true":
                    # While all of the tree is looked at, it may go.
                    poll(lambda: "goes" not in client.children("/"), 20, "a znode that is due is not removed")
                    client.create("/stays/child")
                    client.delete("/stays/child")
                seen.append(client.tree())
                client.end()
        finally:
            shutil.rmtree(work, ignore_errors=True)
    for tree in seen:
        tree.pop("/zookeeper/config")
    return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()

    def zkd(**kwargs):
        return servers.Zkd(args.zkd, **kwargs)
    zkd.__name__ = "zkd"
    apache = servers.Apache380
    znodes = turns = 0
    for kinds in ((zkd, apache, zkd, apache), (apache, zkd, apache, zkd), (zkd, zkd, zkd)):
        for often in (False, True):
            for kill in (False, True):
                znodes += pass_on(kinds, often, kill)
                turns += len(kinds)
    for compression in ("gz", "snappy"):
        znodes += pass_on((zkd, apache, zkd, apache, zkd), True, True, compression)
        turns += 5
    ours, theirs = old_ttls(zkd, zkd), old_ttls(servers.Apache39, zkd)
    assert "/stays" in ours[0] and "/goes" not in ours[0] and "/stays" not in ours[1], ours
    assert [set(tree) for tree in ours] == [set(tree) for tree in theirs], (ours, theirs)
    assert ours[0]["/stays"][1]["ephemeralOwner"] == theirs[0]["/stays"][1]["ephemeralOwner"] == 0, (ours, theirs)
    print("%d turns, %d znodes compared at their ends, no difference" % (turns, znodes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
