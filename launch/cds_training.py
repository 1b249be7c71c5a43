"""A small job that uses what the real one uses, run once so that Java archives the classes it loads."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import pyarrow as pa
from pyspark import SparkContext
from pyspark.ml.classification import LogisticRegressionModel
from pyspark.ml.common import _py2java
from pyspark.ml.feature import PCAModel, StandardScalerModel
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention


def double(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """A first Python task."""
    for batch in batches:
        numbers = batch.column(0).to_pylist()
        rows = {
            "path": [f"{number % 2}/{number}.jpg" for number in numbers],
            "label": [str(number % 2) for number in numbers],
            "at": [[float(number % 2), float(number)] for number in numbers],
        }
        yield pa.RecordBatch.from_pydict(rows)


def large(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """A result over 1 MiB goes another way to the driver, as the sums for the PCA do."""
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"sums": [bytes(3 << 20)]})


def number(task: int, rows: Iterable[int]) -> Iterable[tuple[int, int]]:
    """A task of an RDD."""
    return [(task, row) for row in rows]


def main(folder: str) -> None:
    """Parquet out and in, a Python stage, a join, a group, models built, fitted, saved and applied."""
    context = SparkContext.getOrCreate()
    done = context.accumulator(0)
    context.parallelize(range(2), 2).foreach(done.add)
    context.parallelize(range(4), 4).mapPartitionsWithIndex(number).collect()
    spark = SparkSession.builder.getOrCreate()
    schema = "path string, label string, at array<double>"
    spark.range(0, 40, 1, 2).repartition(3).mapInArrow(double, schema).write.parquet(f"file://{folder}/rows")
    rows = spark.read.schema(schema).parquet(f"file://{folder}/rows")
    index = rows.select("path", F.col("_metadata.file_name").alias("file"))
    chosen = rows.join(index, "path").groupBy("path").agg(F.min_by("file", "file").alias("file")).cache()
    chosen.groupBy("file").agg(F.count("*").alias("rows"), F.collect_list("path").alias("paths")).collect()
    rows.join(chosen, "path", "left_anti").write.format("noop").mode("overwrite").save()
    spark.range(0, 2, 1, 2).mapInArrow(double, schema).write.format("noop").mode("overwrite").save()
    list(spark.range(0, 2, 1, 2).mapInArrow(double, schema).toLocalIterator())
    spark.range(0, 1, 1, 1).mapInArrow(large, "sums binary").collect()

    package = spark._jvm.org.apache.spark.ml.feature  # type: ignore[union-attr]
    vector = _py2java(context, DenseVector([1.0, 2.0]))
    matrix = _py2java(context, DenseMatrix(2, 1, [1.0, 0.0]))
    scaler = StandardScalerModel(package.StandardScalerModel("scaler", vector, vector))
    pca = PCAModel(package.PCAModel("pca", matrix, _py2java(context, DenseVector([1.0]))))
    scaler.write().save(f"file://{folder}/scaler")
    pca.write().save(f"file://{folder}/pca")

    package = spark._jvm.org.apache.spark.ml.classification  # type: ignore[union-attr]
    wide = _py2java(context, DenseMatrix(2, 1, [1.0, 0.0], isTransposed=True))
    classifier = LogisticRegressionModel(package.LogisticRegressionModel("classifier", wide, vector, 2, True))
    classifier.write().save(f"file://{folder}/classifier")
    rows.select("path", "label", F.col("label").alias("prediction")).write.parquet(f"file://{folder}/predictions")
    said = spark.read.parquet(f"file://{folder}/predictions")
    said.groupBy("label", "prediction").count().collect()
    said.orderBy(F.expr("prediction <=> label"), F.xxhash64("path")).limit(5).collect()


if __name__ == "__main__":
    main(sys.argv[1])
