"""How long nobody gets a write acknowledged when the leader goes: tests/compat/failover.py, with all kinds in turn."""

import contextlib
import signal

from . import servers  # noqa: F401  (lets the tests' modules be found)
import ensemble
import failover


def measure(bench, rows):
    # The servers of the tests take their ports from here.
    ensemble.PORTS = bench.options.ports
    how = {"leader-killed": signal.SIGKILL, "leader-stopped": signal.SIGTERM}
    with contextlib.ExitStack() as stack:
        contenders = {kind: failover.Contender(kind_of(bench, kind)) for kind in bench.contenders}
        for one in contenders.values():
            stack.enter_context(one.ensemble)
            stack.callback(one.stop)
            one.set_up()
        for row in rows:
            for number in range(1, bench.options.failovers + 1):
                for kind, one in contenders.items():
                    one.round(how[row.name])
                    bench.keep(row, kind, number, {"gap_ms": one.times[how[row.name]][-1]})


def kind_of(bench, kind):
    return ensemble.zkd(bench.options.zkd) if kind == "zkd" else servers.APACHE[kind.split()[1]]
