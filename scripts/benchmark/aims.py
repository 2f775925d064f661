"""What zkd wants to reach, as values: a text for the table, and whether a row's medians reach it.

`found` is {kind: {figure's key: median}}; kinds are zkd, floor, and one or two of Apache.
"""

from dataclasses import dataclass
from typing import Callable


# The share of a row's rate that a server must reach.
KEPT_UP = 0.95


@dataclass(frozen=True)
class Aim:
    text: str
    # (found, key) -> True, False, or None when something that it compares with was not measured.
    met: Callable[[dict, str], bool | None]


def times_floor(times):
    return Aim(f"≤ {times:g}× floor", lambda found, key: at_most(of(found, "zkd", key), times, of(found, "floor", key)))


def of_apache(share):
    """`share` 12: at most a twelfth of the best Apache server's."""
    return Aim(f"≤ 1/{share:g} of Apache",
               lambda found, key: at_most(of(found, "zkd", key), 1 / share, least_apache(found, key)))


def below_apache():
    return Aim("below Apache's", lambda found, key: at_most(of(found, "zkd", key), 1, least_apache(found, key)))


def rate(apache, floor=None):
    """So many times Apache's throughput, or, where the disk is the limit, this share of the floor's."""
    def met(found, key):
        zkd = of(found, "zkd", key)
        of_floor = at_most(of(found, "floor", key), 1 / floor, zkd) if floor else None
        return any_of(at_most(most_apache(found, key), 1 / apache, zkd), of_floor)

    return Aim(f"≥ {apache:g}× Apache" + (f" or ≥ {floor:g}× floor" if floor else ""), met)


def most(value, unit):
    return Aim(f"≤ {value:g} {unit}", lambda found, key: at_most(of(found, "zkd", key), 1, value))


def floor_plus(us):
    return Aim(f"≤ floor + {us} µs", lambda found, key: at_most(of(found, "zkd", key), 1, plus(of(found, "floor", key), us)))


def flush_plus(us):
    """One flush of this disk, which the row's reports carry, and so much more."""
    return Aim(f"≤ one flush + {us} µs",
               lambda found, key: at_most(of(found, "zkd", key), 1, plus(of(found, "zkd", "flush_us"), us)))


def tail(times):
    """A high percentile: below so many medians, and below Apache's."""
    def met(found, key):
        zkd = of(found, "zkd", key)
        return all_of(at_most(zkd, times, of(found, "zkd", "p50_us")), at_most(zkd, 1, least_apache(found, key)))

    return Aim(f"< {times:g}× p50, below Apache's", met)


def both(one, other):
    return Aim(f"{one.text}, {other.text}", lambda found, key: all_of(one.met(found, key), other.met(found, key)))


def of(found, kind, key):
    return found.get(kind, {}).get(key)


def apaches(found, key):
    return [figures[key] for kind, figures in found.items() if kind.startswith("Apache") and key in figures]


def least_apache(found, key):
    """A server that did not keep up with the rate of a row only queued: its latency is nothing to compare with."""
    return min(apaches({kind: figures for kind, figures in found.items() if kept_up(figures)}, key), default=None)


def kept_up(figures):
    return figures.get("ops_per_second", 0) >= KEPT_UP * figures.get("rate", 0)


def most_apache(found, key):
    return max(apaches(found, key), default=None)


def plus(value, more):
    return None if value is None else value + more


def at_most(value, times, other):
    return None if value is None or other is None else value <= times * other


def all_of(*results):
    return False if False in results else None if None in results else True


def any_of(*results):
    return True if True in results else None if all(result is None for result in results) else False
