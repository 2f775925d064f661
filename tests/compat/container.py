"""Is the container what users of Apache's image know: zoo.cfg and myid out of the variables, and a server that serves?

    container.py --zkd target/release/zkd

Runs `zkd container` as the image does, its directories in a temporary place. The lines of zoo.cfg are those that the
entry point of the official image writes, by hand; an Apache 3.9 server serves from the same file. As root, where there is
a user called zookeeper, servers have to run as that one.
"""
import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from servers import Apache39, four_letter_word, free_port
from wire import Client

SECONDS = 30
DEFAULT_LINES = """dataDir=DIR/data
dataLogDir=DIR/datalog
tickTime=2000
initLimit=5
syncLimit=2
autopurge.snapRetainCount=3
autopurge.purgeInterval=0
maxClientCnxns=60
standaloneEnabled=true
admin.enableServer=true
server.1=localhost:2888:3888;2181
"""
OTHER_VARIABLES = {
    "ZOO_SERVERS": "server.1=zoo1:2888:3888;2181 server.2=zoo2:2888:3888;2181  server.3=zoo3:2888:3888;2181",
    "ZOO_MY_ID": "3", "ZOO_TICK_TIME": "1000", "ZOO_INIT_LIMIT": "10", "ZOO_SYNC_LIMIT": "7", "ZOO_AUTOPURGE_PURGEINTERVAL": "24",
    "ZOO_AUTOPURGE_SNAPRETAINCOUNT": "4", "ZOO_MAX_CLIENT_CNXNS": "0", "ZOO_STANDALONE_ENABLED": "false",
    "ZOO_ADMINSERVER_ENABLED": "false", "ZOO_4LW_COMMANDS_WHITELIST": "srvr, mntr",
    "ZOO_CFG_EXTRA": "preAllocSize=65536 snapCount=100\nmetricsProvider.httpPort=7001"}
OTHER_LINES = """dataDir=DIR/data
dataLogDir=DIR/datalog
tickTime=1000
initLimit=10
syncLimit=7
autopurge.snapRetainCount=4
autopurge.purgeInterval=24
maxClientCnxns=0
standaloneEnabled=false
admin.enableServer=false
server.1=zoo1:2888:3888;2181
server.2=zoo2:2888:3888;2181
server.3=zoo3:2888:3888;2181
4lw.commands.whitelist=srvr, mntr
preAllocSize=65536
snapCount=100
metricsProvider.httpPort=7001
"""


def zookeeper():
    """Who servers run as: that user, if there is one and we may choose."""
    if os.getuid() != 0:
        return os.getuid()
    try:
        return pwd.getpwnam("zookeeper").pw_uid
    except KeyError:
        return 0


