"""Does a server serve on when nobody takes its own lines: their disk is full, or their reader is gone?

    mute.py --zkd target/release/zkd
"""
import argparse
import os
import subprocess
import sys

from servers import Zkd
from wire import Client


class Mute(Zkd):
    """What it has to say goes to `out`."""

    def __init__(self, binary, out):
        super().__init__(binary)
        self.out = out

    def launch(self):
        super().launch()
        self.kill()
        self.process = subprocess.Popen(self.command(os.path.join(self.work, "zoo.cfg")), stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=self.out, cwd=self.work)


def check(zkd, out):
    with Mute(zkd, out) as server:
        with Client(server.port) as client:
            client.create("/n")
            client.end()
        assert server.stop() == 0, "it ended with %s" % server.process.returncode
    ended = subprocess.run([zkd, "--config", "/no/such/file"], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    assert ended.returncode == 2, "a configuration that is not there: %s" % ended.returncode


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    zkd = os.path.abspath(parser.parse_args().zkd)
    with open("/dev/full", "wb") as full:
        check(zkd, full)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as gone:
        check(zkd, gone)
    print("served and ended well, with a full disk and with nobody behind its lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
