"""Does the server answer the recorded client exchanges byte for byte?

    vectors.py --zkd target/release/zkd        every exchange of a 3.9.3 server, against zkd
    vectors.py --apache                        those of 3.8.0, against Apache 3.8.0: is the replayer sound?
"""
import argparse
import os
import subprocess
import sys

import servers

HERE = os.path.dirname(os.path.abspath(__file__))
REPLAY = os.path.join(HERE, "..", "vectors", "client", "replay.py")
EXTENDED = {"extendedTypesEnabled": "true", "enforceQuota": "true", "reconfigEnabled": "true",
            "DigestAuthenticationProvider.superDigest": "super:g9oN2HttPfn8MMWJZ2r45Np/LIA="}


def replay(make, expect):
    """Runs the vectors for one server; (passed, output)."""
    with make() as default, make(extra=EXTENDED) as extended:
        done = subprocess.run([sys.executable, REPLAY, "--default", "127.0.0.1:%d" % default.port, "--ext",
                               "127.0.0.1:%d" % extended.port, "--expect", expect, "-q"],
                              capture_output=True, text=True, timeout=300)
        return done.returncode == 0, done.stdout + done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd")
    parser.add_argument("--apache", action="store_true")
    args = parser.parse_args()
    passed, output = replay(servers.Apache380, "3.8.0") if args.apache else replay(
        lambda **kwargs: servers.Zkd(args.zkd, **kwargs), "3.9.3")
    print(output, end="")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
