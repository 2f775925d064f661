"""Does enableEagerACLCheck refuse the same writes early as with Apache ZooKeeper 3.8.0?

    eager_acl.py --zkd target/release/zkd [--verbose]

On three servers of each kind: writes that the ACLs forbid, and some that they do not, to the leader and to a follower; the
error, whether the reply has a zxid, and how many zxids each one takes. The two stories must be the same.
"""
import sys

from ensemble import Ensemble, apache, arguments, zkd
from wire import w

CONFIG = {"tickTime": "500", "enableEagerACLCheck": "true"}
READ_ONLY_ACL = [(1, "world", "anyone")]


def steps(path):
    """Name, operation, body."""
    empty, below = w.buf(b""), w.ustr(path + "/below")
    return [
        ("setData", "setData", w.ustr(path) + empty + w.i32(-1)),
        ("create", "create", below + empty + w.acls(w.OPEN_ACL) + w.i32(0)),
        ("create2", "create2", below + empty + w.acls(w.OPEN_ACL) + w.i32(0)),
        ("delete of a missing znode", "delete", below + w.i32(-1)),
        ("setACL", "setACL", w.ustr(path) + w.acls(w.OPEN_ACL) + w.i32(-1)),
        ("create with no ACL", "create", w.ustr("/n") + empty + w.acls([]) + w.i32(0)),
        ("create without a parent", "create", w.ustr("/no/n") + empty + w.acls(w.OPEN_ACL) + w.i32(0)),
        ("multi", "multi", w.multi([("setData", w.ustr(path) + empty + w.i32(-1))])),
    ]


def story_of(kind):
    lines = []
    with Ensemble(kind, 3, CONFIG) as ensemble:
        leader = ensemble.wait_for_roles()
        for title, member in (("leader", leader), ("follower", ensemble.followers()[0])):
            with member.connect() as client:
                path = "/" + title
                client.create(path, acl=READ_ONLY_ACL)
                for name, op, body in steps(path):
                    before = settled(client)
                    client.send(op, body)
                    _, zxid, error, _ = client.receive()
                    lines.append("%s on the %s: error %d, %s zxid in the reply, %d taken" % (
                        name, title, error, "a" if zxid > 0 else "no", settled(client) - before))
                client.end()
    return lines


def settled(client):
    """The last zxid, once this server has caught up."""
    client.sync()
    client.get("/")
    return client.zxid


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--verbose", action="store_true", help="tell the story")
    args = parser.parse_args()
    ours, theirs = story_of(zkd(args.zkd)), story_of(apache)
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    different = [pair for pair in zip(ours, theirs) if pair[0] != pair[1]]
    for our, their in different:
        print("    zkd     %s\n    Apache  %s" % (our, their))
    if args.verbose:
        print("\n".join(ours))
    print("%d writes looked at early, %d differ" % (len(ours), len(different)))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
