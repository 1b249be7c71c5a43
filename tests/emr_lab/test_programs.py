"""What is on a node besides Spark and Hadoop, as on EMR's: numpy and pip, Spark's examples, s3-dist-cp."""

from __future__ import annotations

import io
import zipfile

from base.defaults import BUCKET
from tests.emr_lab.conftest import EmrLab, spark_step, step

WHEEL = "fruit-1.0-py3-none-any.whl"
INSTALL = f"""#!/bin/bash
set -e
aws s3 cp --only-show-errors s3://{BUCKET}/artifacts/{WHEEL} /tmp/{WHEEL}
sudo python3 -m pip install --no-index /tmp/{WHEEL}
"""
# The driver and the executors have what was installed.
USE = b"""
import fruit
import numpy
from pyspark.sql import SparkSession


def colour(name):
    import fruit

    return fruit.COLOUR[name]


spark = SparkSession.builder.getOrCreate()
colours = spark.sparkContext.parallelize(["kiwi"] * 4, 4).map(colour).distinct().collect()
print(colours, numpy.ones(2).sum(), fruit.COLOUR)
"""
EXAMPLES, DATA = "/usr/lib/spark/examples/src/main/python", "/usr/lib/spark/data/mllib"


def wheel() -> bytes:
    """A package of one module."""
    info = "fruit-1.0.dist-info"
    members = {
        "fruit.py": 'COLOUR = {"kiwi": "green"}\n',
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: fruit\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*members, f"{info}/RECORD"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_programs_of_a_node(emr_lab: EmrLab):
    emr_lab.put(f"artifacts/{WHEEL}", wheel())
    install = emr_lab.put("artifacts/install.sh", INSTALL.encode())
    use = emr_lab.put("artifacts/use.py", USE)
    emr_lab.put("images/parts/1-x.txt", b"apple\n")
    emr_lab.put("images/parts/2-x.txt", b"kiwi\n")
    there, back = "hdfs:///parts", f"s3://{BUCKET}/results/parts"
    cluster = emr_lab.start(
        spark_step("installed", use),
        step("data", "hadoop", "fs", "-put", f"{DATA}/kmeans_data.txt", "/kmeans_data.txt"),
        spark_step("kmeans", f"{EXAMPLES}/kmeans.py", "/kmeans_data.txt", "2", "0.1"),
        step("pi", "run-example", "SparkPi", "4"),
        step("there", "s3-dist-cp", "--src", f"s3://{BUCKET}/images/parts", "--dest", there),
        step("back", "s3-dist-cp", "--src", there, "--dest", back, "--groupBy", r".*-(x\.txt)"),
        step("pip", "bash", "-c", "python3 -m pip install --quiet --retries 0 --timeout 2 fruit-salad; test $? -ne 0"),
        BootstrapActions=[{"Name": "install", "ScriptBootstrapAction": {"Path": install}}],
    )
    emr_lab.wait(cluster, "TERMINATED", "TERMINATED_WITH_ERRORS")
    names = ("installed", "data", "kmeans", "pi", "there", "back", "pip")
    steps = {name: emr_lab.step(cluster, name) for name in names}
    states = {name: each["Status"]["State"] for name, each in steps.items()}
    assert states == dict.fromkeys(names, "COMPLETED"), emr_lab.everything(cluster)
    printed = {name: emr_lab.log(f"{cluster}/steps/{each['Id']}/stdout") for name, each in steps.items()}
    assert printed["installed"] == "['green'] 2.0 {'kiwi': 'green'}\n"
    assert "Final centers: " in printed["kmeans"]
    assert "Pi is roughly 3.1" in printed["pi"]
    assert printed["back"] == f"2 files copied to 1 below {back}\n"
    assert emr_lab.get("results/parts/x.0.txt") == b"apple\nkiwi\n"
