"""Are clients held back as the settings say?

    throttles.py --zkd target/release/zkd

On one zkd server with real connections: who gets a session, how many requests are in process at once, what becomes of
those that wait, and what `mntr` counts of it.
"""
import argparse
import sys
import threading

from ensemble import poll
from servers import Zkd, four_letter_word
from wire import Client, Refused, w

PATIENCE_SECONDS = 10
CLIENTS = 8
WRITES = 40
# Far more than the socket buffers of both sides hold.
UNREAD_BYTES_MAX = 48 << 20
SLOW = {"flushDelay": "1500", "maxWriteQueuePollTime": "1500"}


def mntr(server):
    lines = four_letter_word(server.port, "mntr").splitlines()
    return {key[3:]: value for key, value in (line.split("\t", 1) for line in lines)}


def connects(server):
    try:
        Client(server.port).close()
    except (OSError, EOFError):
        return False
    return True


def connections(binary):
    """Two tokens, and one more in an hour."""
    with Zkd(binary, extra={"connection_throttle_tokens": "2", "connection_throttle_fill_time": "3600000"}) as server:
        assert [connects(server) for _ in range(4)] == [True, True, False, False]
        seen = mntr(server)
        assert seen["connection_rejected"] == "2", seen["connection_rejected"]
        assert seen["connection_request_count"] == "2", seen["connection_request_count"]
        assert seen["max_connection_token_deficit"] == "2", seen["max_connection_token_deficit"]


def create(path):
    return w.ustr(path) + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(0)


def create_many(server, number, wrong):
    """Many writes at once: all are answered, in order."""
    try:
        with Client(server.port) as client:
            sent = [client.send("create", create("/c%d-%d" % (number, n))) for n in range(WRITES)]
            answered = [client.receive()[::2][:2] for _ in sent]
            assert answered == [(xid, 0) for xid in sent], answered
            client.end()
    except Exception as error:      # told by the main thread
        wrong.append(repr(error))


def one_in_process(server, client):
    """Right behind a flush a write waits for the next one, and all others wait for it."""
    client.create("/warm")
    client.send("create", create("/slow"))
    poll(lambda: mntr(server)["outstanding_requests"] == "1", PATIENCE_SECONDS, "the write is not in process")


def requests(binary):
    """No more than two at once; the others wait, and nobody is forgotten."""
    settings = {"request_throttle_max_requests": "2", "request_throttle_stall_time": "60000", "flushDelay": "5"}
    with Zkd(binary, extra=settings) as server:
        wrong = []
        threads = [threading.Thread(target=create_many, args=(server, n, wrong)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_SECONDS * 3)
            assert not thread.is_alive(), "a client waits for ever"
        assert not wrong, wrong
        seen = mntr(server)
        assert int(seen["request_throttle_wait_count"]) > CLIENTS, seen["request_throttle_wait_count"]
        assert int(seen["cnt_request_throttle_queue_time_ms"]) >= CLIENTS * WRITES
        assert seen["throttled_ops"] == "0"


def readers(binary):
    """Reads that waited for a write are all answered once it is done."""
    settings = {"request_throttle_max_requests": "1", "request_throttle_stall_time": "60000", **SLOW}
    with Zkd(binary, extra=settings) as server, Client(server.port) as first:
        others = [Client(server.port) for _ in range(CLIENTS)]
        one_in_process(server, first)
        for other in others:
            other.send("getData", w.ustr("/slow") + w.boolean(False))
        for other in others:
            assert other.receive()[2] == 0, "the write was before it"
            other.close()


def late_ones(binary):
    """What has waited for longer than throttled_op_wait_time is refused with -127."""
    settings = {"request_throttle_max_requests": "1", "throttled_op_wait_time": "1", **SLOW}
    with Zkd(binary, extra=settings) as server, Client(server.port) as first, Client(server.port) as second:
        one_in_process(server, first)
        try:
            second.get("/")
            raise AssertionError("it was not refused")
        except Refused as refused:
            assert refused.code == -127, refused.code
        assert first.receive()[2] == 0
        assert mntr(server)["throttled_ops"] == "1"
        second.get("/")


def stale_ones(binary):
    """The requests of a client that has gone while they waited are dropped."""
    settings = {"request_throttle_max_requests": "1", **SLOW}
    with Zkd(binary, extra=settings) as server, Client(server.port) as first:
        gone = Client(server.port)
        one_in_process(server, first)
        gone.send("create", create("/stale"))
        gone.close()
        poll(lambda: mntr(server)["stale_requests_dropped"] == "1", PATIENCE_SECONDS, "nothing was dropped")
        assert first.receive()[2] == 0
        try:
            first.get("/stale")
            raise AssertionError("a dropped request was carried out")
        except Refused as refused:
            assert refused.code == -101, refused.code


def unread(binary):
    """A client that reads nothing is soon not read either, and gets all its answers when it reads again."""
    with Zkd(binary) as server, Client(server.port) as client:
        client.create("/z", b"x" * 1000)
        request = w.request(1, "getData", w.ustr("/z") + w.boolean(False))
        many, sent = request * 1000, 0
        client.conn.s.settimeout(1)
        try:
            while sent < UNREAD_BYTES_MAX:
                sent += client.conn.s.send(many[sent % len(many):])
            raise AssertionError("the server has taken %d bytes of requests and sent no answer" % sent)
        except TimeoutError:
            pass
        expected = sent // len(request)
        client.conn.s.settimeout(PATIENCE_SECONDS)
        received = bytearray(8 << 20)
        left = expected * (4 + 16 + 4 + 1000 + 68)
        while left > 0:
            count = client.conn.s.recv_into(received, min(left, len(received)))
            assert count, "the server has closed the connection, %d bytes too early" % left
            left -= count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    for check in (connections, requests, readers, late_ones, stale_ones, unread):
        check(args.zkd)
        print("%s: as set" % check.__name__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
