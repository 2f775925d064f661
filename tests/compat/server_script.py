"""Is zkd, called zkServer.sh, what an operator knows: the same words, exit codes and pid files as with Apache's script?

    server_script.py --zkd target/release/zkd [--scripts DIR] [--verbose]

Debian's zkServer.sh and zkCleanup.sh run a 3.9 server, beside a zkEnv.sh that finds the configuration as that of a
release does; --scripts takes the scripts of a release as they are, with zkServer-initialize.sh. Equal are standard
output, standard error and exit codes, but for pids, ports, directories and line numbers of the script.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from certs import PASSWORD, Authority
from servers import Apache39, four_letter_word, free_port

DEBIAN = "/usr/share/zookeeper/bin"
JAVA_HOME = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("java") or "/usr/bin/java")))
SECONDS = 30
PID_FILE = "conf-zoo.cfg.data/zookeeper_server.pid"

ZK_ENV = """
if [ $# -gt 1 ] && [ "$1" = --config ]; then ZOOCFGDIR=$2; shift 2; fi
ZOOCFGDIR=${ZOOCFGDIR:-$ZOOBINDIR/../conf}
[ -f "$ZOOCFGDIR/zookeeper-env.sh" ] && . "$ZOOCFGDIR/zookeeper-env.sh"
ZOOCFG=$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}
[ -f "$ZOOCFGDIR/java.env" ] && . "$ZOOCFGDIR/java.env"
ZOO_LOG_DIR=${ZOO_LOG_DIR:-$ZOOBINDIR/../logs}
JAVA=$JAVA_HOME/bin/java
CLASSPATH=$ZOOCFGDIR:$(echo "$ZOOBINDIR"/../lib/*.jar | tr ' ' :)
cygwin=false
KILL=kill
"""


class Place:
    """A directory with bin, conf and logs, as a release has them."""

    def __init__(self, kind):
        self.kind = kind
        self.work = tempfile.mkdtemp(prefix="zk-test-")
        self.ports = {"PORT": free_port(), "OTHER": free_port(), "NOBODY": free_port()}
        self.seen = []
        self.pids = set()
        for name in ("bin", "conf", "other", "empty"):
            os.mkdir(self.path(name))
        self.config("conf/zoo.cfg", "clientPort=PORT", "4lw.commands.whitelist=srvr,mntr")
        self.config("other/zoo.cfg", "clientPort=OTHER")

    def path(self, name):
        return os.path.join(self.work, name)

    def config(self, name, *lines):
        lines = ("dataDir=%s.data" % self.path(name.replace("/", "-")), "clientPortAddress=127.0.0.1",
                 "admin.enableServer=false") + lines
        self.write(name, *lines)

    def write(self, name, *lines):
        text = "\n".join(lines).replace("DIR/", self.work + "/") + "\n"
        for word, port in self.ports.items():
            text = text.replace(word, str(port))
        with open(self.path(name), "w") as f:
            f.write(text)

    def run(self, words, script="zkServer.sh", **env):
        """(standard output, standard error, exit code), as they would be anywhere else."""
        base = {"PATH": os.environ["PATH"], "JAVA_HOME": JAVA_HOME, "USER": "operator", "HOSTNAME": "host"}
        base.update({name: value.replace("DIR/", self.work + "/") for name, value in env.items()})
        words = [self.path("bin/" + script)] + words.replace("DIR/", self.work + "/").split()
        ended = subprocess.run(words, env=base, cwd=self.path("empty"), stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=SECONDS)
        return self.plain(ended.stdout), self.plain(ended.stderr), ended.returncode

    def plain(self, text):
        text = text.replace(self.work, "DIR").replace("DIR/empty/../bin", "DIR/bin")
        for word, port in self.ports.items():
            text = re.sub(r"\b%d\b" % port, word, text)
        text = re.sub(r"(already running as process )\d+|(kill: )\(\d+\)", r"\1\2N", text)
        return re.sub(r"line \d+: ", "", text)

    def step(self, name, words, select=None, **env):
        result = self.run(words, **env)
        self.note(name, select(result) if select else result)

    def note(self, name, result):
        self.seen.append((name, result))

    def pid(self, name=PID_FILE):
        """What the pid file holds, a live process."""
        with open(self.path(name)) as f:
            text = f.read()
        assert text.isdigit(), "%s: pid file with %r" % (self.kind, text)
        os.kill(int(text), 0)
        self.pids.add(int(text))
        return int(text)

    def wait(self, word="PORT", command="srvr"):
        """The answer once there is a server."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                return four_letter_word(self.ports[word], command)
            except OSError:
                assert time.monotonic() < deadline, "%s: nobody serves" % self.kind
            time.sleep(0.02)        # polling a port that nobody announces

    def clean(self):
        for name in (PID_FILE, "run/pid"):
            if os.path.exists(self.path(name)):
                self.pid(name)
        for pid in filter(runs, self.pids):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.work, ignore_errors=True)


class ZkdPlace(Place):
    def __init__(self, zkd, _):
        super().__init__("zkd")
        for name in ("zkServer.sh", "zkCleanup.sh", "zkServer-initialize.sh"):
            os.symlink(zkd, self.path("bin/" + name))


class ApachePlace(Place):
    def __init__(self, _, scripts):
        super().__init__("Apache")
        os.mkdir(self.path("lib"))
        server = Apache39()
        for entry in server.class_path().split(":"):
            jars = [entry] if entry.endswith(".jar") else [
                os.path.join(entry[:-2], name) for name in os.listdir(entry[:-2]) if name.endswith(".jar")]
            for jar in filter(os.path.exists, jars):
                os.symlink(jar, self.path("lib/" + os.path.basename(jar)))
        server.clean()
        for name in ("zkServer.sh", "zkCleanup.sh", "zkServer-initialize.sh", "zkEnv.sh"):
            if os.path.exists(os.path.join(scripts, name)) and not (scripts == DEBIAN and name == "zkEnv.sh"):
                shutil.copy(os.path.join(scripts, name), self.path("bin"))
        if scripts == DEBIAN:
            with open(self.path("bin/zkEnv.sh"), "w") as f:
                f.write(ZK_ENV)


def runs(pid):
    """Whether it is there, and not only waits for its parent to hear of its end."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines_of(result, *beginnings):
    """Of standard output what begins so, with the exit code."""
    return [line for line in result[0].splitlines() if line.startswith(beginnings)], result[2]


def serve(place):
    """One server's life."""
    def version(result):
        words = re.sub(r"version \d+\.\d+\.\d+\S* \d{4}-\d\d-\d\d \d\d:\d\d UTC", "version V", result[0])
        return (words,) + result[1:]
    place.step("version", "version", version)
    place.step("no such action", "dance")
    place.step("no action", "")
    place.step("stop, nobody there", "stop")
    place.step("status, nobody there", "status")
    flags = {"SERVER_JVMFLAGS": "-Dzookeeper.4lw.commands.whitelist=ruok -Xss1m"}
    place.step("start", "start", **flags)
    first = place.pid()
    place.note("the file has the last word", place.wait(command="ruok"))
    place.step("start again", "start", **flags)
    assert place.pid() == first, "the pid file has changed"
    place.step("status", "status")
    place.step("restart", "restart", **flags)
    place.wait()
    second = place.pid()
    assert not runs(first) and second != first, "the old one still runs"
    os.kill(second, signal.SIGKILL)
    while runs(second):
        time.sleep(0.01)            # it is not a child of ours
    place.step("stop, the server killed", "stop", lambda result: (result[0], result[2]))
    place.note("pid file", os.path.exists(place.path(PID_FILE)))
    ended = subprocess.Popen(["true"])
    ended.wait()
    place.write(PID_FILE, str(ended.pid))
    place.step("stop, nobody of that pid", "stop")
    place.note("out file", sorted(name for name in os.listdir(place.path("logs")) if name.endswith(".out")))


def elsewhere(place):
    """Another directory of configurations, another pid file, other settings."""
    place.write("other/zookeeper-env.sh",
                "# where: C:\\", "export ZOO_LOG_DIR=\"DIR/said\"", "ZOOPIDFILE='DIR/run'/pid")
    place.write("other/java.env", "WORDS=srvr,ruok",
                "export SERVER_JVMFLAGS=\"-Dzookeeper.4lw.commands.whitelist=${WORDS} $SERVER_JVMFLAGS\"")
    place.step("start in another directory", "--config DIR/other start")
    pid = place.pid("run/pid")
    place.note("system property", place.wait("OTHER", "ruok"))
    place.note("no other pid file", os.path.exists(place.path("other-zoo.cfg.data/zookeeper_server.pid")))
    place.note("out file there", sorted(name for name in os.listdir(place.path("said")) if name.endswith(".out")))
    place.step("status there", "--config DIR/other status")
    place.step("status by ZOOCFGDIR", "status", ZOOCFGDIR="DIR/other")
    place.step("status by the path", "status DIR/other/zoo.cfg")
    place.step("stop there", "--config DIR/other stop")
    assert not os.path.exists(place.path("run/pid")), "a pid file is left"
    assert place.kind != "zkd" or not runs(pid), "it said STOPPED and runs"


def ports(place):
    """Where status finds the port; and what comes before anything is done."""
    wanted = ("Client", "myid", "Unable", "Error")
    for name, *lines in (
            ("own", "server.2=127.0.0.1:1:2;127.0.0.1:NOBODY"), ("own6", "server.2=a:1:2:observer;[::1]:NOBODY"),
            ("port", "server.1=h:1:2;7", "server.2=h:1:2;NOBODY"), ("dynamic", "dynamicConfigFile=DIR/conf/members"),
            ("secure", "server.1=h:1:2", "secureClientPort=NOBODY"), ("none", "server.1=h:1:2")):
        place.write("conf/members", "server.2=h:1:2;127.0.0.1:NOBODY")
        place.write("conf/%s.cfg" % name, "dataDir=DIR/%s" % name, *lines)
        os.mkdir(place.path(name))
        place.write(name + "/myid", "2")
        place.step("port: " + name, "status %s.cfg" % name, lambda result: lines_of(result, *wanted))
    place.write("conf/nameless.cfg", "dataDir=DIR/nameless", "server.1=h:1:2;NOBODY")
    place.step("port: no myid", "status", lambda result: lines_of(result, *wanted), ZOOCFG="nameless.cfg")
    place.step("JMX off", "dance", JMXDISABLE="true")
    place.write("conf/missing.cfg", "dataDir=DIR/missing", "clientPort=NOBODY")
    place.step("no data directory", "start missing.cfg", ZOO_DATADIR_AUTOCREATE_DISABLE="true")
    os.makedirs(place.path("missing/version-2"))
    place.write("conf/missing.cfg", "dataDir=DIR/missing", "dataLogDir=DIR/nothing", "clientPort=NOBODY")
    place.step("no log directory", "start missing.cfg", ZOO_DATADIR_AUTOCREATE_DISABLE="true")

    def command(result):
        return result[0].split(" > ")[-1], "zoo.cfg\"" in result[0], result[1], result[2]
    place.step("print-cmd", "print-cmd", command)


def cleanup(place):
    """zkCleanup.sh, in a dataDir alone and with a dataLogDir."""
    for name, log_dir in (("one", "one"), ("two", "two-logs")):
        lines = ["dataDir=DIR/%s" % name] + (["dataLogDir=DIR/%s" % log_dir] if log_dir != name else [])
        os.makedirs(place.path("clean-" + name))
        place.write("clean-%s/zoo.cfg" % name, *lines)
        for at, directory in (("snapshot", name), ("log", log_dir)):
            os.makedirs(place.path(directory + "/version-2"), exist_ok=True)
            for zxid in range(1, 8):
                file = place.path("%s/version-2/%s.%x" % (directory, at, zxid * 16 + (at == "log")))
                whole = zxid != 6
                with open(file, "wb") as f:
                    f.write(b"ZKSN\0\0\0\2" + b"\xff" * 8 + b"\0" * 100 + (b"\0\0\0\1/" if whole else b""))
                os.utime(file, (1700000000 + zxid * 50000, 1700000000 + zxid * 50000))
        for words in ("-n 2", "-n x", "", "-n 3"):
            out, error, code = place.run(words, "zkCleanup.sh", ZOOCFGDIR="DIR/clean-%s" % name, TZ="UTC")
            out = sorted(line for line in out.splitlines() if line.startswith("Removing"))
            error = [line for line in error.splitlines() if not line.startswith(("[main]", "SLF4J"))]
            place.note("cleanup of %s: %s" % (name, words), (out, error, code))
        for directory in (name, log_dir):
            place.note("left in " + directory, sorted(os.listdir(place.path(directory + "/version-2"))))


def initialize(place):
    """zkServer-initialize.sh; what it leaves. As root."""
    script = "zkServer-initialize.sh"
    if not os.path.exists(place.path("bin/" + script)):
        return
    os.makedirs(place.path("fresh"))
    place.write("fresh/zoo.cfg", "dataDir=DIR/new", "dataLogDir=DIR/new-logs", "clientPort=NOBODY")

    def left():
        return sorted(os.path.relpath(os.path.join(root, name), place.work) for directory in ("new", "new-logs")
                      for root, dirs, files in os.walk(place.path(directory)) for name in dirs + files)
    for at, words in enumerate(("", "", "--force --myid=7", "--configfile DIR/none.cfg",
                                "--configfile=DIR/conf/zoo.cfg --myid 3")):
        result = place.run(words, script, ZOOCFGDIR="DIR/fresh")
        place.note("initialize %d" % at, (result, left()))
    with open(place.path("new/myid")) as f:
        place.note("myid", f.read())
    # What is mounted cannot be removed.
    for name in ("new", "new-logs"):
        subprocess.run(["mount", "-t", "tmpfs", "none", place.path(name + "/version-2")], check=True)
    try:
        for name in ("new", "new-logs"):
            os.mkdir(place.path(name + "/version-2/lost"))
            place.write(name + "/version-2/log.1", "")
        result = place.run("--force --myid=7", script, ZOOCFGDIR="DIR/fresh")
        place.note("initialize, mounted", result)
        assert left() == ["new-logs/version-2", "new/initialize", "new/myid", "new/version-2"], (place.kind, left())
    finally:
        for name in ("new", "new-logs"):
            subprocess.run(["umount", place.path(name + "/version-2")], check=True)
    for words in ("--dance", "--help", "--force=false --myid=9", "--force=", "--help=x", "--myid="):
        out, error, code = place.run(words, script, ZOOCFGDIR="DIR/fresh")
        out = [line for line in out.splitlines() if "Unknown" in line]
        place.note("initialize " + words, (out, error, code, left()))
        with open(place.path("new/myid")) as f:
            assert f.read() == "7\n", "%s: %s has made everything anew" % (place.kind, words)


def told(place, pid, *signals):
    """Signals that a server goes on after; the last one, SIGQUIT, is logged."""
    with open("/proc/%d/fd/2" % pid) as f:
        f.seek(0, os.SEEK_END)
        for number in signals + (signal.SIGQUIT,):
            os.kill(pid, number)
        deadline = time.monotonic() + SECONDS
        while "SIGQUIT" not in f.read():
            assert runs(pid) and time.monotonic() < deadline, "it does not go on"
            time.sleep(0.01)        # it is not a child of ours
    place.wait("NOBODY")


def outlives(place):
    """A daemon goes on when the terminal goes away that it was started from."""
    master, slave = os.openpty()
    place.config("conf/tty.cfg", "clientPort=NOBODY")
    words = ["setsid", "--ctty", "--wait", place.path("bin/zkServer.sh"), "start", "tty.cfg"]
    started = subprocess.run(words, stdin=slave, stdout=slave, stderr=slave, timeout=SECONDS)
    os.close(slave)
    os.close(master)
    pid = place.pid("conf-tty.cfg.data/zookeeper_server.pid")
    assert started.returncode == 0 and os.getsid(pid) == pid, "it belongs to the terminal"
    place.wait("NOBODY")
    told(place, pid, signal.SIGHUP)
    assert place.run("stop tty.cfg")[0] == "Stopping zookeeper ... STOPPED\n" and not runs(pid), "it does not stop"


def fails(place):
    """What zkd says of a server that ends at once: Java takes longer than the script waits."""
    ended = place.run("start none.cfg")
    assert ended[0] == "Starting zookeeper ... FAILED TO START\n" and ended[2] == 1 and "none.cfg" in ended[1], ended
    place.config("conf/bad.cfg", "clientPort=NOBODY", "tickTime=soon")
    out, _, code = place.run("start bad.cfg")
    assert (out, code) == ("Starting zookeeper ... FAILED TO START\n", 1), (out, code)
    with open(place.path("logs/zookeeper-operator-server-host.out")) as f:
        said = f.read()
    assert "tickTime" in said and "soon" in said, "nobody says why: %r" % said
    place.config("conf/sound.cfg", "clientPort=NOBODY")
    words = [place.path("bin/zkServer.sh"), "start-foreground", "sound.cfg"]
    with open(place.path("logs/foreground"), "w") as log:
        server = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        assert "Mode: standalone" in place.wait("NOBODY"), "in the foreground nobody serves"
        _, error, code = place.run("--force --configfile DIR/conf/sound.cfg", "zkServer-initialize.sh")
        assert code == 1 and "in use" in error, (code, error)
        told(place, server.pid)
        server.send_signal(signal.SIGHUP)
        assert server.wait(SECONDS) == 0, "ended with %s" % server.returncode
    finally:
        server.kill()


def secure(place):
    """status where only a port with TLS is: with what the server has, wherever that is said, or CLIENT_JVMFLAGS."""
    authority = Authority(place.work)
    client, p12 = authority.issue("client", "/CN=client"), authority.pkcs12(authority.issue("server", "/CN=server"))

    def flags(**stores):
        return " ".join("-Dzookeeper.ssl.%s=%s" % (key.replace("_", "."), value) for key, value in stores.items())
    trust = flags(trustStore_location=authority.pem)
    own = "%s %s" % (trust, flags(keyStore_location=p12, keyStore_password=PASSWORD, keyStore_type="PKCS12",
                                  trustStore_type="PEM"))
    theirs = "%s %s" % (trust, flags(keyStore_location=client))
    found = "Client port found: NOBODY. Client address: localhost. Client SSL: true.\n"
    for client_auth, unknown in (("need", "certificate"), ("none", None)):
        place.write("conf/secure.cfg", "dataDir=DIR/secure-%s" % client_auth, "secureClientPort=NOBODY",
                    "ssl.clientAuth=" + client_auth, "admin.enableServer=false")
        place.run("start secure.cfg", SERVER_JVMFLAGS=own)
        place.pid("secure-%s/zookeeper_server.pid" % client_auth)
        deadline = time.monotonic() + SECONDS
        while place.run("status secure.cfg", SERVER_JVMFLAGS=own)[2]:
            assert time.monotonic() < deadline, place.run("status secure.cfg", SERVER_JVMFLAGS=own)
            time.sleep(0.05)        # nobody announces that it serves
        for name, failure, env in (
                ("both", None, {"SERVER_JVMFLAGS": own, "CLIENT_JVMFLAGS": theirs}),
                ("nothing", "keyStore.location", {}),
                ("client", None, {"CLIENT_JVMFLAGS": theirs + " -Dzookeeper.client.secure=true"}),
                ("trust", unknown, {"CLIENT_JVMFLAGS": trust}),
                ("no key", "/no", {"SERVER_JVMFLAGS": own, "CLIENT_JVMFLAGS": flags(keyStore_location="/no.pem")})):
            out, error, code = place.run("status secure.cfg", **env)
            out = out[out.find("Client port found: "):]
            said = "Error contacting service. It is probably not running.\n" if failure else "Mode: standalone\n"
            assert (out, code) == (found + said, 1 if failure else 0), (client_auth, name, out, error)
            assert (failure or "") in error.lower() or failure in error, (client_auth, name, error)
            assert bool(failure) == ("zkd:" in error), (client_auth, name, error)
        place.run("stop secure.cfg")


def live(kind, zkd, scripts):
    """All that this kind of server says, part by part."""
    place = kind(zkd, scripts)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            parts = [pool.submit(part, place) for part in (cleanup, elsewhere)]
            serve(place)
            ports(place)
            initialize(place)
            for part in parts:
                part.result()
        if place.kind == "zkd":
            outlives(place)
            fails(place)
            secure(place)
        return dict(place.seen)
    finally:
        place.clean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    parser.add_argument("--scripts", default=DEBIAN, help="the bin directory of a release")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    zkd = os.path.abspath(args.zkd)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        kinds = [pool.submit(live, kind, zkd, args.scripts) for kind in (ZkdPlace, ApachePlace)]
        ours, theirs = (kind.result() for kind in kinds)
    different = 0
    # Only a release has zkServer-initialize.sh.
    names = [name for name in ours if name in theirs or not name.startswith(("initialize", "myid"))]
    for name in names:
        if args.verbose:
            print("%s: %s" % (name, theirs.get(name)))
        if ours[name] != theirs.get(name):
            different += 1
            print("%s:\n  Apache %s\n  zkd    %s" % (name, theirs.get(name), ours[name]))
    print("%d steps beside Apache's scripts, %d different" % (len(names), different))
    return 1 if different or len(names) < len(theirs) or len(names) < 40 else 0


if __name__ == "__main__":
    sys.exit(main())
