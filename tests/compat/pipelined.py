"""Is every request answered, in order, by each server of an ensemble, when many are in flight at once?

    pipelined.py --zkd target/release/zkd [--apache]

Writes, syncs, reads and requests that fail, mixed at random, from several clients of each server at the same time. Each
client reads what it wrote itself, and behind a sync what all had written before.
"""
import random
import sys
import threading

from ensemble import Ensemble, arguments, kind_of
from wire import data_of, stat_of, w

CLIENTS = 2                     # of each server
BATCHES = 60
BATCH = 40
BAD_VERSION, NO_NODE = -103, -101


def batches(client, path, seed):
    """Sends batches of requests at once; checks every answer."""
    chance = random.Random(seed)
    version = client.get(path)[1]["version"]
    for _ in range(BATCHES):
        expected, requests = [], b""
        for _ in range(BATCH):
            kind = chance.choice(("set", "set", "get", "sync", "stale", "missing"))
            client.xid += 1
            if kind == "set":
                version += 1
                body = ("setData", w.ustr(path) + w.buf(b"%d" % version) + w.i32(version - 1))
            elif kind == "get":
                body = ("getData", w.ustr(path) + w.boolean(False))
            elif kind == "sync":
                body = ("sync", w.ustr(path))
            elif kind == "stale":
                body = ("setData", w.ustr(path) + w.buf(b"") + w.i32(version + 7))
            else:
                body = ("delete", w.ustr(path + "-none") + w.i32(-1))
            requests += w.request(client.xid, *body)
            expected.append((client.xid, kind, version))
        client.conn.send(requests)
        for sent, kind, version_then in expected:
            xid, zxid, error, reply = client.receive()
            assert xid == sent, "request %d, %s, was answered with %d" % (sent, kind, xid)
            assert error == {"stale": BAD_VERSION, "missing": NO_NODE}.get(kind, 0), (kind, error)
            if kind == "set":
                stat = stat_of(w.Decoder(reply))
                assert (stat["version"], stat["mzxid"]) == (version_then, zxid), (stat, version_then, zxid)
            elif kind == "get":
                data, stat = data_of(reply)
                assert (data, stat["version"]) == (b"%d" % version_then, version_then), (data, stat, version_then)


def syncs_show_what_was_written(writer, readers, path):
    """What one server has acknowledged, a sync shows on every other one."""
    for number in range(50):
        data = b"%d" % number
        writer.set(path, data)
        for reader in readers:
            reader.sync(path)
            found = reader.get(path)[0]
            assert found == data, "%s after a sync, and %s was written before" % (found, data)


def main():
    parser = arguments(__doc__)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    failures = []

    def work(*call):
        try:
            batches(*call)
        except BaseException as failure:
            failures.append("%s: %r" % (call[1], failure))

    with Ensemble(kind_of(args)) as ensemble:
        ensemble.wait_for_roles()
        clients = [member.connect() for member in ensemble for _ in range(CLIENTS)]
        threads = []
        for number, client in enumerate(clients):
            path = client.create("/pipelined-%d" % number, b"0")
            threads.append(threading.Thread(target=work, args=(client, path, args.seed * 100 + number)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, "\n".join(failures)
        syncs_show_what_was_written(clients[0], clients[1:], "/pipelined-0")
        ensemble.assert_same()
        ensemble.assert_no_errors()
        for client in clients:
            client.end()
    print("%d requests through %d clients, each answered in its turn" % (BATCHES * BATCH * len(clients), len(clients)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
