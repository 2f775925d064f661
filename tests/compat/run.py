"""Runs every comparison with real clients and real peers, one line each.

    run.py --zkd target/release/zkd [--only NAME]

Prints the output of what fails, and last `N passed, N failed`.
"""
import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# Name, command behind the script's own name, and how long it may take (seconds).
CHECKS = [
    ("recorded exchanges on zkd", ["vectors.py", "--zkd", "{zkd}"], 300),
    ("recorded exchanges on Apache 3.8.0", ["vectors.py", "--apache"], 300),
    ("malformed frames", ["malformed.py", "--zkd", "{zkd}"], 200),
    ("clients held back", ["throttles.py", "--zkd", "{zkd}"], 60),
    ("lines that nobody takes", ["mute.py", "--zkd", "{zkd}"], 60),
    ("kill -9 under load", ["kill_loop.py", "--zkd", "{zkd}", "--rounds", "15", "--seed", "1"], 200),
    ("data directories to and fro", ["storage_roundtrip.py", "--zkd", "{zkd}"], 400),
    ("random requests side by side", ["differential.py", "--zkd", "{zkd}", "--seeds", "10", "--ops", "1000"], 400),
    ("creates in a multi beside Apache's", ["creates.py", "--zkd", "{zkd}"], 60),
    ("TLS", ["tls.py", "--zkd", "{zkd}"], 120),
    ("SASL", ["sasl.py", "--zkd", "{zkd}"], 400),
    ("the admin server beside Apache's", ["admin_http.py", "--zkd", "{zkd}"], 150),
    ("the audit log beside Apache's", ["audit.py", "--zkd", "{zkd}"], 60),
    ("zkServer.sh beside Apache's", ["server_script.py", "--zkd", "{zkd}"], 90),
    ("the container beside Apache's image", ["container.py", "--zkd", "{zkd}"], 60),
    ("zkCli beside Apache's", ["shell.py", "--zkd", "{zkd}"], 120),
    ("C client", ["c_client.py", "--zkd", "{zkd}"], 200),
    ("Curator's recipes", ["curator.py", "--zkd", "{zkd}"], 300),
    ("kazoo's own tests", ["kazoo_suite.py", "--zkd", "{zkd}"], 900),
    ("three servers: many requests in flight", ["pipelined.py", "--zkd", "{zkd}"], 30),
    ("three servers: sessions that have moved", ["moved.py", "--zkd", "{zkd}"], 90),
    ("three servers: local sessions", ["local_sessions.py", "--zkd", "{zkd}"], 120),
    ("three servers: ACLs looked at early", ["eager_acl.py", "--zkd", "{zkd}"], 60),
    ("three servers: read-only clients", ["read_only.py", "--zkd", "{zkd}"], 120),
    ("three servers: an observer", ["observers.py", "--zkd", "{zkd}"], 90),
    ("three servers: observers of followers", ["masters.py", "--zkd", "{zkd}"], 90),
    ("three servers: members and their files", ["members.py", "--zkd", "{zkd}"], 120),
    ("from one server to five and back, pure and mixed",
     ["growth.py", "--zkd", "{zkd}", "--kinds", "zkd", "--kinds", "z,z,a38,z,a39"], 200),
    ("three servers: names that move", ["addresses.py", "--zkd", "{zkd}"], 60),
    ("mixed ensemble: what hurts an Apache leader", ["harm.py", "--zkd", "{zkd}"], 100),
    ("three servers: what is counted", ["counts.py", "--zkd", "{zkd}"], 60),
    ("three servers: a database from the leader", ["given.py", "--zkd", "{zkd}"], 100),
    ("three servers: a lost database", ["lost_database.py", "--zkd", "{zkd}"], 60),
    ("three servers: the tutorial", ["tutorial.py", "--zkd", "{zkd}"], 60),
    ("three servers: faults under load", ["ensemble_faults.py", "--zkd", "{zkd}", "--rounds", "14", "--seed", "1"], 90),
    ("three servers: cut off from each other",
     ["ensemble_faults.py", "--zkd", "{zkd}", "--partitions", "--rounds", "8", "--seed", "1"], 90),
    ("mixed ensemble: faults under load",
     ["mixed.py", "--zkd", "{zkd}", "--ensemble", "zkd,zkd,apache39", "--rounds", "2", "--faults", "1", "--seed", "1"], 150),
    ("rolling migration from Apache and back", ["migration.py", "--zkd", "{zkd}"], 150),
    ("three servers: leader lost", ["failover.py", "--zkd", "{zkd}", "--rounds", "3", "--most-ms", "300"], 60),
]

# What a check that takes too long gets to clean up, before it is killed with all that it started.
GRACE_SECONDS = 10


def run(command, seconds):
    """Runs it in a process group of its own, of which nothing is left afterwards; (passed, output)."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode == 0, output
    except subprocess.TimeoutExpired:
        # Asked first: one that has made network namespaces removes them.
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        kill_group(process.pid)
        output, _ = process.communicate()
        return False, output + "\ntook longer than %d s" % seconds
    finally:
        kill_group(process.pid)


def kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--only", help="checks whose name has this in it")
    args = parser.parse_args()
    passed = failed = 0
    for name, command, seconds in CHECKS:
        if args.only and args.only not in name:
            continue
        command = [part.format(zkd=os.path.abspath(args.zkd)) for part in command]
        started = time.monotonic()
        ok, output = run([sys.executable, os.path.join(HERE, command[0])] + command[1:], seconds)
        last = output.strip().splitlines()[-1:] or [""]
        print("%s  %s (%.0f s): %s" % ("ok  " if ok else "FAIL", name, time.monotonic() - started, last[0]), flush=True)
        if ok:
            passed += 1
        else:
            failed += 1
            print(output, flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
