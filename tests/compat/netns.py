"""Servers in network namespaces of their own, and a network between them that can be cut. Linux, as root.

Every server has one link, to a router, which is a namespace as well: it forwards packets between servers, or silently
drops them. Clients are in the router, whom nothing cuts off. So a test that wants this runs itself again inside the
router, and what it starts there ends there.
"""
import os
import subprocess
import sys

from ensemble import Ensemble, Member

INSIDE = "ZKD_TEST_ROUTER"
PREFERENCE = "100"


def inside():
    """Whether this process runs in a router."""
    return INSIDE in os.environ


def ip(*words, check=True):
    return subprocess.run(["ip", *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=check).stdout


def run_inside(size):
    """Runs this script again inside a router with links to `size` servers. Answers its exit code."""
    name = "zkd%d" % os.getpid()
    spaces = [name + "r"] + ["%ss%d" % (name, number) for number in range(1, size + 1)]
    try:
        for space in spaces:
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        for number, space in enumerate(spaces[1:], 1):
            ip("-n", spaces[0], "link", "add", "s%d" % number, "type", "veth", "peer", "name", "net", "netns", space)
            ip("-n", spaces[0], "address", "add", "10.77.%d.1/24" % number, "dev", "s%d" % number)
            ip("-n", spaces[0], "link", "set", "s%d" % number, "up")
            ip("-n", space, "address", "add", address(number) + "/24", "dev", "net")
            ip("-n", space, "link", "set", "net", "up")
            ip("-n", space, "route", "add", "default", "via", "10.77.%d.1" % number)
        ip("netns", "exec", spaces[0], "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        return subprocess.run(["ip", "netns", "exec", spaces[0], sys.executable, *sys.argv],
                              env={**os.environ, INSIDE: name}, check=False).returncode
    except (OSError, subprocess.CalledProcessError) as failure:
        print("this machine allows no network namespaces: %s %s" % (
            failure, (getattr(failure, "output", "") or "").strip()))
        return 1
    finally:
        remove(spaces)


def remove(spaces):
    for space in spaces:
        ip("netns", "del", space, check=False)


def address(number):
    return "10.77.%d.2" % number


class Network:
    """The router's rules: who does not reach whom."""

    def __init__(self):
        self.rules = []

    def mute(self, speakers, listener):
        """What these say does not arrive there; the other direction is left as it is."""
        for speaker in speakers:
            rule = ["from", speaker.host, "to", listener.host, "blackhole", "priority", PREFERENCE]
            if rule not in self.rules:
                ip("rule", "add", *rule)
                self.rules.append(rule)

    def cut(self, member, others):
        """Neither direction."""
        self.mute(others, member)
        for other in others:
            self.mute([member], other)

    def heal(self):
        while self.rules:
            ip("rule", "del", *self.rules.pop())


class RemoteMember(Member):
    """A server in its namespace."""

    @property
    def host(self):
        return address(self.number)

    def launch(self):
        command = self.server.command
        self.server.command = lambda config: ["ip", "netns", "exec", "%ss%d" % (os.environ[INSIDE], self.number),
                                              *command(config)]
        try:
            super().launch()
        finally:
            self.server.command = command


class PartitionedEnsemble(Ensemble):
    """An ensemble whose network can be cut."""
    member = RemoteMember

    def __init__(self, *args):
        self.network = Network()
        super().__init__(*args)
