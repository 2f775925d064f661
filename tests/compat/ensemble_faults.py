"""Does an ensemble keep every acknowledged write, and heal, whatever happens to its servers?

    ensemble_faults.py --zkd target/release/zkd --rounds 30 --seed 1 [--only NAME] [--apache] [--size 5]
    ensemble_faults.py --zkd target/release/zkd --partitions --rounds 30 --seed 1

Each round is one fault under load, from the list below in turn: kill -9, pauses, restarts, learners that are far behind
or ahead with what nobody acknowledged. Then all servers are back, and every acknowledged write must be there, all
servers must show the same znodes with the same Stats, and the ephemerals of sessions that ended must be gone. With
--partitions each server lives in a network namespace of its own, and the network between them is cut instead.
"""
import collections
import os
import random
import re
import sys
import time
from operator import methodcaller

import ensemble_load
import netns
import txnlog
from ensemble import Ensemble, arguments, kind_of, poll
from faults import kill_all, kill_leader, kill_learner, leave_a_tail, pause_leader

WRITERS = 4
# Short ticks, so that a silent server is given up after 1.5 s; few txns in memory, so that learners soon need more.
CONFIG = {"tickTime": "300", "initLimit": "15", "syncLimit": "5", "commitLogCount": "100", "snapCount": "400",
          "preAllocSize": "256"}
BEHIND_ACKS = 200               # of each writer
FAR_BEHIND_SETS = 100           # of 100 kB: more than a leader sends of its log instead of so small a database
EPHEMERALS_SECONDS = 20


# ---- faults on servers ----

def without_majority(ensemble, chance, take, give_back):
    """More are away than may; whoever is left serves nobody."""
    ensemble.wait_for_roles()
    victims = chance.sample(ensemble.members, ensemble.quorum)
    for victim in victims:
        take(victim)
    ensemble.wait_for_no_service()
    for victim in victims:
        give_back(victim)


def kill_majority(ensemble, load, chance):
    """More die than may."""
    without_majority(ensemble, chance, methodcaller("kill"), methodcaller("launch"))


def pause_leader_briefly(ensemble, load, chance):
    """The leader stands still for less than it takes to be given up."""
    leader = ensemble.wait_for_roles()
    leader.pause()
    time.sleep(chance.uniform(0.05, 0.6))       # the length of the pause is the point
    leader.resume()


def pause_follower(ensemble, load, chance):
    """A follower stands still until the leader has given it up."""
    leader = ensemble.wait_for_roles()
    follower = chance.choice(ensemble.followers())
    follower.pause()
    load.progress()
    poll(lambda: number_of_followers(leader) < len(ensemble.members) - 1, 20, "the paused follower counts as synced")
    follower.resume()


def number_of_followers(leader):
    found = re.search(r"^zk_synced_followers\t(\d+)", leader.word("mntr"), re.M)
    return int(found[1]) if found else 0


def pause_majority(ensemble, load, chance):
    """Without a quorum that answers, nobody serves."""
    without_majority(ensemble, chance, methodcaller("pause"), methodcaller("resume"))


def rolling_restart(ensemble, load, chance):
    """Each server is stopped and started, one after the other."""
    for member in chance.sample(ensemble.members, len(ensemble.members)):
        member.stop()
        load.progress()
        member.launch()
        ensemble.wait_for_roles()


def behind(ensemble, load, chance):
    """A follower has missed more than is kept in memory: it gets it from the leader's log."""
    ensemble.wait_for_roles()
    victim = chance.choice(ensemble.followers())
    victim.kill()
    load.progress(BEHIND_ACKS)
    victim.launch()


def far_behind(ensemble, load, chance):
    """A follower has missed more than is worth sending: it gets the whole database."""
    leader = ensemble.wait_for_roles()
    victim = chance.choice(ensemble.followers())
    victim.kill()
    with leader.connect() as client:
        for _ in range(FAR_BEHIND_SETS):
            client.set(ensemble_load.ROOT, os.urandom(100_000))
        client.set(ensemble_load.ROOT, b"")
    seen = len(victim.log_text())
    victim.launch()
    ensemble.wait_for_roles()
    if victim.server.name == "zkd":
        assert "the leader's whole database has arrived" in victim.log_text()[seen:], victim.log_text()[seen:]


