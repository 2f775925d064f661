"""Do local sessions live and die as with Apache ZooKeeper 3.8.0?

    local_sessions.py --zkd target/release/zkd [--verbose]

localSessionsEnabled, without and with localSessionsUpgradingEnabled, on three servers of each kind: the same requests
to the leader and to a follower, what each one answers, and how many zxids it takes. The two stories must be the same.
"""
import sys
import time

from ensemble import Ensemble, apache, arguments, poll, zkd
from wire import Client, Refused, w

# Timeouts are at least two ticks.
CONFIG = {"tickTime": "500", "localSessionsEnabled": "true"}
SHORT_MS = 1000
EXPIRE_SECONDS = 20
EPHEMERAL = 1


class Story:
    """What happened on one kind of ensemble, line by line."""

    def __init__(self, ensemble):
        self.ensemble = ensemble
        self.leader = ensemble.wait_for_roles()
        self.follower, self.elsewhere = ensemble.followers()
        self.control = self.leader.connect()
        self.lines = []

    def zxid(self):
        self.control.sync()
        self.control.get("/")
        return self.control.zxid

    def step(self, what, action):
        """Does it, and tells how it ended and how many zxids it took."""
        before = self.zxid()
        try:
            result = action()
            ended = "ok"
        except Refused as refused:
            result, ended = None, "error %d" % refused.code
        except (OSError, EOFError):
            result, ended = None, "closed"
        self.lines.append("%s: %s, %d zxids" % (what, ended, self.zxid() - before))
        return result

    def tell(self, line):
        self.lines.append(line)

    def exists(self, path):
        try:
            self.control.get(path)
        except Refused:
            return False
        return True

    def on(self, title, member, elsewhere):
        """All that clients of one server do."""
        name = "/" + title
        client = self.step(title + " connects", member.connect)
        self.tell("%s: the server's number is in the id: %s" % (title, client.session >> 56 == member.number))
        self.step(title + " creates", lambda: client.create(name, b"data"))
        self.step(title + " reads", lambda: client.get(name))
        client.close()
        client = self.step(title + " comes back", lambda: again(member, client))
        self.step(title + " goes elsewhere", lambda: again(elsewhere, client).close())
        self.step(title + " reads afterwards", lambda: client.get(name))
        self.step(title + " creates in a multi", lambda: client.multi(
            [("create", w.ustr(name + "/m") + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0))]))
        self.step(title + " closes", client.end)
        self.step(title + " comes back after closing", lambda: again(member, client).close())

        for how in ("create", "create2", "multi"):
            self.ephemeral("%s-%s" % (title, how), how, member, elsewhere)

        client = self.step(title + " connects for a short time", lambda: member.connect(timeout_ms=SHORT_MS))
        before = self.zxid()
        client.close()
        poll(lambda: has_expired(member, client), EXPIRE_SECONDS, "the session does not expire")
        self.tell("%s expires: %d zxids" % (title, self.zxid() - before))

    def ephemeral(self, title, how, member, elsewhere):
        """An ephemeral of a local session."""
        path, client = "/e-" + title, member.connect()
        body = w.ustr(path) + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(EPHEMERAL)
        self.step(title + " creates an ephemeral",
                  lambda: client.multi([("create", body)]) if how == "multi" else client.call(how, body))
        self.tell("%s: it is there: %s" % (title, self.exists(path)))
        if self.exists(path):
            owner = self.control.get(path)[1]["ephemeralOwner"]
            self.tell("%s: it belongs to the session: %s" % (title, owner == client.session))
        self.step(title + " creates another one",
                  lambda: client.create(path + "-2", flags=EPHEMERAL))
        moved = self.step(title + " goes elsewhere", lambda: again(elsewhere, client))
        last = moved or client
        self.step(title + " reads afterwards", lambda: last.get("/"))
        self.step(title + " closes", last.end)
        self.tell("%s: it is there afterwards: %s" % (title, self.exists(path)))
        client.close()

    def run(self):
        self.on("follower", self.follower, self.elsewhere)
        self.on("leader", self.leader, self.follower)
        self.control.end()
        return self.lines


def again(member, client):
    """The same session on a new connection. A server that is behind the client would only close it."""
    with member.connect() as other:
        other.sync()
        other.end()
    return Client(member.port, session=client.session, password=client.password, zxid=client.zxid, xid=client.xid)


def has_expired(member, client):
    """Looked at only after the timeout: looking keeps a session alive."""
    time.sleep(3 * SHORT_MS / 1000)
    try:
        again(member, client).close()
    except Refused:
        return True
    return False


def story_of(kind, upgrading):
    with Ensemble(kind, 3, {**CONFIG, "localSessionsUpgradingEnabled": upgrading}) as ensemble:
        return Story(ensemble).run()


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--verbose", action="store_true", help="tell the story")
    args = parser.parse_args()
    differences = steps = 0
    for upgrading in ("false", "true"):
        ours, theirs = (story_of(kind, upgrading) for kind in (zkd(args.zkd), apache))
        for our, their in zip(ours, theirs):
            steps += 1
            if our != their:
                differences += 1
                print("localSessionsUpgradingEnabled=%s\n    zkd     %s\n    Apache  %s" % (upgrading, our, their))
            elif args.verbose:
                print("upgrading=%s  %s" % (upgrading, our))
        assert len(ours) == len(theirs), (len(ours), len(theirs))
    print("%d steps with local sessions, %d differ" % (steps, differences))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
