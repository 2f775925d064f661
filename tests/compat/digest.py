"""DIGEST-MD5 for tests, by hand: a client that can say anything, right or wrong. And the files that passwords stand in."""
import hashlib
import os
import tempfile

CNONCE = b"OA6MHXh6VqTrRk"
MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
FILE = "java.security.auth.login.config"


def section(name, *options):
    """One section of a file for JAAS, in which `options` are `name="value"`."""
    return "%s {\n  %s required\n  %s;\n};\n" % (name, MODULE, "\n  ".join(options))


def login_file(directory, text):
    """A file with this text; its name."""
    with tempfile.NamedTemporaryFile("w", suffix=".jaas", dir=directory, delete=False) as f:
        f.write(text)
    os.chmod(f.name, 0o600)
    return f.name


def md5(data):
    return hashlib.md5(data).digest()


def hexed(data):
    return md5(data).hex().encode()


def latin(text):
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def quoted(data):
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def respond(challenge, user, password, uri=b"zookeeper/zk-sasl-md5", realm=b"zk-sasl-md5", authzid=None, **other):
    """(response, what the server has to answer). `other` are directives that are to be another, or none at all; their names
    have underscores for hyphens."""
    nonce = challenge.split(b'nonce="')[1].split(b'"')[0]
    a1 = md5(latin(user) + b":" + realm + b":" + latin(password)) + b":" + nonce + b":" + CNONCE
    if authzid is not None:
        a1 += b":" + authzid.encode()

    def value(method):
        return hexed(hexed(a1) + b":" + nonce + b":00000001:" + CNONCE + b":auth:" + hexed(method + b":" + uri))

    said = {"charset": b"utf-8", "username": quoted(user.encode()), "realm": quoted(realm), "nonce": quoted(nonce),
            "nc": b"00000001", "cnonce": quoted(CNONCE), "digest-uri": quoted(uri), "maxbuf": b"65536",
            "response": value(b"AUTHENTICATE"), "qop": b"auth"}
    if authzid is not None:
        said["authzid"] = quoted(authzid.encode())
    said.update({name.replace("_", "-"): one for name, one in other.items()})
    response = b",".join(name.encode() + b"=" + one for name, one in said.items() if one is not None)
    return response, b"rspauth=" + value(b"")
