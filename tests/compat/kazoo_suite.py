"""Do kazoo 2.11.0's own tests pass against zkd exactly where they pass against Apache ZooKeeper 3.8.0?

    python3 tests/compat/kazoo_suite.py --zkd target/release/zkd [--servers 3] [--only TEST]... [--serial] [--verbose]

Fetches kazoo's source package (its tests are only there) and what the tests need into a cache directory, and runs
them against one server of each kind, or against an ensemble of each, without SASL. Prints the counts, and every test whose outcome differs;
exits with 1 if one of those does not pass on zkd. Tests that fail on both must fail with the same error.
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KAZOO = "kazoo==2.11.0"
KAZOO_SHA256 = "57e7e6f69295c8f922511488eeb79680729e14bb8eb382d5cad83aa11345c36c"
NEEDED = ("pytest==9.2.0", "pytest-timeout==2.4.0", "objgraph==3.7.0", "gevent==26.9.0", "eventlet==0.41.3")
TEST_SECONDS = 60

# Tests that servers without SASL cannot run. The name is the beginning of pytest's.
LEFT_OUT = {
    "kazoo/tests/test_sasl.py": "needs SASL",
}
# Those that one server alone cannot run. TestReconfig, too, passes on ensembles only, but runs: one server has to
# refuse with the same error.
LEFT_OUT_ALONE = {
    "kazoo/tests/test_connection.py::TestReadOnlyMode":
        "stops two of three servers, so that the third becomes read-only",
    "kazoo/tests/test_client.py::TestClient::test_update_host_list":
        "stops one of three servers, and expects the client on another",
    "kazoo/tests/test_eventlet_handler.py::TestEventletClient::test_update_host_list": "likewise",
    "kazoo/tests/test_gevent_handler.py::TestGeventClient::test_update_host_list": "likewise",
}

BAD = ("failed", "error")


def prepare(cache):
    """Puts kazoo's source and its tests' packages under `cache`; answers both directories."""
    source = os.path.join(cache, KAZOO.replace("==", "-"))
    packages = os.path.join(cache, "packages")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    if not os.path.isdir(source):
        os.makedirs(cache, exist_ok=True)
        subprocess.run(pip + ["download", "--no-deps", "--no-binary", ":all:", "-d", cache, KAZOO], check=True)
        archive = source + ".tar.gz"
        with open(archive, "rb") as f:
            found = hashlib.sha256(f.read()).hexdigest()
        if found != KAZOO_SHA256:
            raise SystemExit("%s has SHA-256 %s, not %s" % (archive, found, KAZOO_SHA256))
        with tarfile.open(archive) as tar:
            tar.extractall(cache, filter="data")
    done = os.path.join(packages, "complete")
    if not os.path.exists(done):
        subprocess.run(pip + ["install", "--upgrade", "--target", packages, *NEEDED], check=True)
        with open(done, "w"):
            pass
    return source, packages


def left_out_of(size):
    return LEFT_OUT if size > 1 else {**LEFT_OUT, **LEFT_OUT_ALONE}


class Run:
    """kazoo's tests against servers of one kind: a pytest process, and what it wrote."""

    def __init__(self, name, zkd, source, packages, only, size):
        self.name = name
        self.results_file = tempfile.NamedTemporaryFile(prefix="kazoo-results-", suffix=".jsonl")
        self.output = tempfile.TemporaryFile()
        environment = dict(os.environ)
        environment.pop("CI", None)         # or kazoo would believe ZOOKEEPER_VERSION, and not ask the server
        environment.update(
            KAZOO_SUITE_SERVER=name, KAZOO_SUITE_ZKD=zkd, KAZOO_SUITE_RESULTS=self.results_file.name,
            ZOOKEEPER_VERSION="3.8.0", ZOOKEEPER_CLUSTER_SIZE=str(size), PYTHONDONTWRITEBYTECODE="1",
            JAVA_TOOL_OPTIONS="-Dfile.encoding=UTF-8",      # as kazoo: a digest's password is in the JVM's charset
            PYTHONPATH=os.pathsep.join((source, packages, HERE, os.path.join(HERE, "kazoo_harness"))))
        left_out = [arg for test in left_out_of(size) for arg in ("--deselect", test)]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "own_servers", "-p", "no:cacheprovider", "-o", "addopts=",
             "-o", "log_cli=false", "-o", "timeout=%d" % TEST_SECONDS, "--rootdir", source, *left_out,
             *(only or ["kazoo/tests"])],
            cwd=source, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def wait(self):
        self.process.wait()
        self.seconds = time.monotonic() - self.started
        self.results, self.left_out = {}, []
        with open(self.results_file.name) as f:
            for result in map(json.loads, f):
                if result["outcome"] == "left out":
                    self.left_out.append(result["test"])
                # A tear-down's error counts more than the call before it.
                elif self.results.get(result["test"], {}).get("outcome") not in BAD:
                    self.results[result["test"]] = result
        if self.process.returncode not in (0, 1) or not self.results:
            self.output.seek(0)
            raise SystemExit("%s: pytest ended with %s:\n%s"
                             % (self.name, self.process.returncode, self.output.read().decode(errors="replace")))
        return self

    def outcome(self, test):
        """The word for it, and the error or reason if there is one."""
        result = self.results.get(test, {"outcome": "not run", "error": ""})
        return result["outcome"], re.sub("0x[0-9a-f]+", "0x…", result["error"])     # no object's address

    def summary(self):
        counts = {}
        for result in self.results.values():
            counts[result["outcome"]] = counts.get(result["outcome"], 0) + 1
        words = ["%d %s" % (counts[word], word) for word in ("passed", "skipped", *BAD) if word in counts]
        return "%s: %s, %d left out, in %.0f s" % (self.name, ", ".join(words), len(self.left_out), self.seconds)


