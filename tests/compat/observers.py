"""Do observers serve, and follow whoever leads, without a vote?

    observers.py --zkd target/release/zkd [--apache]

Three participants and an observer (peerType=observer): reads, writes that the observer forwards, watches, a leader that
dies under a client of the observer, and no quorum of one participant and one observer. Then leaderServes=no: clients
are at the followers only. Then an observer that not all of the others name: its line comes to one server after the other.
"""
import struct
import sys

from ensemble import ROLES_SECONDS, Ensemble, arguments, kind_of, poll
from wire import Client, Refused, w

CONFIG = {"tickTime": "500"}
TIMEOUT_MS = 10000
NODE_DATA_CHANGED = 3


def event_of(client):
    """(type, path) of the next frame, which has to be a notification."""
    frame = client.conn.frame()
    assert frame[:4] == b"\xff\xff\xff\xff", frame.hex()
    kind, _ = struct.unpack(">ii", frame[16:24])
    return kind, w.Decoder(frame[24:]).string()


def set_watch(client, path):
    client.call("getData", w.ustr(path) + w.boolean(True))


def come_back(member, client):
    """The same session on a new connection, as soon as the server serves."""
    def attempt():
        try:
            return Client(member.port, session=client.session, password=client.password, zxid=client.zxid,
                          xid=client.xid)
        except (OSError, EOFError, struct.error):
            return None

    client.close()
    return poll(attempt, ROLES_SECONDS, "server %d does not take its client back" % member.number)


def observe(kind):
    with Ensemble(kind, 4, CONFIG, observers=1) as ensemble:
        leader = ensemble.wait_for_roles()
        observer = ensemble[4]
        assert observer.mode() == "observer" and leader is not observer
        client, writer = observer.connect(timeout_ms=TIMEOUT_MS), leader.connect()
        client.create("/through-the-observer", b"1")
        writer.sync()
        assert writer.get("/through-the-observer")[0] == b"1"
        client.create("/ephemeral", flags=1)

        set_watch(client, "/through-the-observer")
        writer.set("/through-the-observer", b"2")
        assert event_of(client) == (NODE_DATA_CHANGED, "/through-the-observer")
        assert client.get("/through-the-observer")[0] == b"2"
        assert client.multi([("check", w.ustr("/through-the-observer") + w.i32(7))]) == [-103]
        assert refusal(lambda: client.create("/ephemeral")) == -110

        leader.kill()
        ensemble.wait_for_roles()
        client = come_back(observer, client)
        owner = client.get("/ephemeral")[1]["ephemeralOwner"]
        assert owner == client.session, "%#x has become %#x" % (client.session, owner)
        client.set("/through-the-observer", b"3")
        leader.launch()
        ensemble.wait_for_roles()
        client.sync()
        assert ensemble.assert_same()["/through-the-observer"][0] == b"3"

        client = come_back(observer, client)
        client.end()
        with ensemble.client(leader) as other:
            assert "ephemeral" not in other.children("/")
        without_quorum(ensemble, observer)
        ensemble.assert_no_errors()


def refusal(action):
    try:
        action()
    except Refused as refused:
        return refused.code
    return 0


def without_quorum(ensemble, observer):
    """One participant of three and an observer are two servers, and no quorum."""
    victims = [member for member in ensemble if not member.observes][:2]
    for victim in victims:
        victim.kill()
    left = [member for member in ensemble if member not in victims]
    poll(lambda: all(member.mode() == "looking" for member in left), ROLES_SECONDS,
         lambda: "somebody serves: %s" % ensemble.modes())
    ensemble.assert_no_service(left)
    for victim in victims:
        victim.launch()
    ensemble.wait_for_roles()
    assert observer.mode() == "observer"


def leader_does_not_serve(kind):
    with Ensemble(kind, 3, {**CONFIG, "leaderServes": "no"}) as ensemble:
        leader = wait_for_followers(ensemble)
        for round_number in range(2):
            followers = [member for member in ensemble if member is not leader]
            assert not serves(leader), "server %d serves" % leader.number
            clients = [member.connect() for member in followers]
            clients[0].create("/round-%d" % round_number)
            clients[1].sync()
            assert "round-%d" % round_number in clients[1].children("/")
            for client in clients:
                client.end()
            if round_number == 0:
                leader.kill()
                leader.launch()
                leader = wait_for_followers(ensemble)
        ensemble.assert_no_errors()


def some_name_it(kind):
    ensemble = Ensemble(kind, 4, CONFIG, observers=1)
    for member in ensemble.members[:2]:
        del member.server.extra["server.4"]
    with ensemble:
        led = set()
        for name in ("/one", "/other"):
            leader = ensemble.wait_for_roles()
            led.add(leader.number)
            for member in ensemble:
                with ensemble.client(member) as client:
                    client.create("%s-%d" % (name, member.number))
            for member in ensemble:
                with ensemble.client(member) as client:
                    assert sum(child.startswith(name[1:]) for child in client.children("/")) == 4
            leader.kill()
            ensemble.wait_for_roles([member for member in ensemble if member.runs])
            leader.launch()
        ensemble.wait_for_roles()
        assert 3 in led and len(led) == 2, "not led by one that names the observer and one that does not: %s" % sorted(led)
        ensemble.assert_no_errors()


def wait_for_followers(ensemble):
    """Until all but one follow; answers that one, which does not say what it is."""
    poll(lambda: len(ensemble.followers()) == len(ensemble.members) - 1, ROLES_SECONDS,
         lambda: "the roles are %s" % ensemble.modes())
    return next(member for member in ensemble if member.mode() != "follower")


def serves(member):
    try:
        member.connect(seconds=3).close()
    except (OSError, EOFError):
        return False
    return True


def main():
    args = arguments(__doc__).parse_args()
    kind = kind_of(args)
    observe(kind)
    leader_does_not_serve(kind)
    some_name_it(kind)
    print("an observer reads, forwards, watches and follows, and has no vote, also where not all name it; "
          "leaderServes=no is obeyed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
