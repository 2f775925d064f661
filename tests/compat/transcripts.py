"""Runs one client program against zkd and Apache and compares what it prints."""
import difflib
import subprocess

import servers


def compare(zkd, command, seconds=180):
    """0 when the program ends well on both and says the same."""
    shown = []
    for server in (servers.Zkd(zkd), servers.Apache380()):
        with server:
            done = subprocess.run(command(server), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=seconds)
        if done.returncode:
            print("%s: the program ended with %d\n%s%s" % (server.name, done.returncode, done.stdout[-4000:],
                                                          done.stderr[-4000:]))
            return 1
        shown.append(done.stdout.splitlines())
    difference = list(difflib.unified_diff(shown[1], shown[0], "apache-3.8.0", "zkd", lineterm="", n=2))
    print("\n".join(difference) if difference else "%d lines, the same on both" % len(shown[0]))
    return 1 if difference or not shown[0] else 0
