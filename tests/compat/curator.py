"""Do Curator's recipes work on both servers alike?

    curator.py --zkd target/release/zkd
"""
import argparse
import os
import subprocess
import sys
import tempfile

import servers
import transcripts

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ("curator-client", "curator-framework", "curator-recipes", "zookeeper", "zookeeper-jute", "guava", "failureaccess",
        "slf4j-api", "slf4j-simple", "netty-all", "metrics-core", "snappy-java")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zkd", required=True)
    args = parser.parse_args()
    class_path = ":".join("/usr/share/java/%s.jar" % jar for jar in JARS)
    with tempfile.TemporaryDirectory() as work:
        source = os.path.join(HERE, "curator", "Recipes.java")
        subprocess.run(["javac", "-nowarn", "-cp", class_path, "-d", work, source], check=True,
                       stderr=subprocess.PIPE)
        return transcripts.compare(args.zkd, lambda server: [
            "java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", "%s:%s" % (work, class_path), "Recipes",
            "127.0.0.1:%d" % server.port])


if __name__ == "__main__":
    sys.exit(main())
