"""Does `zkd cli` say and do what zkCli.sh says and does?

    shell.py --zkd target/release/zkd

The same lines go to Apache's shell of 3.9 and to zkd's, each on a fresh zkd server, and to zkd's on Apache 3.8.0 and
3.9 servers: good commands and bad ones of every kind. What each line prints on both outputs is compared, and the events
in their order. So it is for reconfigurations, and for a session whose server goes away and comes back. Then some calls
with one command each, and what they end with.
"""
import argparse
import codecs
import concurrent.futures
import difflib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading

from ensemble import lasting_port
from servers import Apache39, Apache380, Zkd
from wire import Client

PATIENCE_SECONDS = 30
EXTRA = {"extendedTypesEnabled": "true"}
# Summer and winter, in a zone that has both.
ENVIRONMENT = dict(os.environ, LC_ALL="C.UTF-8", TZ="Europe/Berlin")
# Told behind each line: a command that changes nothing.
MARK = "printwatches"
MARK_LINE = re.compile(r"printwatches is (?:on|off)\n")
EVENT = re.compile(r"\nWATCHER::\n|\nWatchedEvent ([^\n]*)\n")
DATE = re.compile(r"((?:c|m)time = )(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d CES?T 20\d\d")

LINES = r"""
ls /
   ls    /
"ls" '/'
ls "/
set /a "
help
ls
ls -?
ls -q /
ls --s /
ls -- -s
ls - /
ls -s=3 /
ls /nope
ls nope
ls /nope/
ls /zookeeper -s
ls -sw /zookeeper
ls -R /
ls -R /nope
ls / watch
ls -s / watch
create
create /a
create /a again
get /a
get -x /a
get -b /a
create /b 'hello world' world:anyone:cdrwa
get /b
get "/b"
get -s /b
get -sx /b
get -b -s /b
get /b watch
get
get -z /b
set
set /b
set /b "a ""b c"" d"
get /b
set /b 'it"s'
get /b
set /b it's fine
get /b
set /b ''
get /b
get -x /b
get -b /b
stat /b
set /b 'é ß € 日本 😀'
get /b
get -x /b
get -b /b
set -s /b plain
set /b -s other -v 6
set -v 99 /b x
set -v
set -v -s /b x
set -b /b aGVsbG8gd29ybGQhIQBh
get /b
get -x /b
set -v9 /b x
set -v=9 /b x
get /b
create /é 'unicode'
ls /
get /é
create "/with blank" x
get '/with blank'
ls '/with blank'
delete "/with blank"
delete /é
create /a/../b x
create /a/./b x
create //a x
create /a/ x
create a x
create '' x
create /😀 x
create -s /seq- one
create -s /seq- two
create -s /b/ three
ls -R /b
ls -s /b
create -e /eph here
create -e -s /eph-s here
create -se /eph-s here
create /eph/child x
getEphemerals
getEphemerals /eph-
getEphemerals eph
getEphemerals /
create -c /box
create -c /box
create -c -s /box2
create -c -e /box2
create /box/inside x
create -t 100000 /ttl short
create -s -t 100000 /ttl- short
create -t abc /ttl2
create -t 0 /ttl2
create -t -7 /ttl2
create -t 1099511627775 /ttl2
create -t 1099511627776 /ttl3
create -t 5 -e /ttl2
create -t 5 -c /ttl2
create -t
getAllChildrenNumber /
getAllChildrenNumber /b
getAllChildrenNumber
getAllChildrenNumber /nope
getAllChildrenNumber nope
sync /
sync /nope
sync
sync nope
create /acl x world:anyone:cdrwa,ip:127.0.0.1:r
getAcl /acl
getAcl -s /acl
getAcl
getAcl /nope
getAcl /zookeeper/config
create /acl2 x world:anyone
create /acl2 x nothing,world:anyone:rz
getAcl /acl2
set /acl2 y
create /acl3 x foo:bar:r
create /acl3 x auth::cdrwa
create /acl3 x digest:u:cdrwa
setAcl /acl
setAcl /acl world:anyone:r
set /acl y
setAcl -s /acl world:anyone:cdrwa
delete /acl
create /acl x
setAcl -v 7 /acl world:anyone:r
setAcl -s -v 0 /acl ip:127.0.0.1:cdrwa
getAcl /acl
setAcl /nope world:anyone:r
setAcl nope world:anyone:r
setAcl /acl junk
create /tree x
create /tree/x x
create /tree/x/y x
create /tree/z x
ls -R /tree
setAcl -R /tree ip:127.0.0.1:cdrwa
getAcl /tree/x/y
setAcl -R -v 0 /tree world:anyone:cdrwa
setAcl -R /nope world:anyone:cdrwa
whoami
addauth
addauth digest user:secret
whoami
whoami something
create /mine x auth::cdrwa
getAcl /mine
set /mine y
create -e /mine/e x digest:user:gLLbkxpLUh8P9ZuqVbVRoqJvDlQ=:r
getAcl /mine/e
version x
delete
delete /nope
delete nope
delete /tree
delete -v 5 /tree/z
delete -v 0 /tree/z
delete /tree/x 3
delete /a 0
delete /a
delete -x /b
deleteall
deleteall /nope
deleteall nope
deleteall -b x /tree
deleteall /tree/ -b 2
deleteall /tree -b 2
deleteall /zookeeper/config
deleteall /box -b 0
deleteall /box -b -1
ls /
create /q x
create /q/one 1
create /q/two 22
setquota
setquota /q
setquota -n /q
setquota -n x /q
setquota -n 0 /q
setquota -n -1 /q
setquota -b -1 /q
setquota -n 2 -b 3 /q
setquota -n 99999999999 /q
setquota -n 5 /nope
setquota -n 5 /
setquota -n 5 q
setquota -n 5 /zookeeper/quota/q
setquota -n 2 /q
listquota /q
setquota -b 2 /q
setquota -N 100 /q
setquota -B 200 /q
listquota /q
setquota -b 5 /q/one
get /zookeeper/quota/q/zookeeper_limits
create /q/three 333
listquota /q
listquota
listquota /nope
delquota -n /q
listquota /q
delquota -n -b /q
delquota
delquota -B /q
delquota /q
delquota /q
listquota /q
ls -R /zookeeper/quota
setquota -b 5 /q/one
setquota -b 500 /q
delquota /q/one
delquota q
stat /q
stat
stat nope
stat /nope
stat /q watch
stat -w /later
create /later x
set /later y
stat -w /later
set /later z
set /later z
get -w /later
delete /later
create /later x
ls -w /q
create /q/w x
create /q/w2 x
ls -R -w /q
set /q/w y
delete /q/w
addWatch
addWatch -m nothing /p
addWatch /p extra
addWatch /r
addWatch -m PERSISTENT /p
create /p x
create /p/x x
set /p/x y
set /p y
create /r x
create /r/x x
create /r/x/y x
set /r/x/y z
deleteall /r
delete /p/x
delete /p
removewatches
removewatches /nope
removewatches nope
removewatches /p -c
removewatches /p -d
removewatches -p /p
removewatches /p -p
removewatches /r -l
create /r x
ls -w /r
removewatches /r -c
get -w /r
removewatches /r -d -l
get -w /r
removewatches /r -a
set /r y
printwatches off
get -w /r
set /r z
printwatches on
config
config -c
config -s
config extra -w
reconfig
reconfig -add
reconfig -add server.5=localhost:1:2;3 -members x
reconfig -file x -members x
reconfig -file /nowhere -remove 3
reconfig -v xyz -remove 3
reconfig -remove 3
history
redo
redo 4
redo 9999
redo -1
redo 3
nothing at all
printwatches nonsense
printwatches on
connect
getEphemerals
whoami
ls /q
connect {server}/q
ls /
delete /
create /below x
create -s /below- x
get -s /nope
ls -R /
get -w /below
set /below y
config -c
addWatch -m persistent_recursive /
set /below z
create /below/a
create /below/a/b
deleteall /below
create /deep x
connect {server}/q/deep
create /only x
deleteall / -b 0
ls /
set -b / aGVsbG8
get /
close
ls /
close
whoami
version
history
quit-not
connect
ls /
close
quit
""".strip("\n").split("\n")