def lost_disk(ensemble, load, chance):
    """A follower comes back with nothing but its number."""
    ensemble.wait_for_roles()
    victim = chance.choice(ensemble.followers())
    victim.kill()
    victim.wipe()
    load.progress()
    victim.launch()


def crash_again_and_again(ensemble, load, chance):
    """A server dies while it is synchronised, several times."""
    ensemble.wait_for_roles()
    victim = chance.choice(ensemble.members)
    for _ in range(6):
        victim.kill()
        load.progress()
        victim.launch()
        time.sleep(chance.uniform(0.02, 0.3))   # the random moment is the point


def divergent_tail(ensemble, load, chance):
    """The old leader has txns in its log that nobody else has: they are forgotten when it is back."""
    send = lambda client, name: client.send("create", ensemble_load.create_body("%s/%s" % (ensemble_load.ROOT, name)))
    leader, name = leave_a_tail(ensemble, chance, send, txnlog.has)
    if chance.random() < 0.7:
        load.progress()
    leader.launch()
    ensemble.wait_for_roles()
    for member in ensemble:
        with ensemble.client(member) as client:
            found = [child for child in client.children(ensemble_load.ROOT) if name in child]
        assert not found, "server %d has kept what was never committed: %s" % (member.number, found)


SERVER_FAULTS = [kill_leader, kill_learner, pause_leader, divergent_tail, far_behind, kill_majority, rolling_restart,
                 pause_follower, kill_all, behind, pause_leader_briefly, crash_again_and_again, pause_majority, lost_disk]


# ---- faults on the network ----

def isolate_leader(ensemble, load, chance):
    """The leader is alone: it stops serving, another one is elected among the others."""
    leader = ensemble.wait_for_roles()
    others = [member for member in ensemble if member is not leader]
    ensemble.network.cut(leader, others)
    ensemble.wait_for_roles(others)
    ensemble.wait_for_no_service([leader])
    load.progress()
    ensemble.network.heal()


def isolate_follower(ensemble, load, chance):
    """A follower is alone: it stops serving, the others go on with their leader."""
    leader = ensemble.wait_for_roles()
    follower = chance.choice(ensemble.followers())
    others = [member for member in ensemble if member is not follower]
    ensemble.network.cut(follower, others)
    ensemble.wait_for_no_service([follower])
    load.progress()
    assert ensemble.wait_for_roles(others) is leader
    ensemble.network.heal()


def cut_one_link(ensemble, load, chance):
    """One follower and the leader cannot reach each other; all others can: the leader stays."""
    leader = ensemble.wait_for_roles()
    follower = chance.choice(ensemble.followers())
    ensemble.network.cut(follower, [leader])
    ensemble.wait_for_no_service([follower])
    load.progress()
    assert ensemble.leader() is leader
    ensemble.network.heal()


def cut_between_followers(ensemble, load, chance):
    """Two followers cannot reach each other: that disturbs nobody."""
    leader = ensemble.wait_for_roles()
    one, other = chance.sample(ensemble.followers(), 2)
    ensemble.network.cut(one, [other])
    load.progress()
    assert ensemble.wait_for_roles() is leader
    ensemble.network.heal()


def deaf_leader(ensemble, load, chance):
    """The leader can speak and hears nobody."""
    leader = ensemble.wait_for_roles()
    others = [member for member in ensemble if member is not leader]
    ensemble.network.mute(others, leader)
    ensemble.wait_for_roles(others)
    load.progress()
    ensemble.network.heal()


def mute_leader(ensemble, load, chance):
    """The leader hears and cannot speak."""
    leader = ensemble.wait_for_roles()
    others = [member for member in ensemble if member is not leader]
    for other in others:
        ensemble.network.mute([leader], other)
    ensemble.wait_for_roles(others)
    load.progress()
    ensemble.network.heal()


