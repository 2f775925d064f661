"""Starts and stops ZooKeeper servers of each kind for tests: zkd, Debian's Apache ZooKeeper 3.8.0, and a 3.9.

    with Zkd("target/release/zkd") as server: ... server.port ...
    with Apache380(extra={"extendedTypesEnabled": "true"}) as server: ...

All take the keys of zoo.cfg. A server gets a free loopback port and, unless told otherwise, a fresh data directory.
"""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS = 60
STOP_SECONDS = 20

# zoo.cfg turns every unknown key into zookeeper.<key>; these the reference reads without the prefix.
BARE_PROPERTIES = ("jute.maxbuffer", "znode.container.checkIntervalMs", "znode.container.maxPerMinute",
                   "znode.container.maxNeverUsedIntervalMs", "readonlymode.enabled",
                   "zookeeper.multiAddress.enabled", "java.security.auth.login.config")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def four_letter_word(port, word, timeout=5):
    """The answer to a four-letter word, as text."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(word.encode())
        out = b""
        while True:
            chunk = s.recv(65536)
            if not chunk:
                return out.decode()
            out += chunk


class Server:
    """One server process. `name` says which kind it is."""
    name = "?"
    # A configuration that is there stays: the server writes in it.
    keeps_config = False

    def __init__(self, data_dir=None, extra=None, port=None):
        self.work = tempfile.mkdtemp(prefix="zk-test-")
        self.data_dir = data_dir or os.path.join(self.work, "data")
        self.port = port or free_port()
        self.extra = dict(extra or {})
        self.process = None

    def config(self):
        keys = {"tickTime": "2000", "dataDir": self.data_dir, "clientPort": str(self.port), "maxClientCnxns": "0",
                "admin.enableServer": "false", "4lw.commands.whitelist": "*"}
        keys.update(self.extra)
        return keys

    def command(self, config_file):
        raise NotImplementedError

    def start(self):
        self.launch()
        self.wait_until_serving()
        return self

    def launch(self):
        """Starts the process, and does not wait for anything."""
        os.makedirs(self.data_dir, exist_ok=True)
        config_file = os.path.join(self.work, "zoo.cfg")
        if not (self.keeps_config and os.path.exists(config_file)):
            with open(config_file, "w") as f:
                f.writelines("%s=%s\n" % pair for pair in self.config().items())
        self.log = open(os.path.join(self.work, "server.log"), "ab")
        self.process = subprocess.Popen(self.command(config_file), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, cwd=self.work)

    def wait_until_serving(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("%s ended with %s:\n%s" % (self.name, self.process.returncode, self.log_text()))
            try:
                if "Mode:" in four_letter_word(self.port, "srvr"):
                    return
            except OSError:
                pass
            time.sleep(0.02)        # polling a port that nobody announces
        raise RuntimeError("%s does not serve:\n%s" % (self.name, self.log_text()))

    def log_text(self):
        """All that it has logged; nothing if it has never run."""
        name = os.path.join(self.work, "server.log")
        if not os.path.exists(name):
            return ""
        with open(name, errors="replace") as f:
            return f.read()

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL: what a crash leaves behind."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; SIGKILL if that takes too long."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def clean(self):
        shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            print("---- log of %s ----\n%s" % (self.name, self.log_text()[-8000:]))
        self.clean()


class Zkd(Server):
    name = "zkd"

    def __init__(self, binary, **kwargs):
        super().__init__(**kwargs)
        self.binary = os.path.abspath(binary)

    def command(self, config_file):
        return [self.binary, "--config", config_file]


class Apache380(Server):
    name = "apache-3.8.0"
    main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
    jars = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "netty-all", "snappy-java",
            "metrics-core", "jline2", "commons-io", "commons-cli", "jackson-databind", "jackson-core",
            "jackson-annotations", "netty-buffer", "netty-codec", "netty-common", "netty-handler", "netty-resolver",
            "netty-transport", "netty-transport-native-epoll", "netty-transport-native-unix-common")
    # These say how learners are synchronised.
    told = (("LearnerHandler", "debug"), ("Learner", "info"))

    def class_path(self):
        return ":".join("/usr/share/java/%s.jar" % jar for jar in self.jars
                        if os.path.exists("/usr/share/java/%s.jar" % jar))

    def command(self, config_file):
        bare = ["-D%s=%s" % (key, self.extra[key]) for key in BARE_PROPERTIES if key in self.extra]
        told = ["-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.quorum.%s=%s" % pair for pair in self.told]
        return ["java", "-Xmx1g", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", *told,
                "-Dzookeeper.admin.enableServer=false", *bare, "-cp", self.class_path(), self.main, config_file]


class Apache39(Apache380):
    """The jars that scripts/install-test-deps has put aside, with Debian's logging."""
    name = "apache-3.9"
    directory = os.environ.get("ZKD_TEST_JARS") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "zkd-tests", "apache-3.9")

    def class_path(self):
        if not os.path.exists(os.path.join(self.directory, "complete")):
            raise RuntimeError("no jars of Apache ZooKeeper 3.9 in %s: run scripts/install-test-deps" % self.directory)
        return ":".join(["%s/*" % self.directory, "/usr/share/java/slf4j-api.jar", "/usr/share/java/slf4j-simple.jar",
                         "/usr/share/java/netty-transport-native-unix-common.jar"])      # for its TLS