ENSEMBLE_LINES = """
config
config -c
config -s
reconfig -add server.2=127.0.0.1:1:2:observer;3
config -c
reconfig -s -add server.2=127.0.0.1:1:2:OBSERVER;4
reconfig -v 7 -remove 2
reconfig -remove 2
reconfig -remove 1
reconfig -add server.2=127.0.0.1:1:2:participant;3
reconfig -add nonsense
reconfig -file {work}/members
config -c
reconfig -members server.1=nonsense
config -w
addauth digest a:b
reconfig -remove 3
version
""".strip("\n").split("\n")

RESTART_LINES = """
create /a x
create -e /e x
addauth digest u:p
create /mine x auth::cdrwa
get -w /a
stat -w /b
ls -w /
addWatch -m persistent_recursive /c
addWatch -m persistent /d
RESTART
whoami
set /mine y
getEphemerals
set /a y
set /a z
create /b x
create /c x
create /c/x x
create /d x
delete /b
connect
getEphemerals
RESTART
set /a x
UNTIL state:AuthFailed addauth nobody x
ls /
whoami
connect
whoami
create -e /e x
LOSE
ls /
connect
ls /
close
""".strip("\n").split("\n")

READ_ONLY_LINES = """
ls /
create /x
set /zookeeper x
get /zookeeper
getAcl /
whoami
close
""".strip("\n").split("\n")

