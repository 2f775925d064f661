"""How long does one client wait while a crowd does something else?

    crowds.py --zkd target/release/zkd [--apache] [--only sessions]

Sessions with ephemerals whose clients are gone, and which all end at once behind a restart: the longest read meanwhile.
TLS handshakes that all begin at once, with long keys: the longest write. None of them may take longer than a second.
"""
import argparse
import os
import ssl
import socket
import subprocess
import sys
import time

import servers
from ensemble import lasting_port
from wire import Client, w

MOST_SECONDS = 1.0
EXTRA = {"maxClientCnxns": "0", "admin.enableServer": "false", "4lw.commands.whitelist": "*"}
SESSIONS, EPHEMERALS = 10000, 10
HANDSHAKES, HANDSHAKE_SECONDS = 400, 6


def longest(call, until):
    """The longest call, seconds, of those that are made until something is so."""
    most = 0
    while not until():
        began = time.monotonic()
        call()
        most = max(most, time.monotonic() - began)
        time.sleep(0.002)
    return most


def after(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def sessions(kind):
    with kind(extra=EXTRA, port=lasting_port()) as server:
        with Client(server.port) as client:
            client.create("/crowd")
        for number in range(SESSIONS):
            client = Client(server.port, timeout_ms=8000)
            client.multi([("create", w.ustr("/crowd/%d-%d" % (number, at)) + w.buf(b"") + w.acls(w.OPEN_ACL) + w.i32(1))
                          for at in range(EPHEMERALS)])
            client.close()
        server.stop()
        server.start()
        client = Client(server.port, timeout_ms=40000, seconds=120)
        assert children(client) == SESSIONS * EPHEMERALS
        due = time.monotonic() + 0.5

        def over():
            nonlocal due
            if time.monotonic() < due:
                return False
            due = time.monotonic() + 0.5
            return children(client) == 0

        most = longest(lambda: client.get("/crowd"), over)
        client.close()
    return "%d sessions with %d ephemerals each end" % (SESSIONS, EPHEMERALS), most


def children(client):
    return client.get("/crowd")[1]["numChildren"]


def handshakes(kind):
    server = kind(port=lasting_port())
    key, secure = os.path.join(server.work, "key.pem"), lasting_port()
    made = ["openssl", "req", "-x509", "-newkey", "rsa:4096", "-nodes", "-subj", "/CN=zk", "-days", "2", "-keyout", key,
            "-out", key + ".crt"]
    subprocess.run(made, check=True, stderr=subprocess.DEVNULL)
    with open(key, "a") as both, open(key + ".crt") as certificate:
        both.write(certificate.read())
    server.extra = {**EXTRA, "secureClientPort": str(secure), "ssl.keyStore.location": key, "ssl.trustStore.location": key,
                    "ssl.clientAuth": "none", "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server:
        client = Client(server.port, seconds=60)
        client.create("/a")
        crowd = []
        for _ in range(HANDSHAKES):
            received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
            try:
                context.wrap_bio(received, to_send).do_handshake()
            except ssl.SSLWantReadError:
                crowd.append((socket.create_connection(("127.0.0.1", secure)), to_send.read()))
        for connection, hello in crowd:
            connection.sendall(hello)
        most = longest(lambda: client.set("/a", b"1"), after(HANDSHAKE_SECONDS))
        for connection, _ in crowd:
            connection.close()
        client.close()
    return "%d handshakes begin" % HANDSHAKES, most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--apache", action="store_true", help="Apache ZooKeeper 3.9 instead")
    parser.add_argument("--only", help="a part")
    args = parser.parse_args()
    kind = servers.Apache39 if args.apache else lambda **kwargs: servers.Zkd(args.zkd, **kwargs)
    slow = False
    for part in sessions, handshakes:
        if args.only in (None, part.__name__):
            what, most = part(kind)
            print("%s: others wait for %.3f s at the most" % (what, most), flush=True)
            slow |= most > MOST_SECONDS
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
