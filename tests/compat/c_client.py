"""Does a C program on libzookeeper_mt see the same on zkd as on Apache ZooKeeper 3.8.0?

    c_client.py --zkd target/release/zkd [-v]

Compiles c_client/client.c, runs it against a fresh server of either kind, and requires exit status 0 and equal transcripts.
"""
import argparse
import difflib
import os
import subprocess
import sys
import tempfile
import time

import servers

HERE = os.path.dirname(os.path.abspath(__file__))
RUN_SECONDS = 90
# TTLs are off by default; a container must not be collected while it is looked at.
EXTRA = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "86400000"}


def transcript(server, command):
    """The lines that `command HOST:PORT` prints against a fresh server, or None if it did not end well."""
    with server:
        started = time.monotonic()
        try:
            done = subprocess.run(command + ["127.0.0.1:%d" % server.port], stdin=subprocess.DEVNULL, timeout=RUN_SECONDS,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            end, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            end, out, err = "no end in %d s" % RUN_SECONDS, (late.stdout or b"").decode(), (late.stderr or b"").decode()
        print("%s: exit status %s, %d lines, %.1f s" % (server.name, end, out.count("\n"), time.monotonic() - started))
        if end != 0 or "MISSING" in out or not out:
            print(out[-4000:] + err[-4000:])
            return None
        return out.splitlines()


def compare(command, doc):
    """Parses the runner's arguments; 0 if both servers gave the same transcript. `command` is the client's."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True, help="the server's binary")
    parser.add_argument("-v", action="store_true", help="print Apache's transcript")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zk-client-") as work:
        run = command(work)
        apache = transcript(servers.Apache380(extra=EXTRA), run)
        zkd = transcript(servers.Zkd(args.zkd, extra=EXTRA), run)
    if args.v and apache:
        print("\n".join(apache))
    if apache is None or zkd is None:
        return 1
    difference = list(difflib.unified_diff(apache, zkd, "apache-3.8.0", "zkd", lineterm="", n=2))
    print("\n".join(difference) if difference else "%d lines, the same on both" % len(apache))
    return 1 if difference else 0


def compiled(work):
    program = os.path.join(work, "client")
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-DTHREADED", "-o", program,
                    os.path.join(HERE, "c_client", "client.c"), "-lzookeeper_mt", "-lpthread"], check=True)
    return [program]


if __name__ == "__main__":
    sys.exit(compare(compiled, __doc__))
