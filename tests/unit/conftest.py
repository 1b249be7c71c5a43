from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from launch import targets

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def spark():
    """One local session for all tests: the job takes the session that is there."""
    builder = SparkSession.builder.master("local[2]")
    for setting in targets.local([]):
        if setting.key != "spark.master":
            builder = builder.config(setting.key, setting.value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")  # no look-up of this machine's name
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()