# In place of lines for a shell, where only what it ends with is looked at.
UNTOLD = object()


class Shell:
    """One process of a shell, line by line."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=ENVIRONMENT)
        self.news = queue.Queue()
        self.text = {"out": "", "err": ""}
        for name in self.text:
            threading.Thread(target=self.read, args=(name, getattr(self.process, "std" + name)), daemon=True).start()

    def read(self, name, stream):
        decoder = codecs.getincrementaldecoder("utf-8")()
        for piece in iter(lambda: os.read(stream.fileno(), 65536), b""):
            self.news.put((name, decoder.decode(piece)))
        self.news.put((name, None))

    def wait(self, found):
        """Reads until `found()`."""
        while not found():
            name, text = self.news.get(timeout=PATIENCE_SECONDS)
            if text is None:
                raise EOFError("the shell has ended: %r" % self.text)
            self.text[name] += text

    def write(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def do(self, line):
        """What a line prints on both outputs."""
        self.write(line, MARK)
        self.wait(lambda: MARK_LINE.search(self.text["out"]))
        # What is left to be read of the other output was written before.
        self.mark_errors()
        before, self.text["out"] = MARK_LINE.split(self.text["out"], maxsplit=1)
        errors, self.text["err"] = self.text["err"], ""
        return before, errors

    def wait_event(self, text):
        """The events until one has this in it."""
        self.wait(lambda: any(text in event for event in EVENT.findall(self.text["out"])))
        events = [event for event in EVENT.findall(self.text["out"]) if event]
        self.text["out"] = EVENT.sub("", self.text["out"])
        return events

    def mark_errors(self):
        """Reads the other output up to a complaint that is provoked for it."""
        self.write("\x01")
        end = "Command not found: Command not found \x01\n"
        self.wait(lambda: self.text["err"].endswith(end))
        usage = self.text["err"].rindex("ZooKeeper -server")
        self.text["err"] = self.text["err"][:usage]

    def end(self):
        """Says quit; what is printed until the end, and the exit code."""
        self.write("quit")
        self.process.stdin.close()
        left = len(self.text)
        while left:
            name, text = self.news.get(timeout=PATIENCE_SECONDS)
            left -= text is None
            self.text[name] += text or ""
        return self.process.wait(PATIENCE_SECONDS)


def apache_command(*words):
    return ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", Apache39().class_path(),
            "org.apache.zookeeper.ZooKeeperMain", *words]


def tell(text, names, plain):
    """A text without what cannot be the same: `names` are what stands for ports."""
    for port, name in names.items():
        text = re.sub(r"\b%d\b" % port, name, text)
    text = DATE.sub(r"\1DATE", text)
    text = re.sub(r"(ephemeralOwner = 0x)[1-9a-f][0-9a-f]*", r"\1SESSION", text)
    text = re.sub(r"(CLI version: ).*", r"\1VERSION", text)
    if plain:
        text = re.sub(r"((?:c|m|p)Zxid = 0x|zxid: )-?[1-9a-f][0-9a-f]*", r"\1ZXID", text)
    return text


def ports(server):
    """What stands for the ports that a server's configuration names."""
    names = {server.port: "PORT"}
    for key, value in sorted(server.extra.items()):
        if key.startswith("server."):
            names.update((int(port), "%s-%d" % (key, at)) for at, port in enumerate(re.findall(r":(\d+)", value)))
    return names


