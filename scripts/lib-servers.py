"""Starts, looks at and ends the servers that scripts/bench compares. Loopback only; every wait has an end."""

import json
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

APACHE_MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
APACHE_ENSEMBLE_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
START_SECONDS_MAX = 300


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def status_bytes(pid, field):
    """A memory field of /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in the status of process {pid}")


class Server:
    """One server process with a data directory of its own."""

    name = ""

    def __init__(self, bench, directory):
        self.bench = bench
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        self.port = free_port()
        self.process = None
        self.ensemble_lines = []

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    @property
    def pids(self):
        return [self.process.pid]

    def command(self):
        raise NotImplementedError

    def write_config(self):
        lines = [
            "tickTime=2000",
            f"dataDir={self.data}",
            f"clientPort={self.port}",
            "clientPortAddress=127.0.0.1",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            *self.ensemble_lines,
        ]
        path = self.directory / "zoo.cfg"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def start(self, path="/zookeeper"):
        """Starts it; seconds until it answered a read of `path`."""
        began = time.monotonic()
        self.launch()
        self.wait(path)
        return time.monotonic() - began

    def launch(self):
        command = self.command()
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, path):
        """Until it answers a read of `path`."""
        try:
            self.run_bench(["wait", "--root", path, "--seconds", str(START_SECONDS_MAX)], START_SECONDS_MAX + 10)
        except RuntimeError as error:
            log = (self.directory / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} does not start: {shlex.join(self.process.args)}\n{error}\n{log}") from error

    def stop(self):
        """Ends the process, by its id: SIGTERM, then SIGKILL."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=30)

    def run_bench(self, args, seconds_max):
        """Runs the load generator against this server; its report."""
        command = self.bench_command(args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def bench_command(self, args):
        pids = ",".join(map(str, self.pids))
        return [*self.bench, *args, "--server", self.address, "--server-pid", pids, "--json"]

    def resident(self):
        return status_bytes(self.pid, "VmRSS")

    def live(self):
        """Bytes that live data takes, as kindly to the server as can be measured: its resident memory."""
        return self.resident()


class Zkd(Server):
    name = "zkd"

    def __init__(self, bench, directory, binary):
        super().__init__(bench, directory)
        self.binary = binary

    def command(self):
        return [self.binary, "--config", self.write_config()]


class Floor(Server):
    """Canned answers from one thread, one fdatasync for each batch of writes: what no server can go below."""

    name = "floor"

    def command(self):
        sync = str(self.directory / "sync")
        return [*self.bench, "floor", "--listen", self.address, "--size", "1024", "--sync-file", sync]


class Apache(Server):
    name = "Apache"

    def __init__(self, bench, directory, java_options, class_path):
        super().__init__(bench, directory)
        self.java_options = java_options
        self.class_path = class_path

    def command(self):
        log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        main = APACHE_ENSEMBLE_MAIN if self.ensemble_lines else APACHE_MAIN
        return ["java", *self.java_options, log, "-cp", self.class_path, main, self.write_config()]

    def live(self):
        """The heap in use after a full collection; resident memory when there is no jcmd."""
        try:
            self.jcmd("GC.run")
            text = self.jcmd("GC.heap_info")
        except (OSError, subprocess.SubprocessError):
            return self.resident()
        used = re.findall(r"total \d+K, used (\d+)K", text)
        return sum(map(int, used)) * 1024

    def jcmd(self, word):
        command = ["jcmd", str(self.pid), word]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


class Ensemble(Server):
    """Several servers of one kind as one: connections are dealt out to them, their CPU times are added."""

    def __init__(self, members):
        self.members = members
        self.bench = members[0].bench
        self.name = members[0].name
        lines = [f"server.{n}=127.0.0.1:{free_port()}:{free_port()}" for n in range(1, len(members) + 1)]
        for number, member in enumerate(members, 1):
            member.ensemble_lines = ["initLimit=10", "syncLimit=5", *lines]
            (member.data / "myid").write_text(f"{number}\n")

    @property
    def address(self):
        return ",".join(member.address for member in self.members)

    @property
    def pid(self):
        return "+".join(str(pid) for pid in self.pids)

    @property
    def pids(self):
        return [member.pid for member in self.members]

    def launch(self):
        for member in self.members:
            member.launch()

    def wait(self, path):
        for member in self.members:
            member.wait(path)

    def stop(self):
        for member in self.members:
            member.stop()


def apache_version(class_path):
    """The version in the name of the ZooKeeper jar, or of a link beside it to the same file."""
    for part in filter(None, class_path.split(":")):
        jar = Path(part)
        same = [jar, *(other for other in jar.parent.glob("zookeeper-*.jar") if other.resolve() == jar.resolve())]
        for name in (path.name for path in same):
            found = re.fullmatch(r"zookeeper-(\d[\d.]*\d)\.jar", name)
            if found:
                return found.group(1)
    return "of unknown version"
