"""Does the admin server answer as Apache's does, and are metrics there for Prometheus?

    admin_http.py --zkd target/release/zkd

A zkd server and an Apache ZooKeeper 3.9 server with Jetty see the same clients, and then the same HTTP requests: status,
kind and text of each answer are the same but for what can not be (ports, ids, times, sizes of files). Snapshots go from the
one to the other and back. An ensemble of both says the same of its members. With TLS they take and refuse the same callers.
Then come those who mean no good.
"""
import argparse
import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import sys
import tempfile
import time

from certs import Authority, context, keys
from ensemble import Ensemble, poll, zkd as zkd_kind
from servers import Apache39, Zkd, four_letter_word, free_port
from wire import Client, Refused, w

JETTY = ("jetty9-server", "jetty9-servlet", "jetty9-http", "jetty9-io", "jetty9-util", "jetty9-util-ajax",
         "jetty9-security", "servlet-api", "jackson-databind", "jackson-core", "jackson-annotations")
PROMETHEUS = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
ANYBODY = {"Authorization": "ip"}
ADMIN = b"admin:admin"
LATENCIES = ("readlatency", "updatelatency")
ADMIN_ACL = (31, "digest", "admin:" + base64.b64encode(hashlib.sha1(ADMIN).digest()).decode())
READ_ONLY = (1, "world", "anyone")
IDLE_MS = 700
HOSTILE_CONNECTIONS = 100
PATIENCE_SECONDS = 30

# Values of these keys are a server's own.
OWN = ("client_port", "data_dir", "data_log_dir", "remote_socket_address", "session_id", "established", "version", "zxid",
       "timestamp", "uptime", "data_dir_size", "log_dir_size", "datadir_size", "logdir_size", "last_response_time",
       "last_latency", "avg_latency", "max_latency", "min_latency", "initial_configuration", "digest")
# So are names that are ids or times, and ids in lists.
LARGE = re.compile(r"\b\d{6,}\b")

GETS = ("conf", "configuration", "config", "cons", "connections", "dirs", "dump", "gtmk", "get_trace_mask", "hash", "icfg",
        "initial_configuration", "isro", "is_read_only", "last_snapshot", "lsnp", "lead", "leader", "orst", "obsr",
        "observers", "ruok", "server_stats", "srvr", "stats", "stat", "stmk", "stmk?traceMask=5", "stmk?traceMask=x",
        "set_trace_mask?traceMask=-9", "gtmk", "stmk?traceMask=306", "voting_view", "wchs", "watch_summary", "watches",
        "wchc", "watches_by_path", "wchp", "zabstate", "nosuch", "a/b", "nos%22uch;x=y", "%72uok", "ruok/", "ruok?a=b",
        "snapshot", "snap?streaming=false", "restore", "rest")
# A bean of Java, or a set.
UNORDERED = ("server_stats", "srvr", "stats", "stat", "dump", "watches", "wchc", "watches_by_path", "wchp")
# After these there is nothing left to compare.
RESETS = ("crst", "connection_stat_reset", "srst", "stat_reset")


def command(extra=None):
    """The configuration of both servers."""
    return {"admin.enableServer": "true", "admin.serverAddress": "127.0.0.1", "admin.serverPort": str(free_port()),
            **(extra or {})}


class Apache39Admin(Apache39):
    """With Debian's Jetty, which its package of ZooKeeper needs too."""

    def class_path(self):
        jars = ["/usr/share/java/%s.jar" % jar for jar in JETTY]
        missing = [jar for jar in jars if not os.path.exists(jar)]
        if missing:
            raise RuntimeError("run scripts/install-test-deps: missing are %s" % missing)
        return ":".join([super().class_path(), *jars])


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def shape(self):
        """What has to be the same on all servers."""
        text = self.body.decode()
        for key in OWN:
            text = re.sub(r'("%s" : )("[^"]*"|[^,\n]*)' % key, r"\1*", text)
        return self.status, self.headers.get("content-type"), LARGE.sub("#", text)


