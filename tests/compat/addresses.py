"""Do servers find each other when names change, or are not there yet?

    addresses.py --zkd target/release/zkd [--apache]

Linux, as root: the servers run where the test's own file lies on top of /etc/hosts, which itself is not touched. Three
servers know each other by names. At first the third has none; then it gets one, and joins; then it comes back elsewhere
under the same name, first as a follower and then as the leader that others look for. A server whose own name means no
address of this host says so and ends with code 14; with quorumListenOnAllIPs it runs. When all names are gone, another
leader is found all the same. Of several addresses those that work will do. Client ports may be named as well.
"""
import os
import subprocess
import sys
import tempfile

from ensemble import ROLES_SECONDS, Ensemble, Member, arguments, kind_of, poll

CONFIG = {"tickTime": "500", "cnxTimeout": "1000"}
NOWHERE = "::2"         # nobody's address, and no packet to it leaves the machine


class Hosts:
    """What names mean to the servers."""

    def __init__(self, directory):
        self.file = os.path.join(directory, "hosts")
        self.names = {}
        self.write()

    def __setitem__(self, name, address):
        self.names[name] = address
        self.write()

    def write(self):
        with open("/etc/hosts") as f:
            lines = [f.read()] + ["%s %s\n" % (address, name) for name, address in self.names.items()]
        with open(self.file, "w") as f:         # the same file: what lies on /etc/hosts is this one
            f.write("\n".join(lines))

    def forget(self):
        self.names.clear()
        self.write()

    def before(self, command):
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', self.file, *command]


def require_namespaces(hosts):
    done = subprocess.run(hosts.before(["true"]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, "this machine allows no mount namespaces: %s" % done.stdout.strip()


def known_by(hosts, kind):
    """Servers of a kind for whom names mean what `hosts` says."""
    def make(**kwargs):
        server = kind(**kwargs)
        command = server.command
        server.command = lambda config: hosts.before(command(config))
        return server
    return make


class NamedMember(Member):
    """A server that others know by a name."""

    def name(self):
        return "zk%d.test" % self.number

    def configure(self, members):
        super().configure(members)
        for other in members:
            self.server.extra["server.%d" % other.number] = "%s:%d:%d" % (other.name(), *other.ports)


class NamedEnsemble(Ensemble):
    member = NamedMember


def wait_until_ended(member):
    """Until it has given up its election port, and said why."""
    poll(lambda: member.server.process.poll() == 14, ROLES_SECONDS, "server %d runs" % member.number)
    assert "quorumListenOnAllIPs" in member.log_text() or member.server.name != "zkd", member.log_text()
    member.server.process = None


def names(kind, hosts):
    hosts["zk1.test"], hosts["zk2.test"] = "127.0.0.1", "127.0.0.2"
    with NamedEnsemble(known_by(hosts, kind), 3, CONFIG) as ensemble:
        third = ensemble[3]
        wait_until_ended(third)
        ensemble.wait_for_roles(among=ensemble.members[:2])
        for address in "127.0.0.3", "127.0.0.4", "127.0.0.5":
            hosts["zk3.test"] = address
            third.launch()
            ensemble.wait_for_roles()
            third.kill()

        # It leads where it is, and is found where it is then.
        third.launch()
        leader = ensemble.wait_for_roles()
        if leader is not third:
            leader.kill()
            assert ensemble.wait_for_roles() is third
            leader.launch()
            ensemble.wait_for_roles()
        third.kill()
        hosts["zk3.test"] = "127.0.0.6"
        third.launch()
        ensemble.wait_for_roles()


def all_addresses(kind, hosts):
    """As in containers: the name that others use is an address of something else, which forwards."""
    hosts["zk1.test"], hosts["zk2.test"], hosts["zk3.test"] = "127.0.0.1", "127.0.0.2", NOWHERE
    with NamedEnsemble(known_by(hosts, kind), 3, CONFIG) as ensemble:
        third = ensemble[3]
        wait_until_ended(third)
        ensemble.wait_for_roles(among=ensemble.members[:2])
        third.server.extra["quorumListenOnAllIPs"] = "true"
        third.launch()
        ensemble.wait_for_roles()


def forgotten(kind, hosts):
    """The name service is gone, and then the leader."""
    for number in 1, 2, 3:
        hosts["zk%d.test" % number] = "127.0.0.%d" % number
    with NamedEnsemble(known_by(hosts, kind), 3, {**CONFIG, "quorumListenOnAllIPs": "true"}) as ensemble:
        leader = ensemble.wait_for_roles()
        hosts.forget()
        leader.kill()
        ensemble.wait_for_roles()


class ManyMember(Member):
    """A server with two addresses, of which only the second one works."""

    def configure(self, members):
        super().configure(members)
        for other in members:
            self.server.extra["server.%d" % other.number] = "[%s]:%d:%d|%s:%d:%d" % (
                NOWHERE, *other.ports, self.host, *other.ports)
        # Apache wants this as a property: that zoo.cfg has it is not enough (EN-36).
        self.server.extra["zookeeper.multiAddress.enabled"] = "true"


class ManyEnsemble(Ensemble):
    member = ManyMember


def several(kind, _):
    with ManyEnsemble(kind, 3, CONFIG) as ensemble:
        leader = ensemble.wait_for_roles()
        leader.kill()
        ensemble.wait_for_roles()
        leader.launch()
        ensemble.wait_for_roles()


def client_port(kind, hosts):
    hosts["clients.test"] = "127.0.0.7"
    with NamedEnsemble(known_by(hosts, kind), 1, {**CONFIG, "clientPortAddress": "clients.test"}) as ensemble:
        alone = ensemble[1]
        alone.host = "127.0.0.7"
        poll(lambda: alone.mode() == "standalone", ROLES_SECONDS, alone.log_text)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--only", help="a part")
    args = parser.parse_args()
    kind = kind_of(args)
    with tempfile.TemporaryDirectory(prefix="zk-test-") as directory:
        hosts = Hosts(directory)
        require_namespaces(hosts)
        for part in names, all_addresses, forgotten, several, client_port:
            if args.only in (None, part.__name__):
                part(kind, hosts)
    print("names are resolved anew, and kept when they are gone; own addresses are checked, several are tried")
    return 0


if __name__ == "__main__":
    sys.exit(main())
