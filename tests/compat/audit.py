"""Does the audit log tell what Apache's tells?

    audit.py --zkd target/release/zkd

The same requests on a zkd server and an Apache ZooKeeper 3.9 server, both with `audit.enable=true`: done and refused, alone
and in multis, from a client that nobody knows and from one that proves who it is. The lines are the same.
"""
import argparse
import contextlib
import itertools
import re
import sys

from ensemble import poll
from servers import Apache39, Zkd
from wire import Client, Refused, w

PATIENCE_SECONDS = 10
EXTRA = {"audit.enable": "true", "extendedTypesEnabled": "true"}
# Behind the target, or the name of the class.
LINE = re.compile(r"(INFO|ERROR)\s+(?:audit:|\S*Slf4jAuditLogger -) (.*)")


class Apache39Audit(Apache39):
    def command(self, config_file):
        java, *rest = super().command(config_file)
        return [java, "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.audit=info", *rest]


def lines(server, sessions):
    """(level, line) of each, without the ids of sessions. The users of one line are in no order."""
    users = re.compile(r"(?<=user=)[^\t]*")
    found = [(level, users.sub(lambda them: ",".join(sorted(them[0].split(","))), text.strip()))
             for level, text in LINE.findall(server.log_text())]
    for number, session in enumerate(sessions):
        found = [(level, text.replace("0x%x" % session, "session-%d" % number)) for level, text in found]
    # Nor are the ephemerals of one session.
    runs = itertools.groupby(found, lambda line: "ephemeralZNodeDeletion" in line[1])
    return [line for is_end, run in runs for line in (sorted(run) if is_end else run)]


def create(path, flags=0):
    return w.ustr(path) + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(flags)


def use(server):
    """Everything that is told of, and some that is not. Answers the sessions."""
    client = Client(server.port)

    def refused(op, body):
        with contextlib.suppress(Refused):
            client.call(op, body)
            raise AssertionError("%s is not refused" % op)

    client.create("/c0-")
    for op, flags in (("create2", 1), ("create", 2), ("create2", 3), ("createContainer", 4)):
        client.call(op, create("/c%d-" % flags, flags))
    client.call("createTTL", create("/ttl", 5) + w.i64(100000))
    client.set("/c0-", b"x")
    client.get("/c0-")
    refused("create", create("/c0-"))
    refused("create", create("/no/parent", 1))
    refused("delete", w.ustr("/nothing") + w.i32(-1))
    refused("setData", w.ustr("/c0-") + w.buf(b"") + w.i32(77))
    client.auth(b"joe:secret")
    client.auth(b"ann:secret")
    client.call("setACL", w.ustr("/c0-") + w.acls([(1, "world", "anyone"), (31, "auth", "")]) + w.i32(-1))
    refused("setACL", w.ustr("/nothing") + w.acls(w.OPEN_ACL) + w.i32(-1))
    client.multi([("create", create("/m")), ("setData", w.ustr("/m") + w.buf(b"1") + w.i32(-1)), ("create", create("/s-", 2)),
                  ("check", w.ustr("/m") + w.i32(-1)), ("delete", w.ustr("/m") + w.i32(-1))])
    client.multi([("create", create("/m")), ("delete", w.ustr("/nothing") + w.i32(-1))])
    refused("reconfig", w.ustr("server.7=a:1:2") + w.ustr(None) + w.ustr(None) + w.i64(-1))
    client.delete("/c0-")
    client.end()
    gone = Client(server.port)
    gone.create("/last", flags=1)
    gone.end()
    poll(lambda: "/last" in server.log_text() and "result" in server.log_text().rpartition("/last")[2], PATIENCE_SECONDS,
         "the end of a session is not told of")
    return client.session, gone.session


def told(server):
    with server:
        sessions = use(server)
        server.stop()
        return lines(server, sessions)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    ours, theirs = told(Zkd(parser.parse_args().zkd, extra=EXTRA)), told(Apache39Audit(extra=EXTRA))
    for number, (our, their) in enumerate(zip(ours, theirs)):
        assert our == their, "line %d:\n%s\nof Apache:\n%s" % (number, our, their)
    assert len(ours) == len(theirs), (ours[len(theirs):], theirs[len(ours):])
    assert len(ours) > 25, ours
    print("%d lines of the audit log as Apache writes them" % len(ours))


if __name__ == "__main__":
    sys.exit(main())
