"""What one does first over a session, with Spark's own client: `SPARK_REMOTE=sc://… python spark_queries.py PLACE`."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col


def main(place: str) -> None:
    """Ask in SQL and by DataFrames, send rows and fetch a frame, write a table at `place` and read it; print it all."""
    spark = SparkSession.builder.getOrCreate()
    fruits = spark.createDataFrame([("apple", 3), ("kiwi", 5), ("apple", 4)], "name string, n int")
    fruits.createOrReplaceTempView("fruits")
    summed = spark.sql("SELECT name, sum(n) AS n FROM fruits GROUP BY name ORDER BY name").collect()
    squares = spark.range(1000).withColumn("square", col("id") * col("id")).toArrow()
    fruits.write.mode("overwrite").parquet(place)
    said = {
        "server": spark.version,
        "summed": {row["name"]: row["n"] for row in summed},
        "squares": sum(squares["square"].to_pylist()),
        "written": spark.read.parquet(place).count(),
    }
    spark.stop()
    print(json.dumps(said))  # noqa: T201 - it is what the test reads


if __name__ == "__main__":
    main(sys.argv[1])