class Container:
    """Directories as in the image, and one process at a time."""

    def __init__(self, zkd, **variables):
        self.work = tempfile.mkdtemp(prefix="zk-test-")
        os.chmod(self.work, 0o755)
        self.zkd = shutil.copy(zkd, self.path("zkd"))
        for name in ("conf", "data", "datalog", "logs"):
            os.mkdir(self.path(name))
        os.chown(self.path("conf"), zookeeper(), -1)
        self.env = {"PATH": os.environ["PATH"], "ZOO_CONF_DIR": self.path("conf"), "ZOO_DATA_DIR": self.path("data"),
                    "ZOO_DATA_LOG_DIR": self.path("datalog"), "ZOO_LOG_DIR": self.path("logs"), **variables}
        self.process = None

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self, *command, **variables):
        return subprocess.run([self.zkd, "container", *command], env={**self.env, **variables}, cwd="/", text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)

    def script(self, name, *words):
        """Standard output, standard error and exit code, as `docker exec` runs it."""
        command = [name, *words]
        ended = subprocess.run(command, executable=self.zkd, env={**self.env, "ZOOCFGDIR": self.path("conf")}, cwd="/",
                               text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
        return ended.stdout.replace(self.work, "DIR"), ended.stderr, ended.returncode

    def start(self, *command, entry_point=("zkd", "container"), **variables):
        self.log = open(self.path("log"), "ab")
        command = [self.path(entry_point[0]), *entry_point[1:], *command]
        self.process = subprocess.Popen(command, env={**self.env, **variables}, cwd="/", stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

    def log_text(self):
        with open(self.path("log"), errors="replace") as f:
            return f.read()

    def wait(self, port, modes):
        """Until it serves in one of these modes; which one."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "ended with %s:\n%s" % (self.process.returncode, self.log_text())
            try:
                answer = four_letter_word(port, "srvr")
                for mode in modes:
                    if "Mode: %s\n" % mode in answer:
                        return mode
            except OSError:
                pass
            time.sleep(0.02)        # polling a port that nobody announces
        raise AssertionError("nobody serves:\n" + self.log_text())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0, "ended with %s:\n%s" % (self.process.returncode, self.log_text())

    def text(self, name):
        with open(self.path(name)) as f:
            return f.read().replace(self.work, "DIR")

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text.replace("DIR", self.work))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.work, ignore_errors=True)


def expect(what, is_, expected):
    assert is_ == expected, "%s: %r, not %r" % (what, is_, expected)


def files(zkd):
    """What is written, once."""
    for variables, lines, my_id in (({}, DEFAULT_LINES, "1\n"), (OTHER_VARIABLES, OTHER_LINES, "3\n"),
                                    ({"ZOO_TICK_TIME": "", "ZOO_MY_ID": ""},
                                     DEFAULT_LINES.replace("tickTime=2000", "tickTime="), "1\n")):
        with Container(zkd, **variables) as container:
            ended = container.run("sh", "-c", "echo run in $ZOOCFGDIR; exit 5")
            expect("exit code", (ended.returncode, ended.stderr), (5, ""))
            expect("output", ended.stdout, "run in %s\n" % container.path("conf"))
            for _ in range(2):
                expect("zoo.cfg", container.text("conf/zoo.cfg"), lines)
                expect("myid", container.text("data/myid"), my_id)
                expect("again", container.run("true", ZOO_MY_ID="9", ZOO_TICK_TIME="9").returncode, 0)
    with Container(zkd, ZOO_CONF_DIR="/nowhere/conf") as container:
        ended = container.run("true")
        assert ended.returncode == 1 and "/nowhere/conf/zoo.cfg" in ended.stderr, ended
    with Container(zkd) as container:
        assert container.run("no-such-program").returncode == 1


def serves(zkd):
    """One server out of variables, by the default command."""
    port, quorum, election, metrics = (free_port() for _ in range(4))
    variables = {
        "ZOO_SERVERS": "server.1=127.0.0.1:%d:%d;127.0.0.1:%d" % (quorum, election, port),
        "ZOO_ADMINSERVER_ENABLED": "false", "ZOO_4LW_COMMANDS_WHITELIST": "srvr, ruok",
        "JVMFLAGS": "-Xmx256m -Dzookeeper.maxCnxns=17",
        "ZOO_CFG_EXTRA": "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider "
                         "metricsProvider.httpHost=127.0.0.1 metricsProvider.httpPort=%d" % metrics}
    with Container(zkd, **variables) as container:
        container.start()
        container.wait(port, ["standalone"])
        expect("ruok", four_letter_word(port, "ruok"), "imok")
        assert "ucceed" not in four_letter_word(port, "conf"), "a word that is not on the list"
        with Client(port) as client:
            client.create("/n")
            client.end()
        expect("user", os.stat("/proc/%d" % container.process.pid).st_uid, zookeeper())
        os.symlink(container.zkd, container.path("zkServer.sh"))
        status = subprocess.run([container.path("zkServer.sh"), "status"], env={"ZOOCFGDIR": container.path("conf")},
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS)
        expect("status", (status.stdout, status.returncode),
               ("Client port found: %d. Client address: 127.0.0.1. Client SSL: false.\nMode: standalone\n" % port, 0))
        container.stop()
        assert os.listdir(container.path("datalog/version-2")), "no log where it belongs"
        # The other ways to say the same.
        container.start("zkd", "--config", container.path("conf/zoo.cfg"))
        container.wait(port, ["standalone"])
        container.stop()
        os.symlink(container.zkd, container.path("docker-entrypoint.sh"))
        container.start("zkServer.sh", "start-foreground", entry_point=["docker-entrypoint.sh"])
        container.wait(port, ["standalone"])
        expect("user", os.stat("/proc/%d" % container.process.pid).st_uid, zookeeper())
        container.stop()
        apache_serves(container.path("conf/zoo.cfg"), port)


def apache_serves(config, port):
    """The file is one for Apache, too; so are the data."""
    server = Apache39(port=port)
    with open(config) as f:
        text = f.read().split("metricsProvider")[0]      # its jar is not here
    with open(config, "w") as f:
        f.write(text)
    server.command = lambda _: Apache39.command(server, config)
    with server, Client(port) as client:
        client.get("/n")
        client.end()


def ensemble(zkd):
    """Three containers that know each other, as in every compose file."""
    ports = [[free_port() for _ in range(3)] for _ in range(3)]
    servers = " ".join("server.%d=127.0.0.1:%d:%d;127.0.0.1:%d" % (number, quorum, election, client)
                       for number, (client, quorum, election) in enumerate(ports, 1))
    containers = [Container(zkd, ZOO_SERVERS=servers, ZOO_MY_ID=str(number), ZOO_ADMINSERVER_ENABLED="false")
                  for number in (1, 2, 3)]
    try:
        for container in containers:
            container.start("zkServer.sh", "start-foreground")
        modes = [container.wait(place[0], ["leader", "follower"]) for container, place in zip(containers, ports)]
        expect("modes", sorted(modes), ["follower", "follower", "leader"])
    finally:
        for container in containers:
            container.__exit__()


def mounted(zkd):
    """A zoo.cfg that is there stays as it is, and counts."""
    for data_dir, other in (("", "data"), ("dataDir=DIR/data\n", "data"), ("dataDir=DIR/datalog\n", "datalog")):
        port = free_port()
        text = "%sclientPort=%d\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n" % (data_dir, port)
        with Container(zkd) as container:
            container.write("conf/zoo.cfg", text)
            container.write("conf/java.env", "SERVER_JVMFLAGS=-Xmx1g\n")
            container.start()
            container.wait(port, ["standalone"])
            expect("zkCleanup.sh", container.script("zkCleanup.sh", "-n", "3"), ("", "", 0))
            container.stop()
            if not data_dir:
                said = container.script("zkServer.sh", "stop")[0]
                assert "(could not find file DIR/data/zookeeper_server.pid)" in said, said
            expect("zoo.cfg", container.text("conf/zoo.cfg"), text)
            in_datalog = os.path.exists(container.path("datalog/version-2"))
            expect("in datalog", in_datalog, not data_dir or other == "datalog")
            assert os.path.exists(container.path(other + "/version-2")), "no data in " + other
            expect("warned", "not in" in container.log_text(), other == "datalog")


def told_early(zkd):
    """A signal counts before there is a server, also for process 1, which gets none without a handler."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Container(zkd) as container:
            os.mkfifo(container.path("zoo.cfg"))
            command = ["unshare", "--pid", "--fork", container.zkd, "--config", container.path("zoo.cfg")]
            outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(container.path("zoo.cfg"), "w"):      # opened once zkd reads it, which goes on until it is closed
                with open("/proc/%d/task/%d/children" % (outer.pid, outer.pid)) as f:
                    first = int(f.read())
                try:
                    os.kill(first, signal.SIGQUIT)
                    os.kill(first, number)
                    expect("told to end by %d" % number, outer.wait(SECONDS), 0)
                except subprocess.TimeoutExpired:
                    os.kill(first, signal.SIGKILL)
                    outer.wait()
                    raise


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    zkd = os.path.abspath(parser.parse_args().zkd)
    for part in (files, told_early, serves, ensemble, mounted):
        part(zkd)
    print("zoo.cfg, myid and servers as in Apache's image; servers ran as the user %d" % zookeeper())
    return 0


if __name__ == "__main__":
    sys.exit(main())
