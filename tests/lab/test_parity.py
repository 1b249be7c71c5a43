"""The same job on this machine's own Spark and in the lab, whatever release it is: the same bytes, the same results."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from base import releases
from base.paths import ROOT
from tests import contract
from tests.lab import commands
from tests.lab.conftest import LISTED, REJECTED

RELEASE = releases.find(os.environ.get("RELEASE"))


@pytest.fixture(scope="module")
def here(photos, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("here") / "local"
    done = commands.run(str(photos), str(folder), *model, place="local")
    assert done.returncode == 0, done.stdout + done.stderr
    return str(folder)


def test_the_same_results_by_the_same_package(undisturbed, here):
    there = contract.check(undisturbed.output, listed=LISTED, rejected=REJECTED)
    local = contract.check(here, listed=LISTED, rejected=REJECTED)
    contract.assert_same(there, local)
    assert there.run["asked"]["package"] == local.run["asked"]["package"]
    assert there.run["asked"]["extraction"] == local.run["asked"]["extraction"]
    assert there.run["model"] == local.run["model"]
    assert there.run["cluster"]["master"].startswith("spark://")
    assert there.run["versions"]["spark"] == RELEASE.spark


def test_each_node_has_what_the_release_says():
    """Drift between releases.toml and the images fails here: the nodes themselves are asked."""

    def ask(node):
        spark = commands.execute(node, "spark-submit", "--version")
        look = "java -cp '/usr/lib/spark/jars/*' org.apache.hadoop.util.VersionInfo"
        hadoop = commands.execute(node, "sh", "-c", look)
        pythons = [commands.execute(node, name, "--version") for name in ("python3", "/opt/emrlab/bin/python")]
        return spark, hadoop, pythons

    with ThreadPoolExecutor() as pool:
        answers = dict(zip(commands.NODES, pool.map(ask, commands.NODES), strict=True))
    for node, (spark, hadoop, pythons) in answers.items():
        assert f"version {RELEASE.spark}\n" in spark, node
        assert f"Using Scala version {RELEASE.scala}." in spark, node
        assert f", {RELEASE.java}." in spark, f"{node} runs on another Java: {spark}"
        assert f"Hadoop {RELEASE.hadoop}\n" in hadoop, node
        assert all(python.startswith(f"Python {RELEASE.python}.") for python in pythons), (node, pythons)


def test_what_a_node_brings_for_the_job_is_the_lock(undisturbed):
    """No pyspark and no TensorFlow beside it: a cluster has its own Spark, and the model is built on the laptop."""
    look = "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}'.lower() for d in m.distributions()))"
    installed = commands.execute("worker-1", "env", "-u", "PYTHONPATH", "/opt/emrlab/bin/python", "-c", look).split()
    lock = (ROOT / "job.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9.-]+==[^ ;]+)", lock, re.MULTILINE))
    assert {re.sub(r"[._](?=.*==)", "-", name) for name in installed} <= {
        re.sub(r"[._](?=.*==)", "-", name) for name in locked
    }
    assert not [name for name in installed if name.startswith(("pyspark", "tensorflow", "keras", "pip=="))]
    assert {name.split("==")[0] for name in installed} >= {"ai-edge-litert", "numpy", "obstore", "pillow", "pyarrow"}


WRITE = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
for _ in range(2):  # the second takes the place of the first
    spark.range(0, 1000, 1, 4).write.mode("overwrite").parquet("s3://emrlab/results/committed")
assert spark.read.parquet("s3://emrlab/results/committed").count() == 1000
"""


def test_spark_commits_by_uploads_that_are_finished_at_its_end(lab):
    """The magic committer: no renaming in S3, and nothing of a task that fails is ever seen."""
    submit = "cat >/tmp/write.py && spark-submit --master 'local[2]' /tmp/write.py"
    commands.execute("master", "sh", "-c", submit, stdin=WRITE)
    client = commands.s3("DATA")
    names = commands.sizes(client, "results/committed/")
    told = json.loads(client.get_object(Bucket=commands.BUCKET, Key="results/committed/_SUCCESS")["Body"].read())
    assert told["committer"] == "magic"
    assert sorted(name.rpartition("/")[2] for name in told["filenames"]) == sorted(
        name for name in names if name.endswith(".parquet")
    )
    assert not [name for name in names if "magic" in name]


def test_an_object_is_made_once_and_replaced_only_as_it_was_read(lab):
    """Conditional writes, by which one run at a time holds an output."""
    client = commands.s3("JOB")
    place = {"Bucket": commands.BUCKET, "Key": "results/held"}
    etag = client.put_object(**place, Body=b"1", IfNoneMatch="*")["ETag"]
    try:
        for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
            with pytest.raises(ClientError) as caught:
                client.put_object(**place, Body=b"2", **condition)
            assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
        client.put_object(**place, Body=b"3", IfMatch=etag)
        assert client.get_object(**place)["Body"].read() == b"3"
    finally:
        client.delete_object(**place)
