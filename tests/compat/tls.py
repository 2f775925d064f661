"""Is TLS, for clients and between servers, what it is with Apache ZooKeeper 3.9?

    tls.py --zkd target/release/zkd

Certificates are made with openssl and keytool. Clients are sockets, kazoo and Apache's own; who they are, what ACLs of the
scheme x509 give them, and who is turned away is the same on a zkd and on an Apache server. Then ensembles: three zkd with
sslQuorum, zkd and Apache in one, and three zkd that go from plaintext to TLS one by one while clients write.
"""
import argparse
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile

from kazoo.client import KazooClient

import servers
from certs import Authority, context, keys
from ensemble import Ensemble, apache, apache39, lasting_port, poll, zkd
from wire import Client, Refused, w

ALL = 31
READ = 1
OTHER_NAME = r"/C=DE/O=Plus\+Eq=Lt<Gt>#;q/OU=one+OU=two/emailAddress=me@example.com/serialNumber=42/CN=#J\\ö, x"
# Ids of the scheme x509 that are valid, and some that are not.
IDS = ["CN=a", "cn=a, o=b", "", "CN=a;O=b", "CN=a+OU=b", "1.2.3=#0c0161", 'CN="a,b"', "CN=a\\,b", "CN=a#b", "X=a", "CN=a,",
       "CN=a<b", "CN=#0c016", "nobody", "E=x@y", "CN=a\\q", 'CN="a']
