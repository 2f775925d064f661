"""Do zkd and Apache ZooKeeper make one ensemble, whatever breaks and whoever leads?

    mixed.py --zkd target/release/zkd --ensemble zkd,apache38,zkd [--observers apache39] [--seed 1] [--rounds 3 | --minutes 5]

Kinds are zkd, apache38 and apache39; servers are numbered in the order given, and of servers that know the same the one
with the highest number leads. Each round is load of all kinds of writes (mixed_load.py) with faults in it, in an order that
the seed gives; then all are back, and through every server the same tree, Stats, ACLs, ephemerals and sessions must be
seen, those that the clients' model has. The logs of all servers must have the same bytes under the same zxid, no server
may complain about a digest, zkd may log no error. An Apache server that has spoilt its database by a bug of its own is
told by its log, counted, and starts with nothing. At the end everybody is stopped and started, and it must be so again.
"""
import collections
import itertools
import random
import re
import sys
import time

import mixed_load
import txnlog
from ensemble import Ensemble, apache, apache39, arguments, zkd
from faults import (a_learner, kill_all, kill_leader, kill_learner, leave_a_tail, pause_leader, stop_leader,
                    stop_learner)
from load import Load
from mixed_load import ROOT
from rest import Examiner

CLIENTS = 4
CONFIG = {"tickTime": "500", "initLimit": "20", "syncLimit": "8", "maxSessionTimeout": "60000", "snapCount": "500",
          "commitLogCount": "500", "preAllocSize": "256", "extendedTypesEnabled": "true",
          "znode.container.checkIntervalMs": "1000"}
# More than the leader keeps in memory.
FAR_BEHIND_SETS = 700
HAND_OVERS_MAX = 5


# ---- faults, under load ----

def pause_learner(ensemble, load, chance):
    victim = a_learner(ensemble, chance)
    victim.pause()
    time.sleep(chance.uniform(0.1, 6))          # given up or not: the length of the pause is the point
    victim.resume()


def far_behind(ensemble, load, chance):
    """A learner has missed more than its leader has in memory."""
    leader = ensemble.wait_for_roles()
    victim = a_learner(ensemble, chance)
    victim.kill()
    with leader.connect() as client:
        for number in range(FAR_BEHIND_SETS):
            client.send("setData", mixed_load.set_body(ROOT, b"%d" % number * 100))
        for _ in range(FAR_BEHIND_SETS):
            client.receive()
        client.end()
    victim.launch()


def crash_again_and_again(ensemble, load, chance):
    victim = chance.choice(ensemble.members)
    for _ in range(4):
        victim.kill()
        load.progress(3)
        victim.launch()
        time.sleep(chance.uniform(0.1, 1.5))    # the random moment, in the midst of its synchronisation, is the point


def hand_over(ensemble, load, chance):
    """The leader is killed again and again, until one of another kind leads."""
    leader = ensemble.wait_for_roles()
    kind = leader.server.name
    for _ in range(HAND_OVERS_MAX):
        leader.kill()
        load.progress(3)
        leader.launch()
        leader = ensemble.wait_for_roles()
        if leader.server.name != kind:
            return


def nothing(ensemble, load, chance):
    """Load alone."""
    load.progress(40)


FAULTS = [kill_leader, far_behind, stop_leader, kill_learner, pause_leader, stop_learner, hand_over, crash_again_and_again,
          pause_learner, kill_all, nothing]


# ---- a fault at rest ----

def divergent_tail(ensemble, chance):
    """The leader logs what nobody else gets, and dies; the others elect one of them, and it comes back."""
    leader = ensemble.wait_for_roles()
    if chance.random() < 0.5:
        leader.kill()
        leader.launch()                         # mostly another one leads then
    send = lambda client, name: client.send("create", mixed_load.create_body("%s/%s" % (ROOT, name), b"",
                                                                             mixed_load.EVERYBODY))
    leader, _ = leave_a_tail(ensemble, chance, send, txnlog.has)
    leader.launch()
    ensemble.wait_for_roles()


# ---- how learners were synchronised ----

def syncs(ensemble):
    """{(leader's kind, learner's kind, DIFF or SNAP or TRUNC): how often}, as the leaders' logs tell it."""
    kinds = {member.number: member.server.name for member in ensemble}
    counts = collections.Counter()
    for member in ensemble:
        text = member.log_text()
        if member.server.name == "zkd":
            told = zkd_syncs(text)
        else:
            told = apache_syncs(text)
        counts.update((member.server.name, kinds.get(learner, "?"), how) for learner, how in told)
    return counts


