"""Does one server grow to three and five and shrink again, live, under load, of whatever kinds the servers are?

    growth.py --zkd target/release/zkd [--kinds zkd] [--kinds z,z,a38,z,a39*] [--rounds 1] [--seed 1] [--logs DIR]

Of five kinds (z is zkd, a38 and a39 are Apache 3.8.0 and 3.9) the first one starts alone, with standaloneEnabled=false. By
reconfigurations two more join; one becomes an observer, elsewhere for its clients, and a participant again; by a list of new
members they are five; the leader and another one leave; and at the end only the one with the star is left, or the first. A
further round begins with that one, and the others come back with or without what they had. Clients make every kind of write
meanwhile (mixed_load.py). `zkd`, `mixed` and `apache` stand for one or several fives.

After each step every server that runs, and not only the members, must say the same members in `/zookeeper/config` and in
its files, and be what they make it. Those that have left have no vote. After each change of size everything must be as in
rest.py; no session may be lost, nor an acknowledged write. The table tells for how long nobody, and for how long any one
client, got no write acknowledged; with --kinds given again there is a column for each.
"""
import collections
import itertools
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time

import mixed_load
from ensemble import ROLES_SECONDS, apache, apache39, arguments, lasting_port, poll, zkd
from load import Load
from members import LineEnsemble, LineMember, moving, pointer
from rest import Examiner
from wire import Refused

CLIENTS = 4
CONFIG = {"tickTime": "500", "initLimit": "20", "syncLimit": "8", "maxSessionTimeout": "60000", "snapCount": "500",
          "commitLogCount": "500", "preAllocSize": "256", "extendedTypesEnabled": "true",
          "znode.container.checkIntervalMs": "1000", "standaloneEnabled": "false", "reconfigEnabled": "true",
          "skipACL": "yes"}
STEP_ACKS = 20                  # of each client, behind each step
# The new members are not synchronised yet; another reconfiguration is on its way.
NOT_YET = (-13, -14)
# A session whose answer was lost is over soon.
TIMEOUT_MS = 4000
LOST = (OSError, EOFError, struct.error)
FIVES = {"zkd": ["z,z,z,z,z"], "apache": ["a39,a39,a39,a39,a39"],
         "mixed": ["z,z,a38,z,a39", "a39,z,z,z,z", "a38,z,a39,z,z*"]}


class Newcomer(LineMember):
    """A server that is told who the members are when it comes."""

    def join(self, members, observes, forgets):
        """Starts beside these members, who do not know it yet, as what it takes itself for. It may remember them."""
        self.observes = observes
        extra = self.server.extra
        self.server.extra = {key: value for key, value in extra.items() if not key.startswith("server.")}
        for name in os.listdir(self.server.work):
            if name.startswith("zoo.cfg"):
                os.remove(os.path.join(self.server.work, name))
        if forgets:
            shutil.rmtree(os.path.join(self.server.data_dir, "version-2"), ignore_errors=True)
        self.server.extra["peerType"] = "observer" if observes else "participant"
        self.configure([*members, self])
        self.launch()


class GrowingEnsemble(LineEnsemble):
    """Of its members only the first one starts by itself."""

    def __init__(self, members):
        super().__init__([])
        self.members += members

    def launch(self):
        self.members[0].configure(self.members[:1])
        self.members[0].launch()


