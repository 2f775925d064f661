"""Starts, looks at and ends the servers that scripts/bench compares. Loopback only; every wait has an end."""

import copy
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

# Logs and snapshots that stay, of each kind: as with autopurge.
KEPT = 3
COMPAT = Path(__file__).resolve().parents[2] / "tests" / "compat"
sys.path.insert(0, str(COMPAT))
import servers as compat  # noqa: E402  (the tests know where Apache's jars are)

APACHE_MAIN = "org.apache.zookeeper.server.ZooKeeperServerMain"
APACHE_ENSEMBLE_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
# The Apache servers that can be measured, and the tests' servers that have the same jars.
APACHE = {"3.8.0": compat.Apache380, "3.9.5": compat.Apache39}
START_SECONDS_MAX = 600
STOP_SECONDS_MAX = 60
LOOK_AGAIN_SECONDS = 0.002
# Sessions of a measurement must not expire because it is slow.
SESSION_MS_MAX = 600_000
# A generator says within so long that it is ready, or has done what it was told to.
SAYS_SECONDS_MAX = 600

_taken = set()


def free_port(ports):
    """A free one of these, and not the same twice: a server that comes back finds its port free."""
    for _ in range(1000):
        port = random.SystemRandom().choice(ports)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port
    raise RuntimeError(f"no free port in {ports}")


def status_bytes(pid, field):
    """A memory field of /proc/PID/status, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in the status of process {pid}")


class Server:
    """One server process with a data directory of its own. `extra` holds further keys of zoo.cfg, `environment` further
    variables of the process."""

    name = ""

    def __init__(self, bench, directory, ports):
        self.bench = bench
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.data.mkdir(parents=True)
        self.port = free_port(ports)
        self.extra = {}
        self.environment = {}
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
            f"maxSessionTimeout={SESSION_MS_MAX}",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            *(f"{key}={value}" for key, value in self.extra.items()),
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
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=os.environ | self.environment)

    def wait(self, path):
        """Until it answers a read of `path`, or has ended."""
        waiting = self.start_bench(["wait", "--root", path, "--seconds", str(START_SECONDS_MAX)])
        while waiting.poll() is None and self.process.poll() is None:
            time.sleep(LOOK_AGAIN_SECONDS)
        if self.process.poll() is not None:
            waiting.kill()
        _, errors = waiting.communicate(timeout=START_SECONDS_MAX)
        if waiting.returncode != 0:
            log = (self.directory / "log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} does not start: {shlex.join(self.process.args)}\n{errors}\n{log}")

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """Ends the process, by its id: SIGTERM, then SIGKILL."""
        if self.process is None or self.process.poll() is not None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=STOP_SECONDS_MAX)

    def remove(self):
        """Stops it and takes its files away."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def purge(self):
        """Removes logs and snapshots that only a restart long ago would need: a disk is soon full of them."""
        for prefix in ("log.", "snapshot."):
            files = sorted(self.data.glob(f"version-2/{prefix}*"), key=lambda file: int(file.name.split(".")[1], 16))
            for file in files[:-KEPT]:
                file.unlink(missing_ok=True)

    def run_bench(self, args, seconds_max):
        """Runs the load generator against this server; its report."""
        command = self.bench_command(args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def start_bench(self, args):
        """Starts the load generator; `said` reads what it tells meanwhile, `cue` answers, finish_bench takes its report."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.bench_command(args), stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def start_holding(self, args):
        """The same for a mode that says when it has reached what it then holds; returns at that moment."""
        process = self.start_bench(args)
        said(process, "holding")
        return process

    def bench_command(self, args):
        pids = ",".join(map(str, self.pids))
        return [*self.bench, *args, "--server", self.address, "--server-pid", pids, "--json"]

    def word(self, word):
        """The answer to a four-letter word."""
        return compat.four_letter_word(self.port, word)

    def mode(self):
        """standalone, leader or follower."""
        return re.search(r"^Mode: (\S+)$", self.word("srvr"), re.M)[1]

    def snapshots(self):
        """Its snapshot files, the newest last."""
        found = [path for path in (self.data / "version-2").glob("snapshot.*") if re.fullmatch("[0-9a-f]+", path.suffix[1:])]
        return sorted(found, key=lambda path: int(path.suffix[1:], 16))

    def resident(self):
        return sum(status_bytes(pid, "VmRSS") for pid in self.pids)

    def peak(self):
        """The most resident memory since the start, or since reset_peak."""
        return sum(status_bytes(pid, "VmHWM") for pid in self.pids)

    def reset_peak(self):
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def live(self):
        """Bytes that live data takes, as kindly to the server as can be measured: its resident memory."""
        return self.resident()


def said(process, word, seconds_max=SAYS_SECONDS_MAX):
    """Waits for the next line of a generator, which must begin with this word; what stands behind it."""
    watchdog = threading.Timer(seconds_max, process.kill)
    watchdog.start()
    try:
        line = process.stderr.readline()
    finally:
        watchdog.cancel()
    if not line.startswith(word):
        process.kill()
        raise RuntimeError(f"{shlex.join(process.args)}\n{line}{process.communicate(timeout=30)[1][-2000:]}")
    return line.removeprefix(word).strip()


def cue(process):
    """Lets a generator that takes cues do the next thing."""
    process.stdin.write("\n")
    process.stdin.flush()


def no_more_cues(process):
    process.stdin.close()
    process.stdin = None


def kill_all(processes):
    """Ends those generators that have not ended."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=30)


def finish_bench(process, seconds_max):
    """The report of a generator that was started."""
    try:
        out, errors = process.communicate(timeout=seconds_max)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=30)
        raise
    if process.returncode != 0:
        raise RuntimeError(f"{shlex.join(process.args)}\n{errors[-2000:]}")
    return json.loads(out)


