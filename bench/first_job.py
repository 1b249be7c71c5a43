"""The smallest Python job on Spark, the same for both ways to start that bench/startup.py compares."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import pyarrow as pa
from pyspark.sql import SparkSession


def same(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """A task that sends back what it is given."""
    yield from batches


spark = SparkSession.builder.master("local[2]").getOrCreate()
session_s = time.monotonic()
rows = spark.range(0, 100, 1, 2).mapInArrow(same, "id long").count()
sys.stdout.write(f"{rows} {session_s} {time.monotonic()}\n")
