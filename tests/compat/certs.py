"""Certificates for tests: an authority, and what it signs, with openssl and keytool. Passwords of stores are `secret`."""
import os
import ssl
import subprocess

PASSWORD = "secret"
HERE = "DNS:localhost,IP:127.0.0.1"


def run(*command, text=None):
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, "%s\n%s" % (" ".join(command), done.stdout)


class Authority:
    """Signs certificates; everything is in one directory. `pem` is its own certificate."""

    def __init__(self, directory, name="authority"):
        self.directory, self.name = directory, name
        self.key, self.pem = self.path(name + ".key"), self.path(name + ".pem")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", self.key, "-out", self.pem, "-subj", "/CN=%s" % name,
            "-addext", "basicConstraints=critical,CA:true")

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, name, subject, hosts=HERE):
        """A file with a key, its certificate, and the authority's."""
        key, request, signed, extensions = (self.path(name + end) for end in (".key", ".csr", ".crt", ".ext"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8",
            "-keyout", key, "-out", request, "-subj", subject)
        with open(extensions, "w") as f:
            f.write("subjectAltName=%s\n" % hosts)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-CAcreateserial",
            "-days", "2", "-out", signed, "-extfile", extensions)
        whole = self.path(name + ".pem")
        # In one step: servers look at it while it is replaced.
        with open(whole + ".new", "w") as out:
            for part in (key, signed, self.pem):
                with open(part) as f:
                    out.write(f.read())
        os.rename(whole + ".new", whole)
        return whole

    def pkcs12(self, pem):
        """The same as PKCS#12."""
        made = pem.replace(".pem", ".p12")
        run("openssl", "pkcs12", "-export", "-in", pem, "-name", "server", "-passout", "pass:" + PASSWORD, "-out", made)
        return made

    def jks(self, pem):
        """The same in Java's own format."""
        made = pem.replace(".pem", ".jks")
        run("keytool", "-importkeystore", "-noprompt", "-srckeystore", self.pkcs12(pem), "-srcstoretype", "PKCS12",
            "-srcstorepass", PASSWORD, "-destkeystore", made, "-deststoretype", "JKS", "-deststorepass", PASSWORD)
        return made

    def trust(self, kind):
        """A store that believes this authority: JKS or PKCS12."""
        made = self.path("%s-trust.%s" % (self.name, {"JKS": "jks", "PKCS12": "p12"}[kind]))
        run("keytool", "-importcert", "-noprompt", "-alias", "authority", "-file", self.pem, "-keystore", made,
            "-storetype", kind, "-storepass", PASSWORD)
        return made


def keys(key_store, trust_store, prefix="ssl."):
    """The keys of zoo.cfg for these stores."""
    made = {prefix + "keyStore.location": key_store, prefix + "trustStore.location": trust_store}
    if not key_store.endswith(".pem"):
        made[prefix + "keyStore.password"] = PASSWORD
    if not trust_store.endswith(".pem"):
        made[prefix + "trustStore.password"] = PASSWORD
    return made


def context(authority, pem=None):
    """What a client of Python connects with."""
    made = ssl.create_default_context(cafile=authority.pem)
    made.check_hostname = False
    if pem:
        made.load_cert_chain(pem)
    return made
