"""A small job of a user's own, a folder with all that a declaration may name; what it writes and says is told by it."""

from __future__ import annotations

import json
from pathlib import Path

from pyarrow import parquet

SCRIPT = """
import json, os, sys
from pyspark import SparkFiles
from pyspark.sql import SparkSession
from helpers.words import shout

source, target, code = sys.argv[1:4]

def line(row):
    with open(SparkFiles.get("config.json")) as file:
        return (shout(row.value) + json.load(file)["suffix"] + os.environ["GREETING"],)

spark = SparkSession.builder.getOrCreate()
spark.read.text(source).rdd.map(line).toDF(["text"]).write.mode("overwrite").parquet(target)
with open(SparkFiles.get("config.json")) as file:
    print("the driver has", json.load(file)["suffix"], os.environ["GREETING"], len(os.environ.get("API_KEY", "")))
spark.stop()
sys.exit(int(code))
"""
DECLARATION = """
entry-point = "job.py"
modules = ["helpers"]
files = ["config.json"]
args = ["{data}", "{result}"]

[env]
GREETING = "hello"

[inputs]
data = "data"

[outputs]
result = "out"

[spark]
"spark.executor.memory" = "1g"
"""
SAID = "the driver has ! hello"
WRITTEN = ["ONE!hello", "TWO!hello"]


def write(folder: Path, *, secrets: bool = False) -> Path:
    """The job's folder; with `secrets` it wants API_KEY."""
    (folder / "helpers").mkdir(parents=True)
    (folder / "data").mkdir()
    for name, text in {
        "job.py": SCRIPT,
        "helpers/__init__.py": "",
        "helpers/words.py": "def shout(text):\n    return text.upper()\n",
        "config.json": json.dumps({"suffix": "!"}),
        "data/a.txt": "one\ntwo\n",
        ".env": "HUNTER=2",
        "emrlab.toml": 'secrets = ["API_KEY"]\n' * secrets + DECLARATION,
    }.items():
        (folder / name).write_text(text)
    return folder


def written(folder: Path) -> list[str]:
    """The rows that came back, in order."""
    return sorted(parquet.read_table(folder / "out").column("text").to_pylist())