def zkd_syncs(text):
    for learner, plan in re.findall(r"synchronising a learner.*?learner=\D*(\d+).*?plan=(\w+)", text):
        yield int(learner), {"Snap": "SNAP", "Trunc": "TRUNC"}.get(plan, "DIFF")


def apache_syncs(text):
    """A line tells who it is, a later one of the same thread what it gets."""
    learners = {}
    for thread, line in re.findall(r"\[(LearnerHandler-[^]]+)\] \w+ \S+ - (.*)", text):
        who = re.search(r"Synchronizing with (?:Follower|Learner) sid: (\d+)", line)
        what = re.search(r"Sending (DIFF|TRUNC|snapshot) ", line)
        if who:
            learners[thread] = int(who[1])
        elif what:
            yield learners.get(thread, 0), what[1].upper().replace("SNAPSHOT", "SNAP")


# ---- a run ----

class Run:
    def __init__(self, args, ensemble):
        self.args, self.ensemble = args, ensemble
        self.chance = random.Random(args.seed)
        self.leaders = collections.Counter()
        self.examiner = Examiner(ensemble)
        self.faults = 0

    def rounds(self, mixers):
        started, order = time.monotonic(), []
        for number in itertools.count():
            if self.args.minutes and time.monotonic() - started > 60 * self.args.minutes:
                return
            if not self.args.minutes and number >= self.args.rounds:
                return
            faults = []
            for _ in range(self.args.faults):
                if not order:
                    order = self.chance.sample(FAULTS, len(FAULTS))
                faults.append(order.pop())
            names = " ".join(fault.__name__ for fault in faults)
            began = time.monotonic()
            try:
                self.round(mixers, faults, number)
            except BaseException:
                print("round %d, seed %d: %s" % (number, self.args.seed, names), flush=True)
                raise
            if self.args.verbose:
                print("%3d %-60s %6d acknowledged %5.1f s" % (number, names, sum(mixer.acks for mixer in mixers),
                                                            time.monotonic() - began), flush=True)

    def round(self, mixers, faults, number):
        ensemble = self.ensemble
        with Load(mixers) as load:
            load.progress()
            for fault in faults:
                fault(ensemble, load, self.chance)
                load.progress(3)
                self.leaders[ensemble.wait_for_roles().server.name] += 1
            self.faults += len(faults)
        self.examiner.rest(mixers)
        if number % 2:
            divergent_tail(ensemble, self.chance)
            self.faults += 1
            self.leaders[ensemble.wait_for_roles().server.name] += 1
            self.examiner.rest(mixers)

    def __call__(self):
        started = time.monotonic()
        with self.ensemble as ensemble:
            mixers = mixed_load.set_up(ensemble, ["c%d" % n for n in range(CLIENTS)], self.chance.random())
            try:
                self.rounds(mixers)
                self.examiner.restart(mixers)
            finally:
                if self.args.logs:
                    ensemble.keep(self.args.logs)
            how = syncs(ensemble)
        for (leader, learner, plan), count in sorted(how.items()):
            print("%-12s synchronised %-12s with %-5s %4d times" % (leader, learner, plan, count))
        print("%s: %d faults, leaders %s; %s; %d txns compared in the logs, %d failed multis retold; spoilt by themselves: "
              "%s; %.0f s" % (
                  self.args.ensemble + (self.args.observers and " + " + self.args.observers), self.faults,
                  dict(self.leaders), mixed_load.summary(mixers), self.examiner.compared, self.examiner.retold,
                  dict(self.examiner.renewed) or "none", time.monotonic() - started))


def main():
    parser = arguments(__doc__, with_apache=False)
    parser.add_argument("--ensemble", action="append", required=True, help="kinds, with commas between; may be given again")
    parser.add_argument("--observers", default="", help="the same for observers, which get the highest numbers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--faults", type=int, default=2, help="of one round")
    parser.add_argument("--minutes", type=float, help="of each ensemble, instead of rounds")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    parser.add_argument("--logs", help="keep the servers' logs and data in this directory")
    args = parser.parse_args()
    kinds = {"zkd": zkd(args.zkd), "apache38": apache, "apache39": apache39}
    for names in args.ensemble:
        servers = names.split(",")
        observers = [name for name in args.observers.split(",") if name]
        if len(servers) < 3:
            parser.error("an ensemble of %d loses its quorum with each fault" % len(servers))
        args.ensemble = names
        Run(args, Ensemble([kinds[name] for name in servers + observers], extra=CONFIG, observers=len(observers)))()
    return 0


if __name__ == "__main__":
    sys.exit(main())
