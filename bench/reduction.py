"""Scaler and PCA: the job's one pass of partial sums beside Spark ML's own fits, in one session on the same features.

`python -m bench.reduction FEATURES` prints the seconds of both; FEATURES is the features/ folder of a run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pyspark.ml.feature import PCA, StandardScaler
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import reduce, results, sums
from pipeline.split import Splitter

COMPONENTS = 100


def ours(spark: SparkSession, files: list[str]) -> float:
    """Seconds from the files of features to the components."""
    splitter, slots = Splitter(42), spark.sparkContext.defaultParallelism
    for file in files:
        table = results.read_table(file, ["path", "label"])
        for path, label in zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True):
            splitter.learn(path, label)  # the job does so while it lists
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as target:
        summed = sums.of_files(spark.sparkContext, files, splitter=splitter, share=0.0, target=target, slots=slots)
    reduce.fit(summed.all, components=COMPONENTS, variance=1.0)
    return time.monotonic() - started


def sparks(spark: SparkSession, folder: str) -> float:
    """Seconds of Spark ML's two fits on a frame of vectors that is in memory already."""
    rows = spark.read.parquet(folder).select(array_to_vector(F.col("features")).alias("features")).cache()
    rows.count()
    started = time.monotonic()
    scaler = StandardScaler(withMean=True, inputCol="features", outputCol="scaled").fit(rows)
    PCA(k=COMPONENTS, inputCol="scaled", outputCol="pca").fit(scaler.transform(rows))
    seconds = time.monotonic() - started
    rows.unpersist()
    return seconds


def main(folder: str) -> None:
    """Both after a first Python task: neither pays for the session's start."""
    spark = SparkSession.builder.getOrCreate()
    files = sorted(map(str, Path(folder).glob("*.parquet")))
    ours(spark, files[:16])
    mine = median(ours(spark, files) for _ in range(3))
    sys.stdout.write(json.dumps({"ours_s": mine, "spark_ml_s": sparks(spark, folder)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
