from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from launch import targets
from tests.unit.bare_node import asked, bare_node

ROOT = Path(__file__).parents[2]
SECRET = "not-for-every-eye"  # noqa: S105 - of the session, for tests of what a run shows


@pytest.fixture(scope="session")
def spark():
    """One local session for all tests: the job takes the session that is there."""
    builder = SparkSession.builder.master("local[2]")
    for setting in targets.local([], own=targets.IMAGES):
        if setting.key != "spark.master":
            builder = builder.config(setting.key, setting.value)
    for key, value in (("", SECRET), ("spark.reason.", "given on the command line")):
        builder = builder.config(f"{key}spark.hadoop.fs.s3a.encryption.key", value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")  # no look-up of this machine's name
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The EMR lab in this process."""
    from tests.unit.fake_nodes import fake_lab  # moto takes its time

    with fake_lab(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A core node whose big waits are short."""
    with bare_node(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def client(node):
    """Asks the node's controller as the endpoint does."""
    with asked(node) as made:
        yield made