ALERT = 0x15
NETTY = {"serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}


class Files:
    """All certificates and stores."""

    def __init__(self, directory):
        self.authority, self.stranger = Authority(directory), Authority(directory, "stranger")
        self.server = self.authority.issue("server", "/CN=server/O=zkd")
        self.alice = self.authority.issue("alice", "/CN=alice/O=zkd")
        self.bob = self.authority.issue("bob", OTHER_NAME)
        self.mallory = self.stranger.issue("mallory", "/CN=alice/O=zkd")
        self.server_jks, self.trust_jks = self.authority.jks(self.server), self.authority.trust("JKS")
        self.alice_p12, self.trust_p12 = self.authority.pkcs12(self.alice), self.authority.trust("PKCS12")


def word_over_tls(port, word, tls):
    with tls.wrap_socket(socket.create_connection(("127.0.0.1", port), 5)) as s:
        s.sendall(word.encode())
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def until_open(port):
    """Waits for a port that opens behind the client port, at which servers are seen to serve."""
    def is_open():
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        except ConnectionRefusedError:
            return False
    poll(is_open, 20, "nobody listens on port %d" % port)


def is_turned_away(port, tls):
    """Whether nobody answers this client."""
    try:
        return word_over_tls(port, "ruok", tls) == ""
    except (OSError, ssl.SSLError):
        return True


def code_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        return 0
    except Refused as refused:
        return refused.code


def who(client):
    decoder = w.Decoder(client.call("whoAmI"))
    return sorted((decoder.string(), decoder.string()) for _ in range(decoder.int()))


def clients(kind, files):
    """What clients with and without certificates see; the same from every server."""
    secure = lasting_port()
    extra = {"secureClientPort": str(secure), "secureClientPortAddress": "127.0.0.1", "ssl.clientAuth": "want",
             "X509AuthenticationProvider.superUser": "CN=root", **keys(files.server_jks, files.trust_jks), **NETTY}
    seen = {}
    with kind(extra=extra) as server:
        until_open(secure)
        alice, bob = context(files.authority, files.alice), context(files.authority, files.bob)
        nobody = context(files.authority)
        seen["words"] = [word_over_tls(secure, "ruok", one) for one in (alice, nobody)]
        conf = word_over_tls(secure, "conf", alice)
        assert "secureClientPort=%d\n" % secure in conf and "clientPort=%d\n" % server.port in conf, conf
        with Client(secure, tls=alice) as a, Client(secure, tls=bob) as b, Client(secure, tls=nobody) as n, \
                Client(server.port) as plain:
            seen["who"] = [who(one) for one in (a, b, n, plain)]
            a.create("/mine", b"x", acl=[(ALL, "auth", "")])
            b.create("/theirs", b"x", acl=[(ALL, "auth", ""), (READ, "x509", "O=zkd,CN=alice")])
            seen["acls"] = [a.acl("/mine"), b.acl("/theirs")]
            seen["reads"] = [[code_of(one.get, path) for one in (a, b, n, plain)] for path in ("/mine", "/theirs")]
            seen["sets"] = [[code_of(one.set, path, b"") for one in (a, b, n, plain)] for path in ("/mine", "/theirs")]
            seen["no identity"] = [code_of(one.create, "/no", acl=[(ALL, "auth", "")]) for one in (n, plain)]
            seen["ids"] = [code_of(plain.create, "/id-%d" % at, acl=[(ALL, "x509", one)]) for at, one in enumerate(IDS)]
            a.auth(b"", "x509")
            seen["an auth packet"] = who(a)
            # More than one record holds, both ways.
            plain.create("/large", b"y" * 300000)
            assert a.get("/large")[0] == b"y" * 300000
            a.set("/large", b"z" * 300000)
        seen["strangers"] = [is_turned_away(secure, context(files.authority, files.mallory))]
        with socket.create_connection(("127.0.0.1", secure), 5) as s:
            s.sendall(b"ruok\r\n")
            try:
                seen["plaintext"] = b"imok" in b"".join(iter(lambda: s.recv(4096), b""))
            except OSError:
                seen["plaintext"] = False
    return seen


def compare(binary, files):
    ours, theirs = clients(zkd(binary), files), clients(apache39, files)
    for topic, said in theirs.items():
        assert ours[topic] == said, "%s: %s on zkd, %s on Apache" % (topic, ours[topic], said)
    assert ours["who"][0] == [("ip", "127.0.0.1"), ("x509", "O=zkd,CN=alice")], ours["who"]
    assert 0 in ours["ids"] and -114 in ours["ids"] and ours["reads"][0] == [0, -102, -102, -102], ours
    return "%d topics as on Apache" % len(theirs)


def super_user(kind, files):
    secure = lasting_port()
    extra = {"secureClientPort": str(secure), "X509AuthenticationProvider.superUser": "O=zkd,CN=alice",
             **keys(files.server_jks, files.trust_p12), **NETTY}
    with kind(extra=extra) as server, Client(server.port) as plain:
        until_open(secure)
        alice = Client(secure, tls=context(files.authority, files.alice))
        assert who(alice) == [("ip", "127.0.0.1"), ("super", ""), ("x509", "O=zkd,CN=alice")], who(alice)
        plain.create("/x509", acl=[(ALL, "x509", "CN=somebody")])
        plain.create("/digest", acl=[(ALL, "digest", "a:b")])
        for path in ("/x509", "/digest"):
            assert (code_of(plain.get, path), code_of(alice.get, path)) == (-102, 0), path
        alice.auth(b"", "x509")
        assert len(who(alice)) == 3, who(alice)
        assert is_turned_away(secure, context(files.authority)), "without a certificate, where one is needed"
        alice.close()
    return "the super user of %s" % server.name


def one_port(binary, files):
    """TLS and plaintext on one port; then no port but the secure one; and certificates that change."""
    extra = {"client.portUnification": "true", "ssl.keyStore.location": files.server,
             "ssl.trustStore.location": files.authority.pem, "client.certReload": "true"}
    alice = context(files.authority, files.alice)
    with zkd(binary)(extra=extra) as server:
        with Client(server.port) as plain, Client(server.port, tls=alice) as a:
            assert len(who(plain)) == 1 and ("x509", "O=zkd,CN=alice") in who(a)
        before = serial(server.port, alice)
        files.authority.issue("server", "/CN=server/O=zkd")
        poll(lambda: serial(server.port, alice) != before, 10, "the certificate that has changed is not used")
    # Whoever runs the server can ask it all the same, whether clients need certificates or are not asked for any.
    for stores in (keys(files.server_jks, files.trust_jks), {"ssl.keyStore.location": files.server, "ssl.clientAuth": "none"}):
        secure = lasting_port()
        alone = servers.Zkd(binary, extra={"secureClientPort": str(secure), **stores})
        alone.config = lambda: {key: value for key, value in servers.Zkd.config(alone).items() if key != "clientPort"}
        try:
            alone.launch()
            said = poll(lambda: answer(secure, alice), 20, alone.log_text)
            assert "clientPort=-1\nsecureClientPort=%d" % secure in said, said
            found = "Client port found: %d. Client address: localhost. Client SSL: true.\n" % secure
            assert status(alone) == (0, found + "Mode: standalone\n"), status(alone)
            code, told = status(alone, "zkServer.sh", "status")
            assert code == 0 and told.endswith(found + "Mode: standalone\n"), told
            alone.stop()
            assert status(alone) == (1, found + "Error contacting service. It is probably not running.\n"), status(alone)
        finally:
            alone.stop()
            alone.clean()
    return "one port for both kinds, changed certificates, no port but the secure one"


def status(server, *words):
    """What zkServer.sh status would say; or says, where that is how zkd is called."""
    command = [*(words or (server.binary, "status", "--config")), os.path.join(server.work, "zoo.cfg")]
    done = subprocess.run(command, executable=server.binary, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=30, check=False)
    return done.returncode, done.stdout


def answer(port, tls):
    try:
        return word_over_tls(port, "conf", tls)
    except OSError:
        return None


def serial(port, tls):
    with tls.wrap_socket(socket.create_connection(("127.0.0.1", port), 5)) as s:
        return s.getpeercert()["serialNumber"]


def other_clients(binary, files):
    """kazoo, and Apache's own client, which look at the name of the server."""
    secure = lasting_port()
    extra = {"secureClientPort": str(secure), "ssl.enabledProtocols": "TLSv1.3,TLSv1.2",
             **keys(files.server_jks, files.trust_jks)}
    with zkd(binary)(extra=extra):
        until_open(secure)
        client = KazooClient("127.0.0.1:%d" % secure, use_ssl=True, ca=files.authority.pem, certfile=files.alice,
                             keyfile=files.alice, timeout=10)
        client.start(timeout=20)
        client.create("/kazoo", b"from kazoo")
        assert client.get("/kazoo")[0] == b"from kazoo"
        client.stop()
        client.close()
        java = {"client.secure": "true", "clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
                **keys(files.alice_p12, files.trust_jks)}
        for version in ({}, {"ssl.enabledProtocols": "TLSv1.2"}):
            command = ["java", *("-Dzookeeper.%s=%s" % pair for pair in {**java, **version}.items()),
                       "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", servers.Apache39().class_path(),
                       "org.apache.zookeeper.ZooKeeperMain", "-server", "127.0.0.1:%d" % secure, "whoami"]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=60, check=False)
            assert re.search(r"x509: O=zkd,CN=alice", done.stdout), done.stdout
    return "kazoo and Apache's client"


