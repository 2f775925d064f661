"""Do creates inside a multi make what they make on Apache ZooKeeper 3.9, and are they answered alike?

    creates.py --zkd target/release/zkd [--verbose]

Every kind of create with all flags, with some that do not exist, and with no ACL; what has become of each, and the answer.
What else a 3.8.0 server does otherwise, so that differential.py cannot ask for it, comes behind them.
"""
import argparse
import itertools
import sys

from servers import Apache39, Zkd, four_letter_word
from wire import STAT, Client, Refused, stat_of, w

CONFIG = {"extendedTypesEnabled": "true", "enforceQuota": "true"}
OPS = ("create", "create2", "createContainer", "createTTL")
FLAGS = (0, 1, 2, 3, 4, 5, 6, 7, 99, -1)
CONTAINER, TTL_BITS = -1 << 63, 0xff << 56
HARD_COUNT = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1"


def owner_of(stat, session):
    owner = stat["ephemeralOwner"]
    known = {0: "nobody", session: "its session", CONTAINER: "container"}
    return known.get(owner, "TTL" if owner & TTL_BITS == TTL_BITS else hex(owner))


def parts(client, reply):
    """The results of a multi: a path, and the Stat if there is one."""
    decoder, found = w.Decoder(reply), []
    while True:
        kind, done, error = decoder.int(), decoder.bool(), decoder.int()
        if done:
            return found
        if kind == -1:
            found.append("error %d" % decoder.int())
        elif kind == w.OPS["create"]:
            found.append("%d %s" % (error, decoder.string()))
        else:
            path, stat = decoder.string(), stat_of(decoder)
            found.append("%d %s of %s, length %d" % (kind, path, owner_of(stat, client.session), stat["dataLength"]))


def asked(client, op, body, read):
    try:
        return read(client.call(op, body))
    except Refused as refusal:
        return "refused: %d" % refusal.code


def creates():
    for op in OPS:
        for flags in FLAGS:
            for ttl in (1000, -1) if op == "createTTL" else (None,):
                rest = w.acls(w.OPEN_ACL) + w.i32(flags) + (b"" if ttl is None else w.i64(ttl))
                yield "%s, flags %d, TTL %s" % (op, flags, ttl), op, rest
        yield op + " without an ACL", op, w.i32(-1) + w.i32(0) + (w.i64(-1) if op == "createTTL" else b"")


def story(server):
    lines = []
    with server, Client(server.port) as client:
        for title, op, rest in creates():
            body = w.multi([(op, w.ustr("/here/n") + w.buf(b"data") + rest)])
            client.create("/here")
            answer = asked(client, "multi", body, lambda reply: parts(client, reply))
            made = ["%s of %s" % (name, owner_of(client.get("/here/" + name)[1], client.session))
                    for name in client.children("/here")]
            lines.append("%s: %s; there: %s" % (title, answer, made))
            for name in client.children("/here"):
                client.delete("/here/" + name)
            client.delete("/here")
        client.create("/e", flags=1)
        for prefix in ("", "/", " / ", "/e", " /e"):
            count = asked(client, "getEphemerals", w.ustr(prefix), lambda reply: w.Decoder(reply).int())
            lines.append("ephemerals of %r: %s" % (prefix, count))
        client.create("/quota")
        client.create("/quota/one")
        client.create("/zookeeper/quota/quota")
        client.create("/zookeeper/quota/quota/zookeeper_limits", HARD_COUNT)
        lines.append("a quota without a znode for its usage: %s" % asked(
            client, "create", w.ustr("/quota/two") + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0), len))
        usage = w.ustr("/zookeeper/quota/quota/zookeeper_stats") + w.buf(b"count=0,bytes=0") + w.acls(w.OPEN_ACL) + w.i32(0)
        lines.append("that znode is made: %s" % asked(
            client, "create2", usage, lambda reply: stat_of(w.Decoder(reply[-STAT.size:]))["dataLength"]))
        lines.append("with it: %s" % asked(
            client, "create", w.ustr("/quota/three") + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0), len))
        client.create("/twice")
        client.create("/zookeeper/quota/twice")
        for name in ("a", "b"):
            client.create("/twice/" + name, b"12345")
            client.create("/zookeeper/quota/twice/" + name)
            client.create("/zookeeper/quota/twice/%s/zookeeper_limits" % name, HARD_COUNT)
            client.create("/zookeeper/quota/twice/%s/zookeeper_stats" % name, b"count=0,bytes=0")
        lines += sorted(line for line in four_letter_word(server.port, "mntr").splitlines() if "zk_twice_quota" in line)
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    ours, theirs = story(Zkd(args.zkd, extra=CONFIG)), story(Apache39(extra=CONFIG))
    if args.verbose:
        print("\n".join(theirs))
    assert len(theirs) > 50
    differences = [pair for pair in itertools.zip_longest(ours, theirs) if pair[0] != pair[1]]
    for zkd, apache in differences:
        print("zkd:    %s\nApache: %s" % (zkd, apache))
    print("%d of %d answers differ from Apache's" % (len(differences), len(theirs)))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
