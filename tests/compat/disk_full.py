"""What becomes of writes when the disk is full, and when it has room again?

    disk_full.py --zkd target/release/zkd        as root: it mounts a small file system of its own

Writes that were not taken are refused at once, reads go on, what was taken is kept and answered when there is room. The space
that a log is to have ahead, 64 MiB, need not be there.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import servers
from wire import Client, Refused

SIZE_MIB, FILLER_MIB = 24, 8
WRITES_MAX = 1000


def fill(client):
    """Creates znodes until the server takes no more; how many were acknowledged."""
    for number in range(WRITES_MAX):
        try:
            client.create("/n%d" % number, bytes(100000))
        except (Refused, TimeoutError):
            return number
    raise AssertionError("the disk did not fill up")


def refused(client):
    try:
        client.create("/refused")
        return None
    except Refused as refusal:
        return refusal.code


def until(question, seconds=20):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "nothing changed in %d s" % seconds
        time.sleep(0.1)             # the server looks for room twice a second


def numbered(client):
    return [child for child in client.children("/") if child.startswith("n")]


def check(zkd, mounted):
    filler, data_dir = os.path.join(mounted, "filler"), os.path.join(mounted, "data")
    with open(filler, "wb") as f:
        f.write(bytes(FILLER_MIB << 20))
    server = servers.Zkd(zkd, data_dir=data_dir).start()
    try:
        stuck, other = Client(server.port, seconds=3), Client(server.port)
        acked = fill(stuck)
        assert refused(other) == -1, "writes are not refused"
        assert len(other.get("/n0")[0]) == 100000
        os.remove(filler)
        until(lambda: refused(other) is None)
        found = numbered(other)
        # The one that was taken when the disk was full was kept.
        assert len(found) in (acked, acked + 1), (acked, len(found))
        log = server.log_text()
        assert "the disk is full" in log and "there is space on the disk again" in log, log
    finally:
        server.kill()
        server.clean()
    with servers.Zkd(zkd, data_dir=data_dir) as again:
        assert numbered(Client(again.port)) == found
    return acked


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as mounted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % SIZE_MIB, "tmpfs", mounted], check=True)
        try:
            acked = check(args.zkd, mounted)
        finally:
            subprocess.run(["umount", mounted], check=True)
    print("%d writes acknowledged before the disk was full, none lost; refused while it was, taken again after" % acked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
