"""Fetches YARN's and HDFS's daemons into FOLDER/jars: `python3 assemble_hadoop.py FOLDER`, beside release.json.

Runs after docker/node's assemble_spark.py, whose Ivy it uses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from assemble_spark import HERE, fetch_jars

SPARK_JARS = Path("/usr/lib/spark/jars")


def main(folder: str) -> None:
    """Fetch the jars; make the folders of web pages that the NameNode and the DataNode want, and have none in."""
    version = json.loads((HERE / "release.json").read_text())["hadoop"]
    (ivy,) = SPARK_JARS.glob("ivy-*.jar")
    fetch_jars(Path(folder) / "jars", ivy=ivy, modules=HERE / "daemons.xml", versions={"hadoop": version})
    for page in ("hdfs", "datanode"):
        (Path(folder) / "webapps" / page).mkdir(parents=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