def run(command, server, lines, plain=False, without=(), options=()):
    """One text per line with what it printed, and one with the events."""
    shell = Shell(command(*options, "-server", "127.0.0.1:%d" % server.port))
    told, events = [], []
    try:
        for line in lines:
            if line == "quit":
                break
            if line == "RESTART":
                server.stop()
                events += shell.wait_event("state:Disconnected")
                server.start()
                events += shell.wait_event("state:SyncConnected")
                continue
            if line == "LOSE":
                server.stop()
                shutil.rmtree(server.data_dir)
                server.start()
                # Behind the zxid that the client has seen a server does not talk to it.
                client = Client(server.port)
                for number in range(len(RESTART_LINES)):
                    client.create("/new-%d" % number, b"")
                events += shell.wait_event("state:Expired")
                continue
            if line.startswith("UNTIL "):
                _, event, line = line.split(" ", 2)
                shell.write(line)
                events += shell.wait_event(event)
                continue
            line = line.replace("{server}", "127.0.0.1:%d" % server.port).replace("{work}", server.work)
            out, errors = shell.do(line)
            events += [event for event in EVENT.findall(out) if event]
            if line == "config -c":
                # The reference takes the servers in the order of a hash table.
                out = re.sub(r"\S+$", lambda them: ",".join(sorted(them[0].split(","))), out, flags=re.M)
            if not line.startswith(tuple(without)):
                errors = re.sub("^(?=.)", "! ", errors, flags=re.M)
                told.append("> %s\n%s%s" % (line, EVENT.sub("", out), errors))
        code = shell.end()
        events += [event for event in EVENT.findall(shell.text["out"]) if event]
        told.append("the end: %d\n%s" % (code, EVENT.sub("", shell.text["out"])))
    finally:
        shell.process.kill()
        shell.process.wait()
    names = ports(server)
    return [tell(text, names, plain).replace(server.work, "WORK") for text in told + ["\n".join(events)]]


def differences(name, expected, found):
    count = 0
    for want, have in zip(expected, found, strict=True):
        if want != have:
            count += 1
            print("---- %s" % name)
            lines = difflib.unified_diff(want.split("\n"), have.split("\n"), "apache", "zkd", lineterm="", n=2)
            print("\n".join(lines))
    return count


class Ensemble(Zkd):
    """One server that may get others, or never has them."""

    def __init__(self, binary, others=()):
        super().__init__(binary)
        line = "127.0.0.1:%d:%d:participant;127.0.0.1:%d" % (lasting_port(), lasting_port(), self.port)
        self.extra = {"server.1": line, "initLimit": "10", "syncLimit": "5", "standaloneEnabled": "false",
                      "reconfigEnabled": "true", "skipACL": "yes", "readonlymode.enabled": "true"}
        for other in others:
            self.extra["server.%d" % other] = "127.0.0.1:%d:%d" % (lasting_port(), lasting_port())
        os.makedirs(self.data_dir)
        with open(os.path.join(self.data_dir, "myid"), "w") as f:
            f.write("1")
        with open(os.path.join(self.work, "members"), "w") as f:
            f.write("# members\nserver.1=%s\n" % line)


