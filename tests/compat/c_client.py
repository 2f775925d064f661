"""Does a C program on libzookeeper_mt see the same on both servers?

    c_client.py --zkd target/release/zkd
"""
import argparse
import os
import subprocess
import sys
import tempfile

import servers
import transcripts

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        program = os.path.join(work, "client")
        source = os.path.join(HERE, "c_client", "client.c")
        subprocess.run(["gcc", "-Wall", "-DTHREADED", "-o", program, source, "-lzookeeper_mt", "-lpthread"], check=True)
        return transcripts.compare(args.zkd, lambda server: [program, "127.0.0.1:%d" % server.port])


if __name__ == "__main__":
    sys.exit(main())
