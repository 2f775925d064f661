"""Faults on the servers of an ensemble under load, for every kind of ensemble and of load.

Each takes the ensemble, the load (load.py) and the chance. When it ends, everybody runs, and has found its role or will.
"""
from operator import methodcaller

from ensemble import poll


def a_learner(ensemble, chance):
    leader = ensemble.wait_for_roles()
    return chance.choice([member for member in ensemble if member is not leader])


def restart(victim, load, end):
    """The others go on meanwhile."""
    end(victim)
    load.progress()
    victim.launch()


def kill_leader(ensemble, load, chance):
    """The leader dies; the others go on."""
    restart(ensemble.wait_for_roles(), load, methodcaller("kill"))


def stop_leader(ensemble, load, chance):
    """The leader is told to stop; the others go on."""
    restart(ensemble.wait_for_roles(), load, methodcaller("stop"))


def kill_learner(ensemble, load, chance):
    """A learner dies; the others go on."""
    restart(a_learner(ensemble, chance), load, methodcaller("kill"))


def stop_learner(ensemble, load, chance):
    """A learner is told to stop; the others go on."""
    restart(a_learner(ensemble, chance), load, methodcaller("stop"))


def pause_leader(ensemble, load, chance):
    """The leader stands still until another one is elected, and finds out when it goes on."""
    old = ensemble.wait_for_roles()
    old.pause()
    ensemble.wait_for_roles()
    load.progress()
    old.resume()


def kill_all(ensemble, load, chance):
    """Everybody dies."""
    for victim in chance.sample(ensemble.members, len(ensemble.members)):
        victim.kill()
    for victim in chance.sample(ensemble.members, len(ensemble.members)):
        victim.launch()


def leave_a_tail(ensemble, chance, send, is_logged):
    """The leader logs what nobody else gets, and dies; the others have elected one of them. It is to be launched again.

    `send(client, name)` asks for a write without waiting for the answer, `is_logged(leader, part)` tells whether such a name
    is in the leader's log. Answers the old leader and the part that all names have.
    """
    leader = ensemble.wait_for_roles()
    others = [member for member in ensemble if member is not leader]
    client = leader.connect()
    for other in others:
        other.pause()
    part = "tail-%d" % chance.randrange(1 << 30)
    for number in range(chance.randrange(1, 20)):
        send(client, "%s-%d" % (part, number))
    poll(lambda: is_logged(leader, part.encode()), 10, "the leader has not logged what nobody else can")
    leader.kill()
    for other in others:
        other.kill()                            # they have not even read it
    client.close()
    for other in others:
        other.launch()
    ensemble.wait_for_roles(others)
    return leader, part