def worse(zkd, apache):
    """Is this outcome, with its error, on zkd worse than that on Apache? One that both fail has to fail alike."""
    return zkd[0] != "passed" and zkd != apache


def report(zkd, apache, verbose):
    """Prints the comparison; answers the number of tests that zkd does worse on."""
    worse_tests = 0
    for test in sorted(set(zkd.results) | set(apache.results)):
        ours, theirs = zkd.outcome(test), apache.outcome(test)
        if ours == theirs:
            if ours[0] != "passed":
                print("both     %s: %s %s" % (test, *ours))
            continue
        is_worse = worse(ours, theirs)
        worse_tests += is_worse
        print("%s  %s" % ("WORSE  " if is_worse else "differs", test))
        for run in (zkd, apache):
            print("             %s: %s" % (run.name, " ".join(filter(None, run.outcome(test)))))
            if verbose and run.results.get(test, {}).get("why"):
                print("        " + run.results[test]["why"].replace("\n", "\n        "))
    print("%s; %s" % (zkd.summary(), apache.summary()))
    return worse_tests


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True, help="the zkd binary")
    parser.add_argument("--servers", type=int, default=1, help="how many of each kind (%(default)s)")
    parser.add_argument("--only", action="append", default=[],
                        help="a test, as pytest names it: kazoo/tests/test_lock.py::...; may be repeated")
    parser.add_argument("--serial", action="store_true", help="run one kind's tests after the other's")
    parser.add_argument("--verbose", action="store_true", help="show the traceback, and the end of the server's log, where outcomes differ")
    parser.add_argument("--cache", default=os.path.join(tempfile.gettempdir(), "zkd-kazoo-suite"),
                        help="where kazoo and its tests' packages are kept (%(default)s)")
    args = parser.parse_args()

    source, packages = prepare(os.path.abspath(args.cache))
    runs = []
    for name in ("zkd", "apache-3.8.0"):
        runs.append(Run(name, os.path.abspath(args.zkd), source, packages, args.only, args.servers))
        if args.serial:
            runs[-1].wait()
    if not args.serial:
        for run in runs:
            run.wait()
    stale = [test for test in left_out_of(args.servers) if not args.only and not any(t.startswith(test) for t in runs[0].left_out)]
    for test in stale:
        print("LEFT_OUT names no test: " + test)
    sys.exit(1 if report(*runs, args.verbose) or stale else 0)


if __name__ == "__main__":
    main()
