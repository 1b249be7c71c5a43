"""Sums with a shuffle in between, again and again: `slow_sum.py RESULT FLAG HOSTS`.

Until the object FLAG is there, and HOSTS hosts have taken part in the last round. Prints its sums and these hosts.
"""

import json
import socket
import sys
import time

from pyspark.sql import SparkSession

NUMBERS, TASK_S = 64, 0.5

if __name__ == "__main__":
    result, flag, wanted = sys.argv[1:]

    def pair(number: int) -> tuple[int, tuple[int, frozenset[str]]]:
        """Return a number and this host, below its remainder, after a while."""
        time.sleep(TASK_S)
        return number % 7, (number, frozenset([socket.gethostname()]))

    def add(one: tuple[int, frozenset[str]], other: tuple[int, frozenset[str]]) -> tuple[int, frozenset[str]]:
        """Return the sum of both, and the hosts of both."""
        return one[0] + other[0], one[1] | other[1]

    spark = SparkSession.builder.appName("slow sum").getOrCreate()
    hadoop = spark.sparkContext._jvm.org.apache.hadoop  # type: ignore[union-attr]
    path = hadoop.fs.Path(flag)
    files = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    while True:
        pairs = spark.sparkContext.parallelize(range(NUMBERS), NUMBERS).map(pair)
        sums = dict(pairs.reduceByKey(add, 8).collect())
        hosts = sorted(frozenset[str]().union(*(each for _, each in sums.values())))
        sys.stdout.write(f"a round on {hosts}\n")
        sys.stdout.flush()
        if len(hosts) >= int(wanted) and files.exists(path):
            break
    rows = sorted((key, total) for key, (total, _) in sums.items())
    spark.createDataFrame(rows, ["key", "total"]).coalesce(1).write.mode("overwrite").json(result)
    sys.stdout.write(f"{json.dumps({'sums': rows, 'hosts': hosts})}\n")
    spark.stop()