def ask(server, path, method="GET", body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", int(server.extra["admin.serverPort"]), timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        return Answer(connection.getresponse())


def run(server, name, **kwargs):
    return ask(server, "/commands/" + name, **kwargs)


def unordered(shape):
    """Neither the members of a Java bean nor those of a set are in any order. How often was asked whether a server is there yet
    is chance, and counts."""
    status, kind, text = shape
    text = re.sub(r'^(    "packets_\w+" : )\d+', r"\1*", text, flags=re.M)
    # Apache keeps the times that sessions were due at before they were heard of, until they are over.
    text = re.sub(r'\n    "#" : \[ \],?', "", text)
    text = re.sub(r"\[ ([^\]{}]*) \]", lambda found: ", ".join(sorted(found[1].split(", "))), text)
    return status, kind, sorted(line.rstrip(",") for line in text.splitlines())


def same(what, ours, theirs):
    if isinstance(ours, list) and isinstance(theirs, list):
        both = [part for part in ours if part in theirs]
        if ours != theirs and both not in (ours, theirs):
            ours, theirs = ([part for part in parts if part not in both] for parts in (ours, theirs))
    assert ours == theirs, "%s:\n---- zkd\n%s\n---- Apache\n%s" % (what, ours, theirs)


def visit(server):
    """A client that creates, watches and stays."""
    client = Client(server.port)
    client.create("/a", b"x" * 100)
    client.create("/a/b")
    client.create("/e", flags=1)
    with contextlib.suppress(Refused):
        client.call("exists", w.ustr("/nope") + w.boolean(True))
    client.call("getData", w.ustr("/a") + w.boolean(True))
    client.call("setData", w.ustr("/e") + w.buf(b"new") + w.i32(-1))
    return client


def latencies(server):
    """How many reads and updates were measured, step by step."""
    told = []

    def tell(step):
        lines = dict(line.split("\t") for line in four_letter_word(server.port, "mntr").splitlines())
        told.append((step, *(int(lines["zk_cnt_" + name]) - at for name, at in zip(LATENCIES, base))))

    base = [0, 0]
    with Client(server.port) as client:
        tell("start")
        base = list(told.pop()[1:])
        client.auth(b"user:secret")
        tell("auth")
        client.create("/latency")
        tell("create")
        client.get("/latency")
        client.call("sync", w.ustr("/latency"))
        client.call("whoAmI")
        tell("reads")
        for call in (client.create, client.get):
            with contextlib.suppress(Refused):
                call("/latency" if call == client.create else "/nope")
        tell("refused")
        client.multi([("delete", w.ustr("/latency") + w.i32(-1))])
        tell("multi")
        client.end()
        tell("end")
    lines = dict(line.split("\t") for line in four_letter_word(server.port, "mntr").splitlines())
    for name in LATENCIES:
        p50, p999, least, most = (int(lines["zk_%s_%s" % (part, name)]) for part in ("p50", "p999", "min", "max"))
        assert least <= p50 <= p999 <= most, lines
    return told


def reports(ours, theirs):
    same("latencies", *(latencies(server) for server in (ours, theirs)))
    for name in GETS:
        compared = unordered if name in UNORDERED else lambda shape: shape
        same(name, *(compared(run(server, name).shape()) for server in (ours, theirs)))
    for path in ("/commands", "/commands/"):
        same(path, *(ask(server, path).shape() for server in (ours, theirs)))
    for path in ("/", "/x", "/commandsx", "/commands?x=y"):
        same(path, *(ask(server, path).status for server in (ours, theirs)))
    for method in ("TRACE", "PUT", "DELETE", "OPTIONS", "HEAD"):
        answers = [run(server, "ruok", method=method) for server in (ours, theirs)]
        same(method, *((answer.status, answer.headers.get("content-length"), answer.body) for answer in answers))
    same("options", *(run(server, "ruok", method="OPTIONS").headers["allow"] for server in (ours, theirs)))
    same("post of nothing", *(run(server, "nosuch", method="POST").shape() for server in (ours, theirs)))
    assert run(ours, "ruok", method="POST").status == 405
    for name in ("environment", "env", "envi"):
        same(name, *(list(run(server, name).json()) for server in (ours, theirs)))
    ours_set, theirs_set = (
        {name for name in run(server, "system_properties").json() if name.startswith("zookeeper.")} for server in (ours, theirs))
    same("system properties", ours_set, theirs_set)
    # Names, their order, and whether a number is whole; the numbers themselves of what was read and written where.
    for name in ("monitor", "mntr"):
        same(name, *([(key, type(value)) for key, value in run(server, name).json().items()] for server in (ours, theirs)))
        same(name, *({key: value for key, value in run(server, name).json().items() if key.endswith("_per_namespace")}
                     for server in (ours, theirs)))
    for server in (ours, theirs):
        words = [line.split("\t")[0] for line in four_letter_word(server.port, "mntr").splitlines()]
        assert words == ["zk_" + key for key in run(server, "monitor").json() if key not in ("command", "error")]
    for server in (ours, theirs):
        with Client(server.port):
            # One that has asked nothing yet is not given up before it began.
            assert " 1970:" not in four_letter_word(server.port, "dump"), server.name
        before, _, after = (run(server, "srvr").json()["server_stats"] if word is None else four_letter_word(server.port, word)
                            for word in (None, "ruok", None))
        counted = [after[key] - before[key] for key in ("packets_received", "packets_sent")]
        assert counted == [1, 1], "%s counts %s for a word" % (server.name, counted)
    for name in RESETS:
        same(name, *(run(server, name).shape() for server in (ours, theirs)))
    with open(os.path.join(ours.work, "zoo.cfg")) as config:
        assert run(ours, "icfg").json()["initial_configuration"] == config.read()


def backups(server):
    """What the admin server says to those who want a snapshot and may or may not have one."""
    told = []

    def tell(*args, **kwargs):
        answer = run(server, *args, **kwargs)
        told.append((args, answer.shape(), "last_zxid" in answer.headers, "snapshot_size" in answer.headers))
        return answer

    for scheme in ("digest", "world anyone", "nosuch x", "ip a b", "", "sasl x"):
        tell("snapshot", headers={"Authorization": scheme})
    acl = Client(server.port)
    acl.call("setACL", w.ustr("/") + w.acls([READ_ONLY, ADMIN_ACL]) + w.i32(-1))
    for scheme in ("ip", "digest admin:wrong", "digest x"):
        tell("snapshot", headers={"Authorization": scheme})
    tell("restore", method="POST", headers=ANYBODY, body=b"x")
    tell("snap?streaming=false", headers={"Authorization": "digest admin:admin"})
    tell("snapshot", headers={"Authorization": "digest admin:admin"})      # too early
    acl.auth(ADMIN)
    acl.call("setACL", w.ustr("/") + w.acls(w.OPEN_ACL) + w.i32(-1))
    acl.end()
    tell("restore", method="POST", headers=ANYBODY, body=b"no snapshot")
    tell("restore", method="POST", headers=ANYBODY, body=b"no snapshot")   # too early
    return told


def take(server):
    """A snapshot; the limit is one in 300 000 microseconds."""
    answer = poll(lambda: next((a for a in [run(server, "snapshot", headers=ANYBODY)] if a.status != 429), None),
                  PATIENCE_SECONDS, "no snapshot is taken")
    assert answer.status == 200 and answer.headers["content-type"] == "application/octet-stream", answer.status
    assert int(answer.headers["snapshot_size"]) == len(answer.body)
    assert re.fullmatch("0x[0-9a-f]+", answer.headers["last_zxid"]), answer.headers
    return answer


def tree(server):
    with Client(server.port) as client:
        found = client.tree()
        client.end()
    # Each server writes it by itself.
    del found["/zookeeper/config"]
    return found


def snapshots_travel(binary, ours, theirs):
    """From Apache into zkd, and what zkd has then survives a restart; and from zkd into Apache."""
    brought = take(theirs)
    fresh = Zkd(binary, extra=command())
    with fresh:
        with Client(fresh.port) as client:
            for number in range(40):
                client.create("/gone-%d" % number)
            answer = run(fresh, "restore", method="POST", headers=ANYBODY, body=brought.body)
            assert answer.status == 200, answer.body
            assert answer.json()["last_zxid"] >= int(brought.headers["last_zxid"], 16), answer.body
            assert list(answer.json()) == ["last_zxid", "command", "error"]
        expected = tree(theirs)
        assert tree(fresh) == expected and "/a/b" in expected
        with Client(fresh.port) as client:
            client.create("/after")
        fresh.kill()
        fresh.start()
        found = tree(fresh)
        assert found.pop("/after"), "a write after the restore is lost"
        same("after a restart", {path: found[path][0] for path in found}, {path: expected[path][0] for path in expected})
        assert run(fresh, "mntr").json()["cnt_restore_time"] == 0, "counted before the restart"
        assert not re.search(r"\bERROR\b", fresh.log_text()), fresh.log_text()
    other = Apache39Admin(extra=command())
    with other:
        answer = run(other, "restore", method="POST", headers=ANYBODY, body=take(ours).body)
        assert answer.status == 200, answer.body
        assert tree(other) == tree(ours)


def call(server, tls, name, headers=None):
    """What is said over TLS, or without it if `tls` is None: status, whether TLS is asked for from now on, error."""
    port = int(server.extra["admin.serverPort"])
    connection = (http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, context=tls) if tls
                  else http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS))
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/commands/" + name, headers=headers or {})
            answer = Answer(connection.getresponse())
        except (OSError, http.client.HTTPException, ssl.SSLError):
            return "nothing"
    is_json = answer.headers["content-type"] == "application/json"
    return answer.status, answer.headers.get("strict-transport-security"), answer.json()["error"] if is_json else None


