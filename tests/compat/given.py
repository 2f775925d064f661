"""What becomes of a server that gets its whole database from the leader?

    given.py --zkd target/release/zkd [--apache]

Apache opens what it has written, at once. And it may take its time: only silence is limited by initLimit, not how long a
database is on its way.
"""
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

from ensemble import ROLES_SECONDS, Ensemble, arguments, kind_of, lasting_port, poll
from servers import Apache39, Apache380
from wire import Client

TICK_MS = 500
LIMIT_TICKS = 4
CONFIG = {"tickTime": str(TICK_MS), "initLimit": str(LIMIT_TICKS), "syncLimit": str(LIMIT_TICKS), "forceSnapshotSync": "true"}
# Slow enough that the database takes three times what anybody may be silent for.
VALUE = bytes(250_000)
VALUES = 48
LIMIT_SECONDS = TICK_MS * LIMIT_TICKS / 1000
BYTES_PER_SECOND = len(VALUE) * VALUES / (3 * LIMIT_SECONDS)
PIECE_BYTES = 16384


class Relay:
    """Carries connections to a port, and what comes back slowly."""

    def __init__(self, to):
        self.to = to
        self.port = lasting_port()
        self.connections = 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            self.connections += 1
            far = socket.socket()
            # What lies in the kernel's buffers has left the leader, and has not come.
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE_BYTES)
            far.connect(("127.0.0.1", self.to))
            threading.Thread(target=self.carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, True), daemon=True).start()

    @staticmethod
    def carry(source, sink, slowly):
        try:
            while piece := source.recv(PIECE_BYTES):
                sink.sendall(piece)
                if slowly:
                    time.sleep(len(piece) / BYTES_PER_SECOND)       # this is the slowness
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                end.close()


def fill(ensemble, member, values, value):
    with ensemble.client(member) as client:
        for number in range(values):
            client.create("/given-%d" % number, value)
        client.end()


def opened_by_apache(kind):
    with Ensemble(kind, 3, CONFIG) as ensemble:
        fill(ensemble, ensemble.wait_for_roles(), 20, b"1")
        taker = ensemble.followers()[0]
        taker.kill()
        taker.wipe()
        taker.launch()
        ensemble.wait_for_roles()
        expected = ensemble.assert_same()
        taker.kill()
        files = os.listdir(os.path.join(taker.server.data_dir, "version-2"))
        assert any(name.startswith("snapshot.") and name != "snapshot.0" for name in files), files
        for apache in (Apache380, Apache39):
            with tempfile.TemporaryDirectory(prefix="zk-test-") as directory:
                data = os.path.join(directory, "data")
                shutil.copytree(taker.server.data_dir, data)
                with apache(data_dir=data) as server, Client(server.port) as client:
                    found = client.tree()
                    client.end()
            lost = [path for path in expected if path not in found]
            assert not lost, "%s does not find %s among %s" % (server.name, lost, files)


def takes_its_time(kind):
    with Ensemble(kind, 3, CONFIG) as ensemble:
        first, leader, taker = ensemble
        taker.kill()
        assert ensemble.wait_for_roles([first, leader]) is leader
        fill(ensemble, leader, VALUES, VALUE)
        relay = Relay(leader.ports[0])
        taker.server.extra["server.%d" % leader.number] = "%s:%d:%d" % (leader.host, relay.port, leader.ports[1])
        began = time.monotonic()
        taker.launch()
        poll(lambda: taker.mode() == "follower", ROLES_SECONDS + 10 * LIMIT_SECONDS, lambda: taker.log_text()[-3000:])
        seconds = time.monotonic() - began
        assert relay.connections == 1, "it took %d connections" % relay.connections
        assert seconds > 2 * LIMIT_SECONDS, "it took no longer than %.1f s" % seconds
        found = ensemble.tree(taker)
        assert all(found["/given-%d" % number][0] == VALUE for number in range(VALUES)), sorted(found)
        return seconds


def main():
    kind = kind_of(arguments(__doc__).parse_args())
    opened_by_apache(kind)
    seconds = takes_its_time(kind)
    print("Apache opens what a leader has given; a database took %.1f s, with %.1f s of silence allowed" % (seconds, LIMIT_SECONDS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
