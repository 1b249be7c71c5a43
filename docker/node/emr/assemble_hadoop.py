"""Fetches YARN's and HDFS's daemons into FOLDER/jars: `python3 assemble_hadoop.py FOLDER`, beside release.json.

Runs after docker/node's assemble_spark.py, whose Ivy it uses.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from assemble_spark import HERE, proxy

SPARK_JARS = Path("/usr/lib/spark/jars")


def main(folder: str) -> None:
    """Fetch the jars; make the folders of web pages that the NameNode and the DataNode want, and have none in."""
    version = json.loads((HERE / "release.json").read_text())["hadoop"]
    (ivy,) = SPARK_JARS.glob("ivy-*.jar")
    java = ["java", *proxy(), f"-Dhadoop={version}", "-cp", str(ivy), "org.apache.ivy.Main"]
    places = ["-cache", str(HERE / "ivy"), "-retrieve", f"{folder}/jars/[artifact]-[revision](-[classifier]).[ext]"]
    subprocess.run([*java, "-ivy", str(HERE / "daemons.xml"), "-warn", *places], check=True)
    for page in ("hdfs", "datanode"):
        (Path(folder) / "webapps" / page).mkdir(parents=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
