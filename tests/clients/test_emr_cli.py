"""amazon-emr-cli, by its README: init, package, deploy, run.

A project of `init` is packaged in an image of Amazon Linux, out of a container registry; one of files alone needs none.
"""

from __future__ import annotations

from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab

ENTRY_POINT = """
from pyspark.sql import SparkSession
from words import words

spark = SparkSession.builder.getOrCreate()
print(sorted(spark.sparkContext.parallelize(["apple kiwi", "pear"], 2).flatMap(words).collect()))
"""
MODULE = """
def words(line):
    return line.split()
"""


def test_amazon_emr_cli(lab: Lab, tmp_path: Path):
    emr = environments.python("emr_cli") / "emr"
    code = f"s3://{BUCKET}/artifacts/emr-cli/"
    lab.run(emr, "init", "project", cwd=tmp_path)
    assert (tmp_path / "project" / "entrypoint.py").exists()
    project = tmp_path / "files"
    project.mkdir()
    (project / "entrypoint.py").write_text(ENTRY_POINT)
    (project / "words.py").write_text(MODULE)
    lab.run(emr, "package", "--entry-point", "entrypoint.py", cwd=project)
    lab.run(emr, "deploy", "--entry-point", "entrypoint.py", "--s3-code-uri", code, cwd=project)
    cluster = lab.start()
    command = ("run", "--entry-point", "entrypoint.py", "--cluster-id", cluster, "--s3-code-uri", code)
    said = lab.run(emr, *command, "--build", "--wait", "--show-stdout", cwd=project)
    assert "Job completed successfully!" in said
    assert ("['apple', 'kiwi', 'pear']" if lab.real else "spark-submit") in said
    version = environments.version("emr_cli", "emr-cli")
    lab.told(f"amazon-emr-cli {version}", "`init`, `package`, `deploy`, `run --build --wait --show-stdout`")
