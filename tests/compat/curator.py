"""Do Curator's recipes see the same on zkd as on Apache ZooKeeper 3.8.0?

    curator.py --zkd target/release/zkd [-v]

Compiles curator/Recipes.java, runs it against a fresh server of either kind, and requires exit status 0 and equal transcripts.
"""
import os
import subprocess
import sys

import c_client

HERE = os.path.dirname(os.path.abspath(__file__))
JARS = ":".join("/usr/share/java/%s.jar" % jar for jar in (
    "curator-client", "curator-framework", "curator-recipes", "zookeeper", "zookeeper-jute", "guava", "failureaccess",
    "slf4j-api", "slf4j-simple", "netty-all", "metrics-core", "snappy-java"))


def compiled(work, program="Recipes"):
    """The command that runs curator/<program>.java, without its arguments."""
    subprocess.run(["javac", "-Xlint:all,-path,-classfile", "-cp", JARS, "-d", work,
                    os.path.join(HERE, "curator", program + ".java")], check=True)
    return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp", work + ":" + JARS, program]


if __name__ == "__main__":
    sys.exit(c_client.compare(compiled, __doc__))