def over_tls(binary):
    """Who is answered, with TLS and without, and who is known by a certificate."""
    flags = [{"portUnification": "true"}, {"forceHttps": "true"}, {"needClientAuth": "true"},
             {"portUnification": "true", "needClientAuth": "true"},
             {"portUnification": "true", "forceHttps": "true", "needClientAuth": "true"}]
    with tempfile.TemporaryDirectory(prefix="zk-test-") as directory:
        authority, stranger = Authority(directory), Authority(directory, "stranger")
        server, alice = authority.issue("server", "/CN=server"), authority.issue("alice", "/CN=alice")
        mallory = stranger.issue("mallory", "/CN=alice")
        callers = [None, context(authority), context(authority, alice), context(authority, mallory)]
        key_store, trust = authority.jks(server), authority.trust("JKS")
        clients = {"secureClientPort": "0", "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}
        cases = [({}, flag) for flag in flags]
        # An x509 identity is one of the clients' trust store as well.
        cases += [({**clients, **keys(key_store, trust)}, flags[-1]),
                  ({**clients, **keys(key_store, stranger.trust("JKS"))}, flags[-1]), ({}, flags[-1])]
        compared = 0
        for extra, flag in cases:
            # A limit that every request keeps to: which of two snapshots comes too early is a matter of speed.
            extra = {**extra, **keys(key_store, trust, "ssl.quorum."), **{"admin." + name: on for name, on in flag.items()},
                     "admin.rateLimiterIntervalInMS": "1"}
            said = []
            for kind in (lambda **kwargs: Zkd(binary, **kwargs), Apache39Admin):
                with kind(extra=command(extra)) as started:
                    told = [call(started, caller, "ruok") for caller in callers]
                    told += [call(started, callers[2], "snapshot", {"Authorization": scheme}) for scheme in ("x509", "digest x")]
                    told.append(four_letter_word(started.port, "mntr").split("zk_insecure_admin_count\t")[1].split("\n")[0])
                    said.append(told)
            assert said[0] == said[1], "TLS of the admin server with %s:\n---- zkd\n%s\n---- Apache\n%s" % (extra, *said)
            compared += len(told)
        both = said[0]
        assert both[0] == "nothing" and both[2] == (200, "max-age=86400; includeSubDomains", None), both
        silent(binary, keys(key_store, trust, "ssl.quorum."))
    return compared


def silent(binary, stores):
    """Who begins no handshake may not stay for longer than anybody else who is silent."""
    for flag in ("portUnification", "forceHttps"):
        extra = {**stores, "admin." + flag: "true", "admin.idleTimeout": str(IDLE_MS)}
        with Zkd(binary, extra=command(extra)) as server:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", int(server.extra["admin.serverPort"])), PATIENCE_SECONDS) as one:
                assert one.recv(100) == b""
            assert time.monotonic() - began >= IDLE_MS / 1000
            assert not re.search(r"\bERROR\b|panicked", server.log_text()), server.log_text()


def members(binary):
    """Two zkds and an Apache server; the second one's port is taken."""
    ensemble = Ensemble([zkd_kind(binary), zkd_kind(binary), lambda **kwargs: Apache39Admin(**kwargs)])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for member in ensemble:
            member.server.extra.update(command())
        ensemble[2].server.extra["admin.serverPort"] = str(taken.getsockname()[1])
        try:
            ensemble.launch()
            ensemble.wait_for_roles()
            leader = ensemble.leader()
            assert "no admin server" in ensemble[2].log_text()
            ours, theirs = ensemble[1].server, ensemble[3].server
            # Of its own client port a server knows from its configuration.
            same("voting_view", *(run(server, "voting_view").body.decode().replace("0.0.0.0:%d" % server.port, "")
                                  for server in (ours, theirs)))
            for server in (ours, theirs):
                member = next(member for member in ensemble if member.server is server)
                is_leader = member is leader
                told = run(server, "leader").json()
                assert (told["is_leader"], told["leader_id"], told["leader_ip"]) == (is_leader, leader.number, "127.0.0.1"), told
                state = run(server, "zabstate").json()
                assert (state["myid"], state["is_leader"], state["zabstate"]) == (member.number, is_leader, "broadcast"), state
            same("zabstate", *(states(server) for server in (ours, theirs)))
            for name in ("conf", "observers", "orst"):
                same(name, *(run(server, name).shape()[2].replace('"server_id" : 3', '"server_id" : 1')
                             for server in (ours, theirs)))
            refused = run(ours, "restore", method="POST", headers=ANYBODY, body=take(ours).body)
            assert refused.status == 501, refused.body
            ensemble[2].kill()
            ensemble[3].kill()
            ensemble.wait_for_no_service(among=[ensemble[1]])
            for name in ("ruok", "mntr", "srvr", "snap"):
                text = "This ZooKeeper instance is not currently serving requests"
                assert run(ours, name).json() == {"command": name, "error": text}, run(ours, name).body
            assert run(ours, "zabstate").json()["zabstate"] == ""
            assert "zookeeper.version" in run(ours, "envi").json()
        finally:
            for member in ensemble:
                member.stop()
    for member in ensemble:
        member.server.clean()


def states(server):
    """Its keys and those of its addresses, and how its values look."""
    state = run(server, "zabstate").json()
    port = re.compile(r":\d+$")
    addresses = {name: {key: port.sub("", value) if isinstance(value, str) else type(value) for key, value in bean.items()}
                 for name, bean in state.items() if isinstance(bean, dict)}
    assert state["client_address"] == "0.0.0.0:%d" % server.port, state
    return list(state), addresses, state["voting"], state["last_zxid"][:2]


def taken_port(binary):
    """A server alone does not start without its admin server: exit code 4, as Apache. A provider that nobody knows: 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for extra, code in (({"admin.serverPort": port}, 4), ({"metricsProvider.className": "org.nosuch.Provider"}, 2),
                            ({"metricsProvider.className": PROMETHEUS, "metricsProvider.httpPort": port}, 1)):
            server = Zkd(binary, extra={**command(), **extra})
            server.launch()
            assert server.process.wait(PATIENCE_SECONDS) == code, server.log_text()
            server.clean()


FAMILY = re.compile(r"# HELP (\S+) (.*)\n# TYPE (\S+) (counter|gauge|summary)\n")
SAMPLE = re.compile(r'([a-z0-9_]+)(?:\{((?:[a-z]+="[^"]*",)+)\})? (-?[0-9.]+(?:E-?[0-9]+)?|NaN)')


def scrape(port, query=""):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics" + query)
        return Answer(connection.getresponse())


def prometheus(binary, names):
    """The form is that of the client library 0.9; the names are those of `monitor` on a server without Prometheus."""
    port = free_port()
    extra = {"metricsProvider.className": PROMETHEUS, "metricsProvider.httpPort": str(port),
             "metricsProvider.httpHost": "127.0.0.1"}
    with Zkd(binary, extra={**command(), **extra}) as server:
        with Client(server.port) as client:
            client.create("/a")
            answer = scrape(port)
            assert answer.status == 200 and answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            text = answer.body.decode()
            kinds = {}
            for name, help_text, again, kind in FAMILY.findall(text):
                assert name == again and name not in kinds, name
                assert help_text == name or name.startswith("process_"), help_text
                kinds[name] = kind
            samples = {}
            for line in text.splitlines():
                if not line.startswith("#"):
                    found = SAMPLE.fullmatch(line)
                    assert found, line
                    samples[found[1] + (found[2] or "")] = found[3]
            assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())
            assert samples["znode_count"] == "6.0" and samples["fsynctime_count"] == "2.0", samples["fsynctime_count"]
            assert samples['fsynctimequantile="0.5",'] != "NaN" and samples['om_commit_process_time_msquantile="0.99",'] == "NaN"
            assert samples['write_per_namespace_countkey="a",'] == "1.0"
            assert samples['write_per_namespacekey="a",quantile="0.5",'] == "2.0"
            for name in (name for name in names if not name.endswith("_per_namespace")):
                base = re.sub("^(avg|min|max|cnt|sum|p50|p95|p99|p999)_", "", name)
                assert name in kinds or kinds.get(base) == "summary", name
            advanced = {re.sub("^p999_", "", name) for name in names if name.startswith("p999_")}
            for name, kind in kinds.items():
                if name.endswith("_per_namespace"):
                    continue
                quantiles = [key for key in samples if key.startswith(name + "quantile=")]
                assert len(quantiles) == (0 if kind != "summary" else 3 if name in advanced else 1), (name, quantiles)
            assert {name for name in kinds if name.startswith("process_")} >= {"process_open_fds", "process_cpu_seconds_total"}
            some = scrape(port, "?name[]=znode_count&name%5B%5D=fsynctime_sum").body.decode()
            assert [line.split()[0] for line in some.splitlines() if line[0] != "#"] == ["znode_count", "fsynctime_sum"], some
            assert scrape(port, "x").status == 404
            # mntr has the samples then, every one a double; and the admin server.
            lines = dict(line.split("\t") for line in four_letter_word(server.port, "mntr").splitlines())
            assert lines["zk_znode_count"] == "6.0" and 'zk_fsynctime{quantile="0.5"}' in lines, sorted(lines)
            assert run(server, "mntr").json()["znode_count"] == 6.0


def hostile(binary):
    """Those who connect and say nothing, or half of it, or too much, are left behind; clients notice nothing."""
    with Zkd(binary, extra=command({"admin.idleTimeout": str(IDLE_MS)})) as server:
        address = "127.0.0.1", int(server.extra["admin.serverPort"])
        with contextlib.ExitStack() as stack, Client(server.port) as client:
            silent = [stack.enter_context(socket.create_connection(address)) for _ in range(HOSTILE_CONNECTIONS)]
            for number, one in enumerate(silent):
                if number % 2:
                    one.sendall(b"GET /commands/ruok HTTP/1.1\r\nHost: ")
            client.create("/a")
            # Behind all of them, once their time is up.
            assert run(server, "ruok").status == 200
            flood = stack.enter_context(socket.create_connection(address))
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    flood.sendall(b"x-more: " + b"y" * 1000 + b"\r\n" if _ else b"GET / HTTP/1.1\r\n")
            unsent = stack.enter_context(socket.create_connection(address))
            unsent.sendall(b"POST /commands/restore HTTP/1.1\r\nHost: x\r\nAuthorization: ip\r\nContent-Length: 9999999\r\n\r\nabc")
            unsent.settimeout(PATIENCE_SECONDS)
            assert b" 500 " in unsent.recv(100).split(b"\n")[0]
            big = run(server, "ruok", method="POST", body=b"x" * 1000)
            assert big.status == 405
            assert run(server, "ruok").json() == {"command": "ruok", "error": None}
            assert client.get("/a")[0] == b""
        assert not re.search(r"\bERROR\b|panicked", server.log_text()), server.log_text()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    binary = parser.parse_args().zkd
    began = time.monotonic()
    # Settings that both understand and that change nothing of what is compared.
    with Zkd(binary, extra=command()) as ours, Apache39Admin(extra=command()) as theirs:
        with visit(ours), visit(theirs):
            reports(ours, theirs)
        same("backups", backups(ours), backups(theirs))
        names = [name for name in run(ours, "monitor").json() if name not in ("version", "server_state", "command", "error")]
        snapshots_travel(binary, ours, theirs)
    with_tls = over_tls(binary)
    prometheus(binary, names)
    hostile(binary)
    taken_port(binary)
    members(binary)
    print("%d requests answered as by Apache, %d with TLS, %d metrics, in %.0f s" % (
        len(GETS) + len(RESETS), with_tls, len(names), time.monotonic() - began))


if __name__ == "__main__":
    sys.exit(main())
