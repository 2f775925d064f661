"""Is SASL by DIGEST-MD5, for clients and between servers, what it is with Apache ZooKeeper 3.9?

    sasl.py --zkd target/release/zkd

The same clients, right and wrong in every way, on a zkd and on an Apache server: tokens by hand, kazoo, Apache's own client.
Who they are, what ACLs of the scheme sasl give them, what superUser, letAnySaslUserDoX, sessionRequireClientSASLAuth and
allowSaslFailedClients do, and what the servers make of the file with the passwords is the same. Then ensembles whose
servers show each other passwords: zkd and Apache in one, from no passwords to required ones server by server, and those
with wrong ones.
"""
import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError

import servers
from audit import EXTRA as AUDIT, Apache39Audit, lines
from certs import Authority, keys
from digest import FILE, MODULE, login_file, respond, section
from ensemble import Ensemble, apache, apache39, lasting_port, poll, zkd
from wire import Client, Refused, w

ALL = 31
PROVIDER = {"authProvider.1": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"}
# Apache 3.9.6 has no DIGEST-MD5 with it.
NO_FIPS = {"fips-mode": "false"}
USERS = {"bob": "bobsecret", "super": "adminsecret", "a b": 'x"y\\z', "a/h": "h", "bob@R": "r", "käthe": "grün",
         "日本": "日", "empty": ""}
IDS = ["bob", "", "a/b@c", "a@b@c", "a/b/c@d", "a/b", "x@", "@", "/@", "@a/b", "a\nb"]


def option(name, value):
    return '"%s"="%s"' % (name, value.replace("\\", "\\\\").replace('"', '\\"'))


def users(name="Server", known=None):
    return section(name, *(option("user_" + user, password) for user, password in (known or USERS).items()))


def token(client, data):
    """What becomes of a token: (error, next token), or `closed`."""
    client.send("sasl", w.buf(data))
    try:
        _, zxid, error, body = client.receive()
    except (EOFError, OSError):
        return "closed"
    assert zxid == 0
    return error, w.Decoder(body).buffer()


def identities(client):
    """Who the server takes it for; or why it does not say."""
    try:
        decoder = w.Decoder(client.call("whoAmI"))
    except Refused as refused:
        return refused.code
    except (EOFError, OSError):
        return "closed"
    return sorted((decoder.string(), decoder.string()) for _ in range(decoder.int()))


def code_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
        return 0
    except Refused as refused:
        return refused.code


def challenged(port):
    client = Client(port)
    error, challenge = token(client, b"")
    assert error == 0 and re.fullmatch(
        rb'realm="zk-sasl-md5",nonce="[A-Za-z0-9+/]{40}",charset=utf-8,algorithm=md5-sess', challenge), challenge
    return client, challenge


def login(port, user, password=None, edit=lambda response: response, **other):
    """A client with what has become of its response, and who it is then."""
    client, challenge = challenged(port)
    response, expected = respond(challenge, user, USERS[user] if password is None else password, **other)
    answer = token(client, edit(response))
    return client, ("right" if answer == (0, expected) else answer, identities(client))


def tokens(port):
    """Responses that are right, wrong, and odd."""
    seen = {user: login(port, user)[1] for user in USERS}
    seen["wrong"], seen["unknown"] = login(port, "bob", "no")[1], login(port, "nobody", "bobsecret")[1]
    seen["authzid"] = [login(port, "bob", authzid=one)[1] for one in ("bob", "alice", "")]
    for name, other in {
            "charset": {"charset": b"iso-8859-1"}, "no charset": {"charset": None}, "nc": {"nc": b"00000002"},
            "no nc": {"nc": None}, "integrity": {"qop": b"auth-int"}, "no qop": {"qop": None}, "no realm": {"realm": b""},
            "no cnonce": {"cnonce": None}, "nonce": {"nonce": b'"x"'}, "no uri": {"digest_uri": None},
            "uri": {"uri": b"zookeeper/other"}, "capitals": {"uri": b"ZooKeeper/ZK-sasl-md5"}, "no user": {"username": None},
            "twice": {"Username": b'"bob"'}, "more": {"stale": b"true"}, "capital digits": {"response": b"A" * 32}}.items():
        seen[name] = login(port, "bob", **other)[1]
    for name, edit in {
            "blanks": lambda text: b"  , ," + text.replace(b",", b" ,\r\n\t") + b" ",
            "no commas": lambda text: text.replace(b",", b" "),
            "spaced": lambda text: text.replace(b"=", b" = ", 1), "lone name": lambda text: text + b",x",
            "no value": lambda text: text + b",x=", "open": lambda text: text + b',x="y',
            "no name": lambda text: text + b",=x",
            "escaped": lambda text: text.replace(b'"bob"', b'"\\b\\o\\b"'), "bare": lambda t: t.replace(b'"bob"', b"bob"),
            "long": lambda text: text + b",x=" + b"y" * (4097 - len(text) - 3), "nothing": lambda text: b"",
            "full": lambda text: text + b",x=" + b"y" * (4096 - len(text) - 3),
            "garbage": lambda text: b"\0\xff\xfe"}.items():
        seen[name] = login(port, "bob", edit=edit)[1]
    client, challenge = challenged(port)
    seen["once more"] = [token(client, respond(challenge, "bob", "bobsecret")[0])[0], token(client, b""), identities(client)]
    client, challenge = challenged(port)
    seen["second try"] = [token(client, b"x" * 5000), token(client, respond(challenge, "bob", "bobsecret")[0])[:1]]
    client = Client(port)
    seen["null"] = [token(client, None), identities(client)]
    client = Client(port)
    seen["first token"] = token(client, b"abc")[0]
    client = Client(port)
    seen["auth packet"] = [code_of(client.auth, b"bob", "sasl"), identities(client)]
    return seen


def acls(port):
    """What ids there may be, and whom they let in."""
    nobody = Client(port)
    seen = {"ids": [code_of(nobody.create, "/id-%d" % at, acl=[(ALL, "sasl", one)]) for at, one in enumerate(IDS)]}
    null = w.ustr("/null") + w.buf(b"") + w.i32(1) + w.i32(ALL) + w.ustr("sasl") + w.ustr(None) + w.i32(0)
    seen["null"] = code_of(nobody.call, "create", null)
    them = {user: login(port, user)[0] for user in ("bob", "super", "a/h", "bob@R")}
    for path, entry in (("/bob", ("sasl", "bob")), ("/any", ("sasl", "anybody")), ("/digest", ("digest", "a:b"))):
        code_of(nobody.create, path, acl=[(ALL, *entry)])
    seen["mine"] = code_of(them["a/h"].create, "/mine", acl=[(ALL, "auth", "")])
    if seen["mine"] == 0:
        seen["acl"] = them["a/h"].acl("/mine")
    for path in ("/bob", "/any", "/digest", "/mine"):
        seen[path] = {user: code_of(client.get, path) for user, client in (*them.items(), ("nobody", nobody))}
    return seen


def few(port):
    """What matters where a few things are configured."""
    seen = {"known": [login(port, user)[1] for user in USERS], "wrong": login(port, "bob", "no")[1],
            "unknown": login(port, "nobody", "")[1], "not read": login(port, "bob", edit=lambda text: b"x=")[1]}
    seen["nobody"] = code_of(Client(port).get, "/")
    client, challenge = challenged(port)
    seen["twice"] = [token(client, b"no"), token(client, respond(challenge, "bob", "bobsecret")[0]), identities(client)]
    return seen


def super_passwords(port):
    return [login(port, "super", password)[1] for password in ("adminsecret", "property")]


def ensembles(port):
    """Clients that say which ensemble they mean."""
    seen = {}
    for name in (None, b"", b"a", b"b", b" b", b"c", b"a,b"):
        client = Client(port)
        client.send("auth", w.i32(0) + w.ustr("ensemble") + w.buf(name))
        try:
            seen[str(name)] = client.receive()[:3], identities(client)
        except (EOFError, OSError):
            seen[str(name)] = "closed"
    client = Client(port)
    seen["an ACL"] = [code_of(client.create, "/ensemble", acl=[(ALL, "ensemble", one)]) for one in ("a", "")]
    counts = re.findall(r"zk_(ensemble_auth_\w+|auth_failed_count)\t(\d+)", servers.four_letter_word(port, "mntr"))
    seen["counts"] = sorted(counts)
    return seen


ENSEMBLE = {"authProvider.1": "org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider"}
# Configurations, and what is looked at with each.
CASES = {
    "without a provider": ({}, [tokens, acls]),
    "with one": (PROVIDER, [tokens, acls]),
    "anybody": ({**PROVIDER, "letAnySaslUserDoX": "anybody"}, [acls]),
    "super users": ({**PROVIDER, "superUser": "bob", "superUser.x.y": "a b", "superUser1": "super"}, [few, acls]),
    "required": ({**PROVIDER, "sessionRequireClientSASLAuth": "true", "allowSaslFailedClients": "true"}, [few]),
    "enforced": ({**PROVIDER, "enforce.auth.enabled": "true", "enforce.auth.schemes": "digest,sasl"}, [few]),
    "another is enforced": ({**PROVIDER, "enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"}, [few]),
    "failures are allowed": ({**PROVIDER, "allowSaslFailedClients": "true"}, [few]),
    "super password": ({**PROVIDER, "SASLAuthenticationProvider.superPassword": "property"}, [super_passwords]),
    "any ensemble": (ENSEMBLE, [ensembles]),
    "named ensembles": ({**ENSEMBLE, "ensembleAuthName": "a, b"}, [ensembles]),
    "an ensemble without a name": ({**ENSEMBLE, "ensembleAuthName": ""}, [ensembles]),
}
# The file's text and more configuration. Servers start with it or they do not, and bob is known or not.
FILES = {
    "no section": (section("Client", 'username="x"', 'password="y"'), {}),
    "empty section": ("Server { };", {}),
    "another section": (users("Foo"), {"sasl.serverconfig": "Foo"}),
    "not the other section": (users(), {"sasl.serverconfig": "Foo"}),
    "no users": (section("Server", ""), {}),
    "two modules": ('Server { %s required user_x="1"; %s OPTIONAL user_bob="bobsecret"; };' % (MODULE, MODULE), {}),
    "bob twice": (section("Server", 'user_bob="x"', 'user_bob="bobsecret"'), {}),
    "comments": ("// a\n/* Server\n */ Server { / b\n %s required user_bob=bobsecret // }\n;};" % MODULE, {}),
    "escapes": (section("Server", r'user_bob="bob\163ec\ret"'), {}),
    "quoted": ('"Server" { "%s" "required" "user_bob"="bobsecret"; };' % MODULE, {}),
    "a number": (section("Server", "user_bob=12"), {}),
    "no end": (users().rstrip(";\n"), {}),
    "twice": (users() + users(), {}),
    "no flag": ('Server { %s user_bob="bobsecret"; };' % MODULE, {}),
    "a comment that is none": ("# users\n" + users(), {}),
    "a property": (section("Server", 'user_bob="${no.such.property}"'), {}),
    "another module": ("Server { com.example.Mine required; };", {}),
    "Kerberos": ("Server { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };", {}),
    "no file": (None, {}),
    "required without a provider": (users(), {"sessionRequireClientSASLAuth": "true"}),
    "enforced without a provider": (users(), {"enforce.auth.enabled": "true", "enforce.auth.schemes": "sasl"}),
}


def knows_bob(port):
    client = Client(port)
    error, challenge = token(client, b"")
    if challenge is None:
        return "no SASL", error
    response, expected = respond(challenge, "bob", "bobsecret")
    return "knows bob" if token(client, response) == (0, expected) else "does not know bob"


def of_file(kind, directory, text, extra):
    """What a server makes of a file."""
    name = os.path.join(directory, "no-such-file") if text is None else login_file(directory, text)
    server = kind(extra={FILE: name, **NO_FIPS, **extra}, port=lasting_port())
    try:
        server.start()
    except RuntimeError:
        assert server.process.returncode not in (0, None), server.log_text()
        return "does not start"
    else:
        return knows_bob(server.port)
    finally:
        server.stop()
        server.clean()


def compare(binary, directory):
    """The same requests on a zkd, a 3.9, and, for what has not changed, a 3.8."""
    name, topics = login_file(directory, users()), 0
    for case, (extra, looks) in CASES.items():
        seen = []
        for kind in (zkd(binary), apache39, apache):
            with kind(extra={FILE: name, **NO_FIPS, **extra}, port=lasting_port()) as server:
                seen.append({look.__name__: look(server.port) for look in looks})
        ours, theirs, older = seen
        for look, said in theirs.items():
            for topic, one in said.items() if isinstance(said, dict) else [("", said)]:
                mine = ours[look][topic] if isinstance(said, dict) else ours[look]
                assert mine == one, "%s: %s: %s: %s on zkd, %s on Apache" % (case, look, topic, mine, one)
                topics += 1
        if "tokens" in older:
            # To a 3.8.0 somebody unknown is whoever has come before, with that one's password.
            assert older["tokens"].pop("unknown")[0] == "right" and theirs["tokens"].pop("unknown")[0] == (-115, None)
        assert older == theirs, "%s on 3.8: %s\non 3.9: %s" % (case, older, theirs)
    return "%d topics as on Apache" % topics


def files(binary, directory):
    seen = {}
    for case, (text, extra) in FILES.items():
        seen[case], theirs = (of_file(kind, directory, text, extra) for kind in (zkd(binary), apache39))
        assert seen[case] == theirs, "%s: a zkd %s, Apache %s" % (case, seen[case], theirs)
    assert set(map(str, seen.values())) == {"knows bob", "does not know bob", "does not start", "('no SASL', 0)"}, seen
    return "%d files with passwords as Apache takes them" % len(seen)


def audit_lines(binary, directory):
    """Who the audit log says it was."""
    seen = []
    for kind in (zkd(binary), Apache39Audit):
        extra = {FILE: login_file(directory, users()), **NO_FIPS, **AUDIT}
        for more in ({}, PROVIDER):
            with kind(extra={**extra, **more}, port=lasting_port()) as server:
                client, _ = login(server.port, "bob")
                client.create("/mine")
                poll(lambda: "/mine" in server.log_text(), 10, "nothing is told")
                seen.append([line for _, line in lines(server, [client.session]) if "/mine" in line])
    assert seen[:2] == seen[2:], seen
    assert "user=127.0.0.1\t" in seen[0][0] and "user=127.0.0.1,bob\t" in seen[1][0], seen
    return "the users in the audit log"


def by_kazoo(port, user, password):
    client = KazooClient("127.0.0.1:%d" % port, timeout=10, sasl_options={
        "mechanism": "DIGEST-MD5", "username": user, "password": password})
    try:
        client.start(timeout=20)
        return client.get("/bob")[0]
    except AuthFailedError:
        return "failed"
    finally:
        client.stop()
        client.close()


def by_java(port, directory, user, password):
    """Apache's own client, which looks for the section `Client`."""
    name = login_file(directory, section("Client", option("username", user), option("password", password)))
    command = ["java", "-D%s=%s" % (FILE, name), "-Dzookeeper.fips-mode=false",
               "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", servers.Apache39().class_path(),
               "org.apache.zookeeper.ZooKeeperMain", "-server", "127.0.0.1:%d" % port, "whoami"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, check=False)
    known = re.findall(r"^(sasl|super): ?(.*)$", done.stdout, re.M)
    has_failed = "AuthFailed" in done.stdout or "AUTH_FAILED" in done.stdout
    return sorted(known) if known else "failed" if has_failed else done.stdout


def clients(binary, directory):
    """kazoo, and Apache's own, which look at what the server answers them."""
    seen = []
    for kind in (zkd(binary), apache39):
        extra = {FILE: login_file(directory, users()), **NO_FIPS, **PROVIDER, "superUser": "super"}
        with kind(extra=extra, port=lasting_port()) as server:
            with Client(server.port) as client:
                client.create("/bob", b"for bob", acl=[(ALL, "sasl", "bob")])
            seen.append([by_kazoo(server.port, "bob", "bobsecret"), by_kazoo(server.port, "bob", "no"),
                         by_java(server.port, directory, "bob", "bobsecret"),
                         by_java(server.port, directory, "super", "adminsecret"),
                         by_java(server.port, directory, "bob", "no")])
    ours, theirs = seen
    assert ours == theirs, "%s on zkd, %s on Apache" % (ours, theirs)
    assert ours[:4] == [b"for bob", "failed", [("sasl", "bob")], [("sasl", "super"), ("super", "")]], ours
    return "kazoo and Apache's client"


# ---- between servers ----

ASKING = {"quorum.auth.enableSasl": "true"}
SHOWING = {**ASKING, "quorum.auth.learnerRequireSasl": "true"}
REQUIRED = {**SHOWING, "quorum.auth.serverRequireSasl": "true"}
# Of a learner's first packet, without a password before it.
BEGINNING = bytes.fromhex("0000000b00000000")


def server_users(password="mypassword", shown=None):
    """What stands in each server's file: who may come, and who it is."""
    return section("QuorumServer", option("user_test", password)) + section(
        "QuorumLearner", option("username", "test"), option("password", shown or password))


def configuration(directory, required, **passwords):
    return {"tickTime": "500", FILE: login_file(directory, server_users(**passwords)), **NO_FIPS, **required}


def is_deaf(port):
    """Whether whoever shows no password at this server's quorum port is turned away, and not listened to for more."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(BEGINNING)
        try:
            return s.recv(4096) == b""
        except socket.timeout:
            return False
        except OSError:
            return True


def refused(member):
    """How often a server has refused somebody, by its log."""
    return len(re.findall("a server shows no good password|Failed to authenticate using SASL", member.log_text()))


def together(kinds, directory, told):
    """The last one observes."""
    def check(leader):
        assert is_deaf(leader.ports[0]), "who shows no password may learn"

    with Ensemble(kinds, extra=configuration(directory, REQUIRED), observers=1) as ensemble:
        return "%s, led by %s" % (told, ensemble.lead_in_turn(check))


def outsiders(kinds, directory):
    """The last server with another password, or with none, does not get in, nor does anybody follow it; with the right one
    it does."""
    with Ensemble(kinds, extra=configuration(directory, REQUIRED)) as ensemble:
        ensemble.wait_for_roles()
        *others, last = ensemble
        wrong = {"another password": configuration(directory, REQUIRED, password="mypassword", shown="another"),
                 "no password": {key: "false" for key in REQUIRED}}
        right = dict(last.server.extra)
        for how, extra in wrong.items():
            last.stop()
            before = sum(map(refused, others))
            last.server.extra = {**right, **extra}
            last.launch()
            poll(lambda: sum(map(refused, others)) > before + 1, 20, "nobody refuses a server with " + how)
            ensemble.assert_no_service([last])
            ensemble.wait_for_roles(others)
        last.stop()
        last.server.extra = right
        last.launch()
        ensemble.wait_for_roles()
        ensemble.write_everywhere("/let-in")
    return "a %s with a wrong password or none stays outside" % last.server.name


def rolling(kinds, directory):
    """One by one: first passwords are taken, then shown, then required. There is always a quorum."""
    with Ensemble(kinds, extra={"tickTime": "500"}) as ensemble:
        ensemble.wait_for_roles()
        written = 0
        for step in (ASKING, SHOWING, REQUIRED):
            for member in ensemble:
                member.stop()
                ensemble.wait_for_roles([other for other in ensemble if other is not member])
                member.server.extra.update(configuration(directory, step))
                member.launch()
                ensemble.wait_for_roles()
                with ensemble.client(member) as client:
                    client.create("/step-%d" % written)
                    written += 1
        assert all(is_deaf(member.ports[0]) for member in ensemble if member.mode() == "leader")
        assert len([path for path in ensemble.assert_same() if path.startswith("/step-")]) == written
        ensemble.assert_no_errors()
    return "from none to required, one by one: " + " ".join(member.server.name for member in ensemble)


def within_tls(binary, directory):
    """Passwords inside of TLS."""
    authority = Authority(directory)
    server = authority.issue("server", "/CN=server/O=zkd")
    stores = keys(authority.jks(server), authority.trust("JKS"), "ssl.quorum.")
    extra = {**configuration(directory, REQUIRED), "sslQuorum": "true", **stores}
    with Ensemble([zkd(binary), apache39, zkd(binary)], extra=extra) as ensemble:
        ensemble.wait_for_roles()
        ensemble.write_everywhere("/within")
        ensemble.assert_no_errors()
    return "inside of TLS"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zkd", required=True, help="the zkd binary")
    parser.add_argument("--only", help="checks whose function has this in its name")
    args = parser.parse_args()
    binary = os.path.abspath(args.zkd)
    with tempfile.TemporaryDirectory(prefix="zk-test-") as directory:
        ours = zkd(binary)
        checks = {check.__name__: lambda check=check: check(binary, directory)
                  for check in (compare, files, audit_lines, clients, within_tls)}
        checks.update({
            "alike": lambda: together([ours] * 4, directory, "zkd alone"),
            "mixed": lambda: together([apache, ours, apache39, ours], directory, "zkd and Apache"),
            "outsiders": lambda: outsiders([ours, apache39, ours], directory),
            "outsiders_of_apache": lambda: outsiders([ours, ours, apache39], directory),
            "rolling": lambda: rolling([ours] * 3, directory),
            "rolling_mixed": lambda: rolling([apache, ours, apache39], directory)})
        passed = [check() for name, check in checks.items() if not args.only or args.only in name]
    print("\n".join(passed))
    print("%d checks of SASL passed" % len(passed))


if __name__ == "__main__":
    sys.exit(main())
