"""Takes more memory than its container has: `hog.py GIGABYTES`, in one task that then waits to be found out."""

import sys
import time

from pyspark.sql import SparkSession

if __name__ == "__main__":
    size = int(sys.argv[1]) * 1024**3

    def take(_: int) -> int:
        """Touch every page."""
        taken = bytearray(size)
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(60)
        return len(taken)

    spark = SparkSession.builder.appName("hog").getOrCreate()
    spark.sparkContext.parallelize([0], 1).map(take).collect()
    spark.stop()
