"""Does a server that has lost its quorum go on for kazoo's read-only clients, as Apache ZooKeeper 3.8.0 does?

    read_only.py --zkd target/release/zkd [--verbose]

Three servers of each kind with readonlymode.enabled: two are killed and come back, under a KazooClient(read_only=True)
and beside one that does not want that. Both kinds must tell the same story.
"""
import logging
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KeeperState

from ensemble import ROLES_SECONDS, Ensemble, apache, arguments, poll, zkd
from servers import four_letter_word

CONFIG = {"tickTime": "500", "readonlymode.enabled": "true", "localSessionsEnabled": "true",
          "localSessionsUpgradingEnabled": "true"}
REFUSED_SECONDS = 3


def outcome(action):
    try:
        return repr(action())
    except (KazooException, KazooTimeoutError) as failure:
        return type(failure).__name__


def story_of(kind):
    lines = []
    with Ensemble(kind, 3, CONFIG) as ensemble:
        ensemble.wait_for_roles()
        hosts = ",".join("127.0.0.1:%d" % member.port for member in ensemble)
        client = KazooClient(hosts, timeout=10, read_only=True)
        client.start()
        try:
            tell(lines, ensemble, client, hosts)
        finally:
            client.stop()
            client.close()
    return lines


def tell(lines, ensemble, client, hosts):
    def wait(state):
        poll(lambda: client.client_state == state, ROLES_SECONDS,
             lambda: "the client is %s, the servers are %s" % (client.client_state, ensemble.modes()))
        lines.append("the client is " + state)

    def step(what, action):
        lines.append("%s: %s" % (what, outcome(action)))

    wait(KeeperState.CONNECTED)
    step("create", lambda: client.create("/before", b"data"))
    left = ensemble.followers()[0]
    client.sync("/")
    with ensemble.client(left):
        pass                                    # it knows the znode
    victims = [member for member in ensemble if member is not left]
    for victim in victims:
        victim.kill()
    wait(KeeperState.CONNECTED_RO)
    lines.append("mode %s, isro %s" % (left.mode(), four_letter_word(left.port, "isro")))
    step("get", lambda: client.get("/before")[0])
    step("exists", lambda: client.exists("/none"))
    step("children", lambda: sorted(client.get_children("/")))
    step("create", lambda: client.create("/while", b""))
    step("set", lambda: client.set("/before", b"other"))
    step("delete", lambda: client.delete("/before"))
    step("sync", lambda: client.sync("/"))
    step("multi", lambda: client.transaction().commit())
    step("who does not want read-only", lambda: refused(hosts))
    for victim in victims:
        victim.launch()
    ensemble.wait_for_roles()
    wait(KeeperState.CONNECTED)
    lines.append("isro %s" % four_letter_word(left.port, "isro"))
    step("create", lambda: client.create("/after", b"data", ephemeral=True))
    step("set", lambda: client.set("/before", b"other").version)
    step("children", lambda: sorted(client.get_children("/")))


def refused(hosts):
    client = KazooClient(hosts)
    try:
        client.start(timeout=REFUSED_SECONDS)
    finally:
        client.stop()
        client.close()


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--verbose", action="store_true", help="tell the story")
    args = parser.parse_args()
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)   # lost connections are the point
    ours, theirs = story_of(zkd(args.zkd)), story_of(apache)
    for our, their in zip(ours, theirs):
        if our != their:
            print("zkd     %s\nApache  %s" % (our, their))
        elif args.verbose:
            print(our)
    print("%d steps of a client that may be read-only, %d differ" % (
        len(ours), sum(our != their for our, their in zip(ours, theirs))))
    return 1 if ours != theirs else 0


if __name__ == "__main__":
    sys.exit(main())
