"""Does the server answer the recorded client exchanges byte for byte?

    vectors.py --zkd target/release/zkd        every exchange of a 3.9.3 server, against zkd
    vectors.py --apache                        those of 3.8.0, against Apache 3.8.0: is the replayer sound?

Against a server alone, one with the extended types, one of three that is read-only because the others do not run, and
an ensemble of three.
"""
import argparse
import contextlib
import os
import subprocess
import sys

from ensemble import Ensemble, apache, poll, zkd

HERE = os.path.dirname(os.path.abspath(__file__))
REPLAY = os.path.join(HERE, "..", "vectors", "client", "replay.py")
SUPER = {"reconfigEnabled": "true", "DigestAuthenticationProvider.superDigest": "super:g9oN2HttPfn8MMWJZ2r45Np/LIA="}
EXTENDED = {"extendedTypesEnabled": "true", "enforceQuota": "true", **SUPER}
READ_ONLY = {"readonlymode.enabled": "true", "localSessionsEnabled": "true", "tickTime": "2000"}
REPLAY_SECONDS = 300


@contextlib.contextmanager
def one_of_three(kind):
    """The first of three servers, read-only: there is nobody else."""
    ensemble = Ensemble(kind, 3, READ_ONLY)
    first = ensemble[1]
    try:
        first.launch()
        poll(lambda: first.mode() == "read-only", 60, lambda: "server 1 is not read-only:\n" + first.log_text()[-4000:])
        yield first
    finally:
        ensemble.stop()
        ensemble.clean()


def endpoints(*servers):
    return ",".join("127.0.0.1:%d" % server.port for server in servers)


def replay(expect, *args):
    """Whether all that was replayed was right."""
    done = subprocess.run([sys.executable, REPLAY, "--expect", expect, "-q", *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=REPLAY_SECONDS)
    print(done.stdout, end="", flush=True)
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd")
    parser.add_argument("--apache", action="store_true")
    args = parser.parse_args()
    kind, expect = (apache, "3.8.0") if args.apache else (zkd(args.zkd), "3.9.3")
    with kind() as default, kind(extra=EXTENDED) as extended, one_of_three(kind) as read_only:
        passed = [replay(expect, "--default", endpoints(default), "--ext", endpoints(extended),
                         "--ro", endpoints(read_only))]
    with Ensemble(kind, 3, SUPER) as ensemble:
        ensemble.wait_for_roles()
        passed.append(replay(expect, "--ens", endpoints(*ensemble), "--only", "ens-"))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
