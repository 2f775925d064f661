"""Do servers write down who the members are as Apache's do, and are they where the members say?

    members.py --zkd target/release/zkd [--apache]

What is in the configuration's directory is compared with what Apache 3.8.0 leaves there: after a first start with a
configuration that names the members, after a reconfiguration, and after a restart. Then ports move at run time: the
client port under a connected client, the election and quorum ports, the leader's too; with an Apache server among them as
well. And one server with standaloneEnabled=false grows to three.
"""
import os
import re
import sys

from ensemble import ROLES_SECONDS, Ensemble, Member, apache, arguments, kind_of, lasting_port, poll
from wire import Client

CONFIG = {"tickTime": "500", "reconfigEnabled": "true", "skipACL": "yes"}
FIRST = "100000000"


def moving(kind):
    """Servers whose configuration stays as they leave it; of one kind, or a list with one for each."""
    if isinstance(kind, list):
        return [moving(one) for one in kind]

    def make(**kwargs):
        server = kind(**kwargs)
        server.keeps_config = True
        return server
    return make


class LineMember(Member):
    """A server whose client port stands in its line among the members."""

    def line(self):
        return "%s:%d:%d:%s;%s:%d" % (self.host, *self.ports, "observer" if self.observes else "participant", self.host,
                                      self.port)

    def configure(self, members):
        super().configure(members)
        self.server.extra.update({"server.%d" % other.number: other.line() for other in members})


class LineEnsemble(Ensemble):
    member = LineMember

    def __getitem__(self, number):
        return next(member for member in self.members if member.number == number)

    def wait_for_version(self, version, among=None):
        """Until these servers have written down that these members are in force."""
        for member in among or self.members:
            name = os.path.join(member.server.work, "zoo.cfg.dynamic." + version)
            poll(lambda: os.path.exists(name) and pointer(member) == name, ROLES_SECONDS,
                 lambda: "server %d has no %s: %s" % (member.number, name, files(member)))


def pointer(member):
    with open(os.path.join(member.server.work, "zoo.cfg")) as f:
        found = re.search("^dynamicConfigFile=(.*)$", f.read(), re.M)
        return found and found[1]


def files(member):
    """What is in a configuration's directory: texts, without what differs from run to run. Of zoo.cfg the order of lines
    is nobody's promise."""
    found = {}
    for name in sorted(os.listdir(member.server.work)):
        if not name.startswith("zoo.cfg"):
            continue
        with open(os.path.join(member.server.work, name)) as f:
            text = f.read().replace(member.server.work, "DIR")
        found[name] = sorted(text.splitlines(True)) if name == "zoo.cfg" else text
    return found


def named_ports(ensemble, found):
    names = {}
    for member in ensemble:
        names[str(member.port)] = "CLIENT%d" % member.number
        names.update(zip(map(str, member.ports), ("QUORUM%d" % member.number, "ELECTION%d" % member.number)))

    def name(text):
        return re.sub(r"\d{5}", lambda port: names.get(port[0], port[0]), text)

    return {number: {file: [name(line) for line in text] if file == "zoo.cfg" else name(text)
                     for file, text in texts.items()} for number, texts in found.items()}


def written(kind, ensemble_class, goes_on):
    """The files of all three after each step, by step, server and name. It `goes_on` behind the first start, or not."""
    steps = {}
    with ensemble_class(moving(kind), 3, CONFIG) as ensemble:
        def note(step):
            steps[step] = named_ports(ensemble, {member.number: files(member) for member in ensemble})

        ensemble.wait_for_roles()
        LineEnsemble.wait_for_version(ensemble, FIRST)
        note("first start")
        if not goes_on:
            return steps
        with ensemble[1].connect() as client:
            client.reconfig(joining="server.4=127.0.0.1:1:2:observer;127.0.0.1:3")
            client.end()
        LineEnsemble.wait_for_version(ensemble, "100000002")
        note("reconfiguration")
        ensemble.stop()
        for member in ensemble:
            member.launch()
        ensemble.wait_for_roles()
        note("restart")
        ensemble.assert_no_errors()
    return steps


