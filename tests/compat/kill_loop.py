"""Is every acknowledged write there after kill -9, and nothing that was never sent?

    kill_loop.py --zkd target/release/zkd --rounds 200 --seed 1

Several writers keep requests in flight; the server is killed at a random moment and started again on what it left. Every
other round it takes snapshots all the time, so that kills hit those as well. Each znode holds a counter: its writer knows
which value was acknowledged last and which was sent last, and what is found must lie between.
"""
import argparse
import os
import random
import shutil
import struct
import sys
import tempfile
import threading
import time

import servers
from wire import Client, Refused, w

WRITERS = 6
IN_FLIGHT = 16


class Writer:
    """Owns /kill/<name> and what lies below; remembers what was sent and what was acknowledged."""

    def __init__(self, name, seed):
        self.root = "/kill/%s" % name
        self.random = random.Random(seed)
        self.sent = self.acked = -1          # values of the counter at the root
        self.created_sent = self.created_acked = 0
        self.pairs_sent = self.pairs_acked = -1
        self.acks = 0

    def run(self, port, stopped):
        try:
            client = Client(port)
            waiting = []
            while not stopped.is_set():
                while len(waiting) < IN_FLIGHT:
                    waiting.append(self.send(client))
                self.receive(client, waiting)
        except (OSError, EOFError, struct.error):
            pass                              # the kill

    def send(self, client):
        choice = self.random.random()
        if choice < 0.5:
            self.sent += 1
            client.send("setData", w.ustr(self.root) + w.buf(b"%d" % self.sent) + w.i32(-1))
            return "set", self.sent
        if choice < 0.8:
            number = self.created_sent
            self.created_sent += 1
            body = w.ustr("%s/n%08d" % (self.root, number)) + w.buf(b"x" * self.random.randrange(2000))
            client.send("create", body + w.acls(w.OPEN_ACL) + w.i32(0))
            return "create", number
        self.pairs_sent += 1
        value = w.buf(b"%d" % self.pairs_sent) + w.i32(-1)
        client.send("multi", w.multi([("setData", w.ustr(self.root + "-a") + value),
                                      ("setData", w.ustr(self.root + "-b") + value)]))
        return "pair", self.pairs_sent

    def receive(self, client, waiting):
        _, _, error, _ = client.receive()
        kind, value = waiting.pop(0)
        if error == -110 and kind == "create":
            error = 0                         # sent before the last kill without an answer, and there
        if error:
            raise AssertionError("%s of %d answered %d" % (kind, value, error))
        self.acks += 1
        if kind == "set":
            self.acked = value
        elif kind == "create":
            self.created_acked = value + 1
        else:
            self.pairs_acked = value

    def check(self, client):
        found = int(client.get(self.root)[0])
        assert self.acked <= found <= self.sent, "%s: acked %d, sent %d, found %d" % (self.root, self.acked, self.sent,
                                                                                     found)
        self.acked = self.sent = found
        children = client.children(self.root)
        assert self.created_acked <= len(children) <= self.created_sent, "%s: created %d..%d, found %d" % (
            self.root, self.created_acked, self.created_sent, len(children))
        # One writer's requests take effect in order: what is there is a prefix of what was sent.
        assert children == ["n%08d" % n for n in range(len(children))], "%s has holes" % self.root
        self.created_acked = self.created_sent = len(children)
        a, b = int(client.get(self.root + "-a")[0]), int(client.get(self.root + "-b")[0])
        assert a == b, "half a multi: %d and %d" % (a, b)
        assert self.pairs_acked <= a <= self.pairs_sent, "pairs %d..%d, found %d" % (self.pairs_acked,
                                                                                     self.pairs_sent, a)
        self.pairs_acked = self.pairs_sent = a

    def prune(self, client):
        """Keeps the database small over many rounds."""
        if self.created_sent < 2000:
            return
        for child in client.children(self.root):
            client.delete(self.root + "/" + child)
        self.created_acked = self.created_sent = 0


def set_up(port, writers):
    client = Client(port)
    try:
        client.create("/kill")
    except Refused:
        pass
    for writer in writers:
        for path in (writer.root, writer.root + "-a", writer.root + "-b"):
            client.create(path, b"-1")
    client.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    writers = [Writer("w%d" % n, chance.random()) for n in range(WRITERS)]
    work = tempfile.mkdtemp(prefix="zk-kill-")
    data_dir = os.path.join(work, "data")
    started = time.monotonic()
    try:
        for number in range(args.rounds + 1):
            extra = {"snapCount": "300"} if number % 2 else {}
            extra["preAllocSize"] = "256"
            server = servers.Zkd(args.zkd, data_dir=data_dir, extra=extra)
            server.start()
            try:
                if number == 0:
                    set_up(server.port, writers)
                client = Client(server.port)
                for writer in writers:
                    writer.check(client)
                    writer.prune(client)
                client.end()
                if number < args.rounds:
                    one_round(server, writers, chance.uniform(0.05, 0.6))
            except BaseException:
                print("round %d, seed %d\n%s" % (number, args.seed, server.log_text()[-4000:]))
                raise
            finally:
                if server.process.poll() is None:
                    server.kill()
                assert " ERROR " not in server.log_text(), server.log_text()
                server.clean()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print("%d kills, %d acknowledged writes, none lost, none made up, %.0f s" % (
        args.rounds, sum(writer.acks for writer in writers), time.monotonic() - started))
    return 0


def one_round(server, writers, seconds):
    stopped = threading.Event()
    failures = []

    def work(writer):
        try:
            writer.run(server.port, stopped)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    time.sleep(seconds)                       # the random moment is the point
    server.kill()
    stopped.set()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


if __name__ == "__main__":
    sys.exit(main())
