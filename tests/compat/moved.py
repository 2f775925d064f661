"""What may the old connection of a session still do that has moved to another server?

    moved.py --zkd target/release/zkd

Under a zkd and under an Apache 3.9 server as leader, of two zkds that follow: a multi is not answered, the connection closes;
the end of the session is its end, wherever it has gone.
"""
import sys

from ensemble import Ensemble, apache39, arguments, poll, zkd
from wire import Client, Refused, w

CONFIG = {"tickTime": "500"}
END_SECONDS = 3


def again(member, client):
    return Client(member.port, session=client.session, password=client.password)


def is_closed(client, op, body=b""):
    """Whether there is no answer."""
    try:
        client.call(op, body)
    except (EOFError, ConnectionError):
        return True
    return False


def exists(client, path):
    try:
        client.get(path)
    except Refused as refusal:
        assert refusal.code == -101, refusal
        return False
    return True


def check(title, one, two):
    with Client(one.port) as watcher:
        old = Client(one.port)
        old.create("/moved", flags=1)
        new = again(two, old)
        assert new.session == old.session
        write = w.multi([("create", w.ustr("/of-old") + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0))])
        assert is_closed(old, "multi", write), title + ": a multi of the old connection is answered"
        watcher.call("sync", w.ustr("/"))
        assert exists(watcher, "/moved") and not exists(watcher, "/of-old"), title
        newest = again(one, new)
        is_closed(new, "closeSession")
        # Long before it would end for want of a client.
        poll(lambda: not exists(watcher, "/moved"), END_SECONDS, lambda: title + ": its ephemeral is still there")
        assert is_closed(newest, "getData", w.ustr("/") + w.boolean(False)), title + ": its new connection is still there"
        watcher.end()


def main():
    binary = arguments(__doc__, with_apache=False).parse_args().zkd
    with Ensemble(zkd(binary), 3, CONFIG) as ensemble:
        ensemble.wait_for_roles()
        check("zkd leads", *ensemble.followers())
    with Ensemble([zkd(binary), zkd(binary), apache39], 3, CONFIG) as ensemble:
        one, two, leader = ensemble
        ensemble.lead_first(leader, [one, two])
        check("Apache leads", one, two)
    print("the old connection of a session that has moved ends the session, and does nothing else")
    return 0


if __name__ == "__main__":
    sys.exit(main())