def compare_files(kind):
    for ensemble_class in LineEnsemble, Ensemble:
        goes_on = ensemble_class is LineEnsemble
        ours, theirs = written(kind, ensemble_class, goes_on), written(apache, ensemble_class, goes_on)
        for step, by_server in theirs.items():
            for number, texts in by_server.items():
                assert ours[step][number] == texts, "%s, server %d: Apache wrote\n%s\nand zkd\n%s" % (
                    step, number, texts, ours[step][number])


def refuses(member, port):
    try:
        Client(port, host=member.host, seconds=3).close()
    except (OSError, EOFError):
        return True
    return False


def move_ports(kind):
    with LineEnsemble(moving(kind), 3, CONFIG) as ensemble:
        leader = ensemble.wait_for_roles()
        ensemble.wait_for_version(FIRST)
        follower, other = [member for member in ensemble if member is not leader]

        # The client port: whoever is connected stays, others find the new one.
        staying, old = follower.connect(), follower.port
        follower.server.port = lasting_port()
        writer = leader.connect()
        writer.reconfig(joining="server.%d=%s" % (follower.number, follower.line()))
        newcomer = ensemble.client(follower)
        staying.create("/old-connection")
        newcomer.sync()
        assert "old-connection" in newcomer.children("/")
        poll(lambda: refuses(follower, old), ROLES_SECONDS, "port %d is still open" % old)
        assert "clientPort=%d\n" % follower.port in follower.word("conf"), follower.word("conf")

        # Its other ports, and then those of the leader, which somebody else takes over from.
        follower.ports = lasting_port(), lasting_port()
        writer.reconfig(joining="server.%d=%s" % (follower.number, follower.line()))
        ensemble.wait_for_roles()
        leader.ports = lasting_port(), lasting_port()
        try:
            other.connect().reconfig(joining="server.%d=%s" % (leader.number, leader.line()))
        except EOFError:
            pass        # the leader left before the answer was out
        assert ensemble.wait_for_roles() is not leader

        # All of them find each other again where they are now.
        for member in ensemble:
            member.kill()
        for member in ensemble:
            member.launch()
        ensemble.wait_for_roles()
        assert "old-connection" in ensemble.client(leader).children("/")
        ensemble.assert_no_errors()


def move_mixed(kind):
    move_ports([kind, apache, kind])


def grow(kind):
    """Server 2 alone, then with one that it calls back, as its number is smaller, and one that it does not."""
    settings = {**CONFIG, "initLimit": "10", "syncLimit": "5", "standaloneEnabled": "false"}
    ensemble = LineEnsemble([], extra=settings)
    first, *joiners = (LineMember(number, moving(kind), settings) for number in (2, 1, 3))
    ensemble.members.append(first)
    first.configure([first])
    with ensemble:
        ensemble.wait_for_roles()
        with first.connect() as client:
            client.create("/alone")
        for joiner in joiners:
            joiner.server.extra["peerType"] = "observer"
            joiner.observes = True
            joiner.configure([*ensemble, joiner])
            joiner.launch()
            ensemble.members.append(joiner)
            # Nobody else names it yet, so it has no vote, whatever it calls that.
            poll(lambda: joiner.mode() in ("observer", "follower"), ROLES_SECONDS, lambda: "it is %s" % joiner.mode())
            joiner.observes = False
            with first.connect() as client:
                members = client.reconfig(joining="server.%d=%s" % (joiner.number, joiner.line()))
            # Before the others know that it is in force, they need a quorum of the members before, too.
            ensemble.wait_for_version(re.search("version=(.*)", members)[1])
            poll(lambda: joiner.mode() == "follower", ROLES_SECONDS, lambda: "it is %s" % joiner.mode())
        first.kill()
        leader = ensemble.wait_for_roles(among=joiners)
        assert "alone" in ensemble.client(leader).children("/")
        ensemble.assert_no_errors()


def main():
    parser = arguments(__doc__)
    parser.add_argument("--only", help="files, ports, mixed or growth")
    args = parser.parse_args()
    kind = kind_of(args)
    for name, check in ("files", compare_files), ("ports", move_ports), ("mixed", move_mixed), ("growth", grow):
        if args.only in (None, name):
            check(kind)
    print("files are Apache's, ports follow the members, one server grows to three")
    return 0


if __name__ == "__main__":
    sys.exit(main())
