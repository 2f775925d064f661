"""Can bytes that make no sense hurt the server?

    malformed.py --zkd target/release/zkd --seed 1

Thousands of bad frames, half-open connections and bad words; the server must serve as before, in bounded memory, without
a word of error in its log. A client that asks for much and reads nothing goes with its session, connection and all.
"""
import argparse
import random
import socket
import struct
import sys

import servers
from ensemble import poll
from wire import Client, w

CONNECTIONS = 3000
RESIDENT_MIB_MAX = 100
LARGE_BYTES = 1_000_000
UNREAD = 100
END_SECONDS = 20


def resident_mib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def first_bytes(r):
    """What a connection may begin with."""
    choice = r.randrange(6)
    if choice == 0:
        return struct.pack(">i", r.choice([-1, -2**31, 2**31 - 1, 1048576, 0x7fffff])) + r.randbytes(r.randrange(64))
    if choice == 1:
        return r.randbytes(r.randrange(1, 200))
    if choice == 2:
        return w.connect_request()[:r.randrange(1, 49)]
    if choice == 3:
        return r.choice([b"ruo", b"stmk", b"stmkabc", b"xxxx", b"RUOK", b"\xff\xf4\xff\xfd", b"wchp\n\n"])
    if choice == 4:
        return w.frame(r.randbytes(r.choice([0, 1, 20, 44, 45, 100])))
    return w.connect_request(session=r.getrandbits(63), passwd=r.randbytes(r.choice([0, 16, 40])))


def request(r, xid):
    """A frame on an open session: an opcode and what may or may not be its record."""
    op = r.choice([*w.OPNAME, r.randrange(-20, 200), 10, 2**31 - 1])
    body = b"".join(r.choice([
        lambda: w.i32(r.choice([-1, -2, 0, 1, 5, 2**31 - 1, -2**31, r.getrandbits(31)])),
        lambda: w.ustr(r.choice(["/", "/a", "", None, "/a/b"])),
        lambda: r.randbytes(r.randrange(20)),
        lambda: w.acls(w.OPEN_ACL),
        lambda: w.boolean(r.random() < 0.5)])() for _ in range(r.randrange(6)))
    return w.frame(struct.pack(">ii", xid, op) + body)


def attack(port, r):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(10)
        try:
            if r.random() < 0.4:
                s.sendall(first_bytes(r))
            else:
                s.sendall(w.connect_request(timeout=4000) + b"".join(request(r, n) for n in range(r.randrange(1, 12))))
                if r.random() < 0.2:
                    s.sendall(struct.pack(">i", r.choice([2**31 - 1, -5, 1048575])) + b"cut")
            if r.random() < 0.5:
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
        except OSError:
            pass                    # closed on us: as it should be


def unread(server):
    """Far more is asked for than sockets hold, and neither read nor asked for again."""
    with Client(server.port) as witness:
        witness.create("/large", b"x" * LARGE_BYTES)
        ended = len(connections(server))
        silent = Client(server.port, timeout_ms=4000)
        for _ in range(UNREAD):
            silent.send("getData", w.ustr("/large") + w.boolean(False))
        poll(lambda: len(connections(server)) > ended, END_SECONDS, "it is not there")
        # Who watches over it must live on.
        poll(lambda: witness.get("/large") and len(connections(server)) == ended, END_SECONDS,
             lambda: "it is still there:\n%s" % "\n".join(connections(server)))
        silent.close()
        witness.end()


def connections(server):
    return [line for line in servers.four_letter_word(server.port, "cons").splitlines() if "sid=" in line]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    r = random.Random(args.seed)
    with servers.Zkd(args.zkd) as server:
        witness = Client(server.port)
        witness.create("/witness", b"here")
        # Slow ones: frames that begin and never end.
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for s in slow:
            s.sendall(struct.pack(">i", 1000000) + b"begun")
        before = resident_mib(server.pid)
        for _ in range(CONNECTIONS):
            attack(server.port, r)
        after = resident_mib(server.pid)
        assert witness.get("/witness")[0] == b"here"
        Client(server.port).end()
        assert "imok" == servers.four_letter_word(server.port, "ruok")
        assert after < RESIDENT_MIB_MAX, "%.0f MiB resident" % after
        unread(server)
        log = server.log_text()
        assert " ERROR " not in log and "panicked" not in log, log[-3000:]
        for s in slow:
            s.close()
    print("%d connections, %.0f MiB resident before, %.0f after; still serving" % (CONNECTIONS, before, after))
    return 0


if __name__ == "__main__":
    sys.exit(main())
