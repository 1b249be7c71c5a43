"""Tells what a job finds: settings and variables of the driver, and a file on the executors' nodes."""

import json
import os
import socket
import sys
from pathlib import Path

from pyspark.sql import SparkSession

if __name__ == "__main__":
    mark = sys.argv[1]

    def on_node(_: int) -> tuple[str, str]:
        """What the task finds there."""
        return socket.gethostname(), Path(mark).read_text().strip()

    spark = SparkSession.builder.appName("tell").getOrCreate()
    found = {
        "shuffle": spark.conf.get("spark.sql.shuffle.partitions"),
        "variable": os.environ.get("FRUIT"),
        "driver": socket.gethostname(),
        "nodes": sorted(set(spark.sparkContext.parallelize(range(40), 40).map(on_node).collect())),
        "version": spark.version,
    }
    sys.stdout.write(f"{json.dumps(found)}\n")
    spark.stop()