# ---- between servers ----

def quorum_keys(files):
    return {"sslQuorum": "true", "fips-mode": "false", "sslQuorumReloadCertFiles": "true",
            **keys(files.server_jks, files.trust_jks, "ssl.quorum.")}


def is_deaf(port):
    """Whether a connection without TLS is closed at once, with nothing said but an alert; one that waits is not."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(bytes.fromhex("ffffffffffff0000"))
        try:
            said = b"".join(iter(lambda: s.recv(4096), b""))
        except socket.timeout:
            return False
        except OSError:
            return True
        return said == b"" or said[0] == ALERT


def together(kinds, files, told):
    """The last one observes."""
    def check(leader):
        assert is_deaf(leader.ports[1]), "a connection without TLS is kept"

    with Ensemble(kinds, extra={"tickTime": "500", **quorum_keys(files)}, observers=1) as ensemble:
        return "%s, led by %s" % (told, ensemble.lead_in_turn(check))


def rolling(binary, files):
    """One by one: first both are taken, then TLS is dialled, then nothing else is taken. There is always a quorum."""
    stores = keys(files.server_jks, files.trust_jks, "ssl.quorum.")
    steps = [{"portUnification": "true", **stores}, {"sslQuorum": "true", "portUnification": "true", **stores},
             {"sslQuorum": "true", "portUnification": "false", **stores}]
    with Ensemble(zkd(binary), 3, {"tickTime": "500"}) as ensemble:
        ensemble.wait_for_roles()
        written = 0
        for step in steps:
            for member in ensemble:
                member.stop()
                ensemble.wait_for_roles([other for other in ensemble if other is not member])
                member.server.extra.update(step)
                member.launch()
                ensemble.wait_for_roles()
                with ensemble.client(member) as client:
                    client.create("/step-%d" % written)
                    written += 1
        assert all(is_deaf(member.ports[1]) for member in ensemble), "plaintext is still taken"
        assert len([path for path in ensemble.assert_same() if path.startswith("/step-")]) == written
        ensemble.assert_no_errors()
    return "from plaintext to TLS, one by one"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True, help="the zkd binary")
    parser.add_argument("--only", help="checks whose function has this in its name")
    args = parser.parse_args()
    binary = os.path.abspath(args.zkd)
    with tempfile.TemporaryDirectory(prefix="zk-test-") as directory:
        files = Files(directory)
        alike, mixed = [zkd(binary)] * 4, [apache, zkd(binary), apache39, zkd(binary)]
        checks = {"compare": lambda: compare(binary, files), "super_user": lambda: super_user(zkd(binary), files),
                  "apaches_super_user": lambda: super_user(apache39, files),
                  "one_port": lambda: one_port(binary, files), "other_clients": lambda: other_clients(binary, files),
                  "alike": lambda: together(alike, files, "zkd alone"),
                  "mixed": lambda: together(mixed, files, "zkd and Apache"), "rolling": lambda: rolling(binary, files)}
        passed = [check() for name, check in checks.items() if not args.only or args.only in name]
    print("\n".join(passed))
    print("%d checks of TLS passed" % len(passed))


if __name__ == "__main__":
    sys.exit(main())
