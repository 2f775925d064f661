"""Which servers do kazoo's own tests talk to? Those that ensemble.py starts, instead of the cluster kazoo builds itself.

A pytest plug-in (`pytest -p own_servers`). kazoo's harness keeps its own get_global_cluster(), session expiry and
connection loss (those are the client's doing); only the two classes below it are replaced: ManagedZooKeeper by
OwnServer, ZookeeperCluster by OwnCluster. As with kazoo's, stop() keeps the data, and destroy(), which runs after every
test class, removes it.

Environment:
    KAZOO_SUITE_SERVER      "zkd" or "apache-3.8.0"
    KAZOO_SUITE_ZKD         the zkd binary
    KAZOO_SUITE_RESULTS     a file that gets one JSON object for every test, as soon as the test has ended
    ZOOKEEPER_CLUSTER_SIZE  kazoo's own: how many servers
"""
import json
import os
import sys
import tempfile
import types

# kazoo.testing.common imports these to make certificates: certs.py does that here, and of a newer version, which zkd wants.
for _name in ("OpenSSL", "jks"):
    sys.modules.setdefault(_name, types.ModuleType(_name))

import certs                                        # noqa: E402
import ensemble                                     # noqa: E402
import servers                                      # noqa: E402
import kazoo.testing.common as common               # noqa: E402
import kazoo.testing.harness as harness             # noqa: E402


class ApacheWithNetty(servers.Apache380):
    """As kazoo's own servers. With NIO, 3.8.0 leaves a client unanswered that comes while the server starts."""

    def config(self):
        return {**super().config(), "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory"}


def zoo_cfg_keys(configuration_entries, java_system_properties):
    """kazoo's configuration lines, and its -Dzookeeper.x=y options, as keys of zoo.cfg."""
    keys = dict(entry.strip().split("=", 1) for entry in configuration_entries)
    for option in java_system_properties:
        name, value = option.split("=", 1)
        if not name.startswith("-Dzookeeper."):
            raise ValueError("no key of zoo.cfg for " + option)
        keys[name[len("-Dzookeeper."):]] = value
    return keys


class OwnServer:
    """What kazoo's tests use of ManagedZooKeeper, on top of ensemble.Member."""

    def __init__(self, cluster, member):
        self.cluster = cluster
        self.member = member
        self.has_data = self.running = False

    def run(self):
        """Starts the process. A server that is alone serves then; others need each other for that."""
        if self.running:
            return
        if not self.has_data:
            self.member.configure([other.member for other in self.cluster] if len(self.cluster) > 1 else [])
            self.has_data = True
        self.running = True
        self.member.launch()
        if len(self.cluster) == 1:
            self.member.server.wait_until_serving()

    def stop(self):
        """Ends the process; the data stays."""
        if self.running:
            self.member.stop()
            self.member.server.log.close()
            self.running = False

    def destroy(self):
        self.stop()
        self.member.server.clean()
        self.has_data = False

    reset = destroy

    @property
    def address(self):
        return "%s:%d" % (self.member.host, self.member.port)

    @property
    def client_port(self):
        return self.member.port

    @property
    def secure_client_port(self):
        return int(self.member.server.extra["secureClientPort"])

    @property
    def secure_address(self):
        return "%s:%d" % (self.member.host, self.secure_client_port)

    def get_logs(self, num_lines=100):
        return self.member.log_text().splitlines()[-num_lines:] if self.has_data else []


class OwnCluster:
    """A ZookeeperCluster. As with kazoo's, every server has a port for TLS; other constructor arguments have no meaning here."""

    def __init__(self, size=1, configuration_entries=(), java_system_properties=(), jaas_config=None, **_):
        if jaas_config:
            raise ValueError("no SASL here")
        extra = zoo_cfg_keys(configuration_entries, java_system_properties)
        if size > 1:
            extra = {"initLimit": "10", "syncLimit": "5", "readonlymode.enabled": "true", **extra}
        self.members = [OwnServer(self, ensemble.Member(number, kind, extra)) for number in range(1, size + 1)]
        self.directory = tempfile.TemporaryDirectory(prefix="zk-test-")
        self.authority = certs.Authority(self.directory.name)
        self.client = self.authority.issue("client", "/CN=client")
        stores = certs.keys(self.authority.jks(self.authority.issue("server", "/CN=server")), self.authority.trust("JKS"))
        for member in self.members:
            member.member.server.extra.update(secureClientPort=str(ensemble.lasting_port()), **stores)

    def __getitem__(self, index):
        return self.members[index]

    def __iter__(self):
        return iter(self.members)

    def __len__(self):
        return len(self.members)

    def start(self):
        for member in self:
            member.run()
        for member in self:
            member.member.server.wait_until_serving()

    def stop(self):
        for member in self:
            member.stop()

    def terminate(self):
        for member in self:
            member.destroy()

    reset = terminate

    def get_ssl_client_configuration(self):
        """The contents of the files that a client needs."""
        found = {"client_cert": self.client, "client_key": self.client, "ca_cert": self.authority.pem}
        for name, path in found.items():
            with open(path, "rb") as f:
                found[name] = f.read()
        return found

    def get_logs(self):
        return [line for member in self for line in member.get_logs()]


def kind(**kwargs):
    if os.environ["KAZOO_SUITE_SERVER"] == "zkd":
        return servers.Zkd(os.environ["KAZOO_SUITE_ZKD"], **kwargs)
    return ApacheWithNetty(**kwargs)


common.ManagedZooKeeper = OwnServer
common.ZookeeperCluster = harness.ZookeeperCluster = OwnCluster


# ---- the results ----

def write_result(**result):
    with open(os.environ["KAZOO_SUITE_RESULTS"], "a") as f:
        f.write(json.dumps(result) + "\n")


def pytest_deselected(items):
    for item in items:
        write_result(test=item.nodeid, outcome="left out")


def pytest_runtest_logreport(report):
    """One result a test: that of its call, unless its set-up or tear-down says otherwise."""
    if report.when == "call" or report.outcome != "passed":
        outcome = report.outcome if report.when == "call" or report.outcome == "skipped" else "error"
        why = error = ""
        if report.outcome == "skipped":
            why = error = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        elif report.outcome == "failed":
            cluster = harness.CLUSTER
            why = report.longreprtext
            crash = getattr(report.longrepr, "reprcrash", None)
            error = (crash.message if crash else why).split("\n")[0]
            if cluster is not None:
                for member in cluster:
                    why += "\n---- a server's log ----\n" + "\n".join(member.get_logs(20))
        write_result(test=report.nodeid, outcome=outcome, seconds=round(report.duration, 2), error=error, why=why)


def pytest_collectreport(report):
    if report.failed:
        write_result(test=report.nodeid, outcome="error", seconds=0, error="not importable", why=report.longreprtext)