class Growth:
    """One ensemble, and what is known of it."""

    def __init__(self, args, kinds, five):
        self.args, self.five, self.chance = args, five, random.Random(args.seed)
        names = five.split(",")
        numbers = self.chance.sample(range(1, 6), 5)    # who calls whom is a matter of numbers
        everybody = [Newcomer(number, moving(kinds[name.rstrip("*")]), CONFIG)
                     for number, name in zip(numbers, names)]
        self.ensemble = GrowingEnsemble(everybody)
        self.members = everybody[:1]    # those in force
        self.last = next((member for member, name in zip(everybody, names) if "*" in name), everybody[0])
        # Its files do not name who has left: so it does not start.
        self.examiner = Examiner(self.ensemble, lambda member: member in self.members)
        self.rows = []                  # (title, milliseconds for all clients, for the worst one)
        self.leaders = collections.Counter()
        self.not_yet = collections.Counter()
        self.expired = 0                # sessions

    # ---- reconfigurations ----

    def lines(self):
        return ["server.%d=%s" % (member.number, member.line()) for member in sorted(self.members, key=lambda m: m.number)]

    def reconfigure(self, **change):
        """Asks, as often as it takes, until `self.members` are in force."""
        poll(lambda: self.in_force() or self.ask(change), ROLES_SECONDS,
             lambda: "%s is not in force; %s" % (change, self.ensemble.modes()))

    def ask(self, change):
        """Any server; the answer may be lost with the leader, and another one may be on its way."""
        member = self.chance.choice([member for member in self.ensemble if member.runs])
        try:
            with member.connect(timeout_ms=TIMEOUT_MS) as client:
                client.reconfig(**change)
                client.end()
        except Refused as refused:
            if refused.code not in NOT_YET:
                raise
            self.not_yet[refused.code] += 1
        except LOST:
            pass

    def in_force(self):
        """Whether one of them, having seen all that was committed, says so."""
        try:
            with self.members[0].connect(timeout_ms=TIMEOUT_MS) as client:
                client.sync()
                lines, _ = config_of(client)
                client.end()
        except (*LOST, Refused):
            return False
        return lines == self.lines()

    def join(self, *newcomers):
        self.members += newcomers
        for member in newcomers:
            member.observes = False
        self.reconfigure(joining=",".join("server.%d=%s" % (member.number, member.line()) for member in newcomers))

    def leave(self, *leaving):
        self.members = [member for member in self.members if member not in leaving]
        self.reconfigure(leaving=",".join(str(member.number) for member in leaving))

    def change(self, member, observes):
        member.observes = observes
        self.reconfigure(joining="server.%d=%s" % (member.number, member.line()))

    def replace(self, newcomers):
        """By the list of all members to be."""
        self.members += newcomers
        for member in newcomers:
            member.observes = False
        self.reconfigure(members=",".join(self.lines()))

    def start(self, *newcomers):
        """Nobody else names these, so they have no vote. Beside three, one may take itself for a participant."""
        for member in newcomers:
            observes = len(self.members) < 3 or self.chance.random() < 0.5
            member.join(self.members, observes, forgets=self.chance.random() < 0.5)

    # ---- what must be true behind each step ----

    def settle(self):
        """Until every server that runs says who the members are, and is what they make it."""
        here = [member for member in self.ensemble if member.runs]
        voters = [member for member in self.members if not member.observes]
        goal, wrong = self.lines(), []

        def settled():
            wrong[:] = []
            for member in here:
                member.assert_not_failed()
            modes = {member: member.mode() for member in here}
            wrong.extend("server %d is %s" % (member.number, mode) for member, mode in modes.items()
                         if mode not in self.may_be(member))
            if list(modes.values()).count("leader") != 1:
                wrong.append("who leads? %s" % self.ensemble.modes())
            return not wrong and self.says(here, goal, wrong)

        poll(settled, ROLES_SECONDS, lambda: "; ".join(wrong))
        for member in here:
            if member.server.name == "zkd" and member in self.members:      # who is none has no port in these files
                told = subprocess.run([self.args.zkd, "status", "--config", os.path.join(member.server.work, "zoo.cfg")],
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
                assert "port found: %d." % member.port in told and "Mode: " in told, told
        leader = self.ensemble.leader()
        counted = {name: int(value) for name, value in re.findall(r"^zk_(synced_\w+)\t(\d+)", leader.word("mntr"), re.M)}
        assert counted["synced_followers"] - counted["synced_non_voting_followers"] == len(voters) - 1, (counted, goal)
        return leader

    def may_be(self, member):
        if member not in self.members:
            return "follower", "observer"       # it has no vote, whatever it calls that
        return ("observer",) if member.observes else ("follower", "leader")

    def says(self, here, goal, wrong):
        versions = set()
        for member in here:
            try:
                with member.connect(timeout_ms=TIMEOUT_MS, seconds=5) as client:
                    lines, version = config_of(client)
                    client.end()
            except (*LOST, Refused) as failure:
                wrong.append("server %d: %s" % (member.number, failure))
                return False
            versions.add(version)
            file = os.path.join(member.server.work, "zoo.cfg.dynamic." + version)
            if lines != goal:
                wrong.append("server %d says %s" % (member.number, lines))
            elif pointer(member) != file or text_of(file).split() != goal:
                wrong.append("server %d points to %s: %s" % (member.number, pointer(member), text_of(file)))
        if len(versions) != 1:
            wrong.append("the versions are %s" % versions)
        return not wrong

    def have_no_vote(self, left):
        """Of those that are left all but the leader go: with all that have left it is no quorum."""
        leader = self.ensemble.leader()
        victims = [member for member in self.members if member is not leader]
        for victim in victims:
            victim.kill()
        self.ensemble.wait_for_no_service([leader, *left])
        self.ensemble.assert_no_service([leader, *left])
        for victim in victims:
            victim.launch()

    # ---- a round ----

    def step(self, title, load, act, *args):
        began = time.monotonic()
        act(*args)
        leader = self.settle()
        self.serve([member for member in self.ensemble if member.runs])
        load.progress(STEP_ACKS)
        ended = time.monotonic()
        expired, self.expired = self.expired, sum(mixer.expired for mixer in self.mixers)
        assert self.expired == expired, "%s: a session is lost" % title
        gaps = [gap(mixer.times, began, ended) for mixer in self.mixers]
        acks = sum(began <= at for mixer in self.mixers for at in mixer.times)
        everybody = gap(sorted(itertools.chain(*(mixer.times for mixer in self.mixers))), began, ended)
        for mixer in self.mixers:
            mixer.times.clear()
        self.leaders[leader.server.name] += 1
        self.rows.append((title, everybody, max(gaps)))
        print("%-44s %5.1f s, %5d acknowledged; none of anybody %5d ms, of one %5d ms; members %s, leader %d, %s" % (
            title, ended - began, acks, everybody, max(gaps),
            " ".join("%d%s" % (member.number, "o" if member.observes else "") for member in self.members),
            leader.number, leader.server.name), flush=True)

    def serve(self, members):
        """Where clients go to from now on."""
        for mixer in self.mixers:
            mixer.members = list(members)

    def stop(self, members):
        self.serve([member for member in self.ensemble if member.runs and member not in members])
        for member in members:
            member.stop()

    def round(self, number):
        second, third, *others = self.newcomers(number)
        with Load(self.mixers) as load:
            self.step("alone", load, lambda: None)
            if number % 2:
                self.step("two that have no vote", load, self.start, second, third)
                self.step("they are members", load, self.join, second, third)
            else:
                self.step("one that has no vote", load, self.start, second)
                self.step("it is a member", load, self.join, second)
                self.step("another one", load, self.start, third)
                self.step("it is a member, too", load, self.join, third)
            leader = self.ensemble.leader()
            who, moves = "the leader", leader
            if number % 2 == 0:
                who, moves = "a follower", self.chance.choice([member for member in self.members if member is not leader])
            moves.server.port = lasting_port()
            self.step("%s observes, its client port moves" % who, load, self.change, moves, True)
            self.step("it is a participant again", load, self.change, moves, False)
        self.examiner.rest(self.mixers)

        with Load(self.mixers) as load:
            self.step("two more", load, self.start, *others)
            self.step("five, by a list", load, self.replace, others)
        self.examiner.rest(self.mixers)

        with Load(self.mixers) as load:
            if self.ensemble.leader() is self.last:
                self.step("another one leads", load, self.another_leads)
            leader = self.ensemble.leader()
            other = self.chance.choice([member for member in self.members if member not in (leader, self.last)])
            self.step("three: the leader and another one leave", load, self.leave, leader, other)
            self.step("those that have left are no quorum", load, self.have_no_vote, (leader, other))
        self.examiner.rest(self.mixers)

        with Load(self.mixers) as load:
            self.step("those that have left stop", load, self.stop, [leader, other])
            if number % 2:
                left = self.ensemble.leader()
                if left is self.last:
                    left = next(member for member in self.members if member is not self.last)
                self.step("two", load, self.leave, left)
            self.step("one", load, self.leave, *[member for member in self.members if member is not self.last])
        self.examiner.rest(self.mixers)
        with Load(self.mixers) as load:
            self.step("it is left alone", load, self.stop,
                      [member for member in self.ensemble if member.runs and member is not self.last])
        self.examiner.restart(self.mixers)
        # The short ones may not outlast that.
        self.expired = sum(mixer.expired for mixer in self.mixers)

    def newcomers(self, number):
        """In the order in which they come; at first as they were named."""
        newcomers = [member for member in self.ensemble if member not in self.members]
        return newcomers if number == 0 else self.chance.sample(newcomers, len(newcomers))

    def another_leads(self):
        self.last.stop()
        self.ensemble.wait_for_roles()
        self.last.launch()

    def __call__(self):
        started = time.monotonic()
        with self.ensemble as ensemble:
            self.mixers = mixed_load.set_up(ensemble, ["c%d" % n for n in range(CLIENTS)], self.chance.random())
            self.serve(self.members)
            try:
                for number in range(self.args.rounds):
                    self.round(number)
            finally:
                if self.args.logs:
                    self.ensemble.keep(os.path.join(self.args.logs, self.five))
        print("%s: %d steps, leaders %s; %s; %d txns compared in the logs; asked again: %s; spoilt by themselves: %s; %.0f s" % (
            self.five, len(self.rows), dict(self.leaders), mixed_load.summary(self.mixers), self.examiner.compared,
            dict(self.not_yet) or "never", dict(self.examiner.renewed) or "none", time.monotonic() - started), flush=True)
        return self.rows


def config_of(client):
    """The members' lines and the version, as a server tells them: Apache's in any order."""
    *lines, version = client.get("/zookeeper/config")[0].decode().split()
    return sorted(lines), version.partition("version=")[2]


def text_of(file):
    try:
        with open(file) as f:
            return f.read()
    except OSError as failure:
        return str(failure)


def gap(times, began, ended):
    """The longest time between two of these moments, in milliseconds."""
    moments = [began, *(at for at in times if began <= at <= ended), ended]
    return 1000 * max(after - before for before, after in itertools.pairwise(moments))


def table(columns):
    """A row for each step, a column for each ensemble; of several rounds the worst."""
    worst = [{} for _ in columns]
    for found, (_, rows) in zip(worst, columns):
        for title, *gaps in rows:
            found[title] = tuple(map(max, found.get(title, gaps), gaps))
    titles = list(dict.fromkeys(title for _, rows in columns for title, _, _ in rows))
    width = max(map(len, titles))
    print("\nlongest time without an acknowledged write, of anybody / of one client (ms)")
    print("%-*s%s" % (width, "", "".join("%22s" % name for name, _ in columns)))
    for title in titles:
        print("%-*s%s" % (width, title, "".join(
            "%14.0f / %5.0f" % found[title] if title in found else "%22s" % "-" for found in worst)))


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--kinds", action="append", help="a five, or zkd, mixed or apache; may be given again")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", help="keep the servers' logs and data in this directory")
    args = parser.parse_args()
    kinds = {"z": zkd(args.zkd), "a38": apache, "a39": apache39}
    fives = [five for name in args.kinds or ["zkd"] for five in FIVES.get(name, [name])]
    for five in fives:
        if not re.fullmatch(r"(z|a38|a39)\*?(,(z|a38|a39)\*?){4}", five):
            parser.error("%s is not five of z, a38 and a39" % five)
    columns = [(five, Growth(args, kinds, five)()) for five in fives]
    table(columns)
    print("from one server to five and back, %s: nothing lost" % " and ".join(fives))
    return 0


if __name__ == "__main__":
    sys.exit(main())