def calls(command, server):
    """What single commands print and end with."""
    client = Client(server.port)
    client.create("/one", b"1")
    client.create("/one/two", b"2")
    here = "127.0.0.1:%d" % server.port
    nobody = "127.0.0.1:%d" % lasting_port()
    configuration = os.path.join(server.work, "client.cfg")
    with open(configuration, "w") as f:
        f.write("# a client\nzookeeper.request.timeout = 20000\nzookeeper.client.secure=false\n")
    told = []
    for words, lines in [
        (["-server", here, "ls", "/"], None),
        (["-timeout", "5000", "-nothing", "-r", "-server", here, "get", "-s", "/one"], None),
        (["-server", here + "/one", "ls", "-R", "/"], None),
        (["-server", here, "set", "/one", "two  words \u20ac"], None),
        (["-client-configuration", configuration, "-waitforconnection", "-server", here, "get", "/one"], None),
        (["-server", nobody + "," + here, "-waitforconnection", "ls", "/"], None),
        (["-server", here, "ls", "/nope"], None),
        (["-server", here, "create"], None),
        (["-server", here, "nothing"], None),
        (["-server", nobody, "ls", "/"], None),
        (["-server", here], "ls /nope\n"),
        (["-server", here], "nothing\r\nquit\n"),
        (["-server", here], "nothing\nls /"),
        # The reference's shell ends with a trace of its stack here.
        (["-server", here, "delete", "-v", "x", "/one"], UNTOLD),
        (["-server", here, "addWatch", "one"], UNTOLD),
        (["-server", here, "set", "-b", "/one", "*"], UNTOLD),
        (["-timeout", "soon", "-server", here, "ls", "/"], UNTOLD),
    ]:
        typed = lines.encode() if isinstance(lines, str) else b""
        done = subprocess.run(command(*words), input=typed, capture_output=True, env=ENVIRONMENT,
                              timeout=PATIENCE_SECONDS)
        text = "$ %s\nended with %d\n" % (words, done.returncode)
        if lines is not UNTOLD:
            text += EVENT.sub("", done.stdout.decode()) + re.sub("^(?=.)", "! ", done.stderr.decode(), flags=re.M)
        told.append(tell(text.replace(nobody, "NOBODY").replace(server.work, "WORK"), {server.port: "PORT"}, True))
    return told


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    zkd = os.path.abspath(args.zkd)
    bad = 0

    def own(*words):
        return [zkd, "cli", *words]

    def both(name, server, what):
        """What Apache's shell does on a server of this kind; zkd's does the same on one of its own."""
        nonlocal bad
        def alone(command):
            with server() as one:
                return what(command, one)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            results = list(pool.map(alone, (apache_command, own)))
        bad += differences(name, *results)
        return results[0]

    def new():
        return Zkd(zkd, extra=EXTRA)

    expected = both("all lines on zkd", new, lambda command, server: run(command, server, LINES))
    # 3.8 does not know whoAmI, nor how to remove persistent watches alone.
    for kind, without in ((Apache39, ()), (Apache380, ("whoami", "removewatches -p", "removewatches /p -p"))):
        left_out = tuple("> " + line for line in without)
        told = [tell(text, {}, True) for text in expected if not text.startswith(left_out)]
        if kind is Apache380:
            told[-1] = re.sub(r"\n.* type:PersistentWatchRemoved path:/p .*", "", told[-1])
        with kind(extra=EXTRA) as server:
            found = run(own, server, LINES, True, without)
        bad += differences("all lines on %s" % kind.name, told, found)
    both("an ensemble", lambda: Ensemble(zkd), lambda command, server: run(command, server, ENSEMBLE_LINES))
    both("a server that was away", new, lambda command, server: run(command, server, RESTART_LINES))

    both("a read-only server", lambda: Ensemble(zkd, (2, 3)),
         lambda command, server: run(command, server, READ_ONLY_LINES, options=["-r"]))
    both("single commands", new, calls)
    lines = sum(map(len, (LINES, ENSEMBLE_LINES, RESTART_LINES, READ_ONLY_LINES)))
    print("%d lines, %d differences" % (lines, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
