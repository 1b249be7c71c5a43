"""Ibis over a session of Spark Connect: `SPARK_REMOTE=sc://… python ibis_queries.py PLACE`."""

from __future__ import annotations

import json
import sys

import ibis
from pyspark.sql import SparkSession


def main(place: str) -> None:
    """Ask about rows from here, write the answer at `place`, and ask about that; print it all."""
    spark = SparkSession.builder.getOrCreate()
    backend = ibis.pyspark.connect(spark)
    fruits = ibis.memtable({"name": ["apple", "kiwi", "apple"], "n": [3, 5, 4]})
    summed = fruits.group_by("name").agg(n=fruits.n.sum()).order_by("name")
    told = backend.execute(summed)
    backend.to_parquet(summed, place, mode="overwrite")
    written = backend.read_parquet(place)
    said = {
        "server": spark.version,
        "summed": dict(zip(told["name"], map(int, told["n"]), strict=True)),
        "written": int(backend.execute(written.count())),
    }
    spark.stop()
    print(json.dumps(said))  # noqa: T201 - it is what the test reads


if __name__ == "__main__":
    main(sys.argv[1])