def cut_all(ensemble, load, chance):
    """Nobody reaches anybody."""
    ensemble.wait_for_roles()
    for member in ensemble:
        ensemble.network.cut(member, [other for other in ensemble if other.number > member.number])
    ensemble.wait_for_no_service()
    ensemble.network.heal()


def flap(ensemble, load, chance):
    """Links come and go."""
    for _ in range(12):
        one, other = chance.sample(ensemble.members, 2)
        if chance.random() < 0.5:
            ensemble.network.cut(one, [other])
        else:
            ensemble.network.mute([one], other)
        time.sleep(chance.uniform(0.05, 0.6))   # the random moments are the point
        if chance.random() < 0.4:
            ensemble.network.heal()
    ensemble.network.heal()


NETWORK_FAULTS = [isolate_leader, isolate_follower, cut_one_link, deaf_leader, mute_leader, cut_between_followers,
                  cut_all, flap]


# ---- rounds ----

def one_round(ensemble, writers, fault, chance):
    with ensemble_load.Load(writers) as load:
        load.progress()
        fault(ensemble, load, chance)
        load.progress()
        ensemble.wait_for_roles()
    rudely = chance.choice((0, 0.7))
    for writer in writers:
        writer.finish(politely=chance.random() >= rudely)
    leader = ensemble.wait_for_roles()
    with leader.connect() as client:
        poll(lambda: not ephemerals(client, writers), EPHEMERALS_SECONDS,
             lambda: "ephemerals have outlived their sessions: %s" % ephemerals(client, writers))
    tree = ensemble.assert_same()
    assert not any(stat["ephemeralOwner"] for _, stat, _ in tree.values())
    for writer in writers:
        writer.check(tree)
    ensemble.assert_no_errors()
    return len(tree)


def ephemerals(client, writers):
    return [child for writer in writers for child in client.children(writer.root) if child.startswith("e-")]


def plans(ensemble):
    """How learners were synchronised, as the leaders' logs tell it."""
    text = "".join(member.log_text() for member in ensemble)
    return collections.Counter(re.findall(r"plan=(\w+)", text))


def run(args, faults, ensemble):
    chance = random.Random(args.seed)
    started = time.monotonic()
    with ensemble:
        writers = ensemble_load.set_up(ensemble, ["w%d" % n for n in range(WRITERS)], chance.random())
        for number in range(args.rounds):
            fault, began = faults[number % len(faults)], time.monotonic()
            try:
                znodes = one_round(ensemble, writers, fault, chance)
            except BaseException:
                print("round %d, %s, seed %d" % (number, fault.__name__, args.seed))
                raise
            if args.verbose:
                print("%3d %-22s %6d znodes %8d acknowledged %5.1f s" % (
                    number, fault.__name__, znodes, sum(writer.acks for writer in writers),
                    time.monotonic() - began), flush=True)
        if args.logs:
            ensemble.keep(args.logs)
        words = ", ".join("%d %s" % (count, plan) for plan, count in sorted(plans(ensemble).items()))
    print("%d rounds, %d acknowledged writes, none lost, none made up; %d sessions on %d connections; learners: %s; %.0f s" % (
        args.rounds, sum(writer.acks for writer in writers), sum(writer.sessions for writer in writers),
        sum(writer.connections for writer in writers), words or "-", time.monotonic() - started))


def main():
    parser = arguments(__doc__)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=len(SERVER_FAULTS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="faults whose name has this in it")
    parser.add_argument("--partitions", action="store_true", help="cut the network instead; needs network namespaces")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    parser.add_argument("--logs", help="keep the servers' logs and data in this directory")
    args = parser.parse_args()
    faults = NETWORK_FAULTS if args.partitions else SERVER_FAULTS
    faults = [fault for fault in faults if not args.only or args.only in fault.__name__]
    kind = kind_of(args)
    if not args.partitions:
        run(args, faults, Ensemble(kind, args.size, CONFIG))
        return 0
    if not netns.inside():
        return netns.run_inside(args.size)
    run(args, faults, netns.PartitionedEnsemble(kind, args.size, CONFIG))
    return 0


if __name__ == "__main__":
    sys.exit(main())