class Zkd(Server):
    name = "zkd"

    def __init__(self, *args, binary):
        super().__init__(*args)
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
    def __init__(self, *args, version, java_options):
        super().__init__(*args)
        self.name = f"Apache {version}"
        self.version = version
        self.java_options = java_options
        probe = APACHE[version]()
        self.class_path = probe.class_path()
        probe.clean()

    def command(self):
        log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        main = APACHE_ENSEMBLE_MAIN if self.ensemble_lines else APACHE_MAIN
        return ["java", *self.java_options, log, "-cp", self.class_path, main, self.write_config()]

    def wait(self, path):
        super().wait(path)
        said = self.word("srvr").split("\n", 1)[0]
        if self.version not in said:
            raise RuntimeError(f"asked for {self.name}, which says {said!r}")

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


class Several(Server):
    """Several servers of one kind as one: connections are dealt out to them, their CPU times are added."""

    def __init__(self, members):
        self.members = members
        self.bench = members[0].bench
        self.name = members[0].name
        self.directory = members[0].directory

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

    def live(self):
        return sum(member.live() for member in self.members)

    def stop(self):
        for member in self.members:
            member.stop()

    def purge(self):
        for member in self.members:
            member.purge()

    def remove(self):
        for member in self.members:
            member.remove()


class Ensemble(Several):
    def __init__(self, members, ports):
        super().__init__(members)
        lines = [f"server.{n}=127.0.0.1:{free_port(ports)}:{free_port(ports)}" for n in range(1, len(members) + 1)]
        for number, member in enumerate(members, 1):
            member.ensemble_lines = ["initLimit=60", "syncLimit=5", *lines]
            (member.data / "myid").write_text(f"{number}\n")

    def leader(self):
        return next(member for member in self.members if member.mode() == "leader")

    def followers(self):
        return [member for member in self.members if member.mode() == "follower"]

    def only(self, members):
        """The same ensemble, of which the generator knows these members."""
        some = copy.copy(self)
        some.members = members
        return some
