"""Features -> standard scaler and principal components, in one distributed pass, and the reduced images."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import SparkSession

from pipeline import results, store
from pipeline.settings import UsageError, check_components
from pipeline.split import Splitter
from pipeline.worker import settle

BLOCK_ROWS = 4096  # a block of 4,096 x 1,280 float64 is 42 MB; fewer rows make the d x d merge dominate


@dataclass(frozen=True)
class Moments:
    """Partial sums of `count` rows, float64: `mean` (d,) and `scatter` (d, d), the sum of (x - mean)(x - mean)^T."""

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True)
class Reduction:
    """The fitted scaler and PCA, float64.

    Attributes:
        mean: (d,) of the features.
        deviation: (d,) sample standard deviation, with n - 1, as Spark's scaler has it.
        components: (d, k), orthonormal columns, the largest entry of each positive.
        ratios: (d,) share of the variance of each of all d components, falling.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    components: NDArray[np.float64]
    ratios: NDArray[np.float64]

    def project(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Scale and project (n, d) features to (n, k). A constant feature counts as 0, as in Spark's scaler."""
        return ((rows - self.mean) * _inverse(self.deviation)) @ self.components


def moments(rows: NDArray[np.float64]) -> Moments:
    """Of one block, in two passes over it: the mean first, so that nothing large is subtracted from something large."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merge(left: Moments, right: Moments) -> Moments:
    """Of both together: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983), eq. 2.1."""
    count = left.count + right.count
    shift = right.mean - left.mean
    scatter = left.scatter + right.scatter
    scatter += np.outer(shift, shift * (left.count * right.count / count))
    return Moments(count, left.mean + shift * (right.count / count), scatter)


def measure(spark: SparkSession, files: Sequence[str], *, target: str, tasks: int) -> Moments:
    """Partial sums of all features in `files`, merged on the driver one after the other.

    A task leaves its sums as one object: d x d numbers take ten times as long through the JVM as through the store.

    Args:
        spark: the session.
        files: URIs of feature files, one at least.
        target: location for the partial sums; nobody needs them afterwards.
        tasks: as many as there are task slots: what a task sends does not grow with its images.
    """
    _over(spark, files, partial(_measure_files, target=target), tasks=tasks)
    return functools.reduce(
        merge, (_unpack(store.read(f"{target}/{number}")) for number in range(min(tasks, len(files))))
    )


def fit(sums: Moments, *, components: int | None, variance: float) -> Reduction:
    """Scaler and PCA of the correlation matrix, equal to Spark ML's StandardScaler(withMean=True) and PCA.

    Args:
        sums: of all images.
        components: k, or None.
        variance: where `components` is None, the smallest k that keeps this share.

    Raises:
        UsageError: fewer than two images, no feature that varies, or k > min(n, d).
    """
    if sums.count < 2:
        raise UsageError(f"--input has {sums.count} image with features: a deviation needs two; add images")
    check_components(components, images=sums.count, features=len(sums.mean))
    deviation = np.sqrt(np.diag(sums.scatter) / (sums.count - 1))
    # Rounding gives a constant a deviation of its own, which scaling would blow up to 1: this bound on it, from Chan,
    # Golub, LeVeque, is scikit-learn's too.
    deviation[deviation <= sums.count * np.finfo(np.float64).eps * np.abs(sums.mean)] = 0
    scale = _inverse(deviation)
    values, vectors = np.linalg.eigh(sums.scatter * np.outer(scale, scale))
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    if not values.sum() > 0:
        raise UsageError("--input: all images have the same features, so no component explains anything; add others")
    ratios = values / values.sum()
    limit = min(sums.count, len(sums.mean))
    kept = components or min(int(np.searchsorted(np.cumsum(ratios), variance - 1e-12)) + 1, limit)
    chosen = vectors[:, :kept]
    # An eigenvector's sign is free; fix it as scikit-learn's svd_flip does, so that every machine gives the same.
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(kept)])
    return Reduction(sums.mean, deviation, chosen * signs, ratios)


def save(spark: SparkSession, reduction: Reduction, *, scaler: str, pca: str) -> None:
    """Write both as standard Spark ML models, which `StandardScalerModel.load` and `PCAModel.load` open."""
    # The workers import this module too, and have no use for Spark ML with pandas and SciPy: half a second.
    from pyspark.ml.common import _py2java  # noqa: PLC0415 - the one way to hand vectors to the JVM, as ML's own models
    from pyspark.ml.feature import PCAModel, StandardScalerModel  # noqa: PLC0415
    from pyspark.ml.linalg import DenseMatrix, DenseVector  # noqa: PLC0415

    context, jvm = spark.sparkContext, spark._jvm
    assert jvm is not None  # noqa: S101 - a session has its JVM

    def java(value: DenseVector | DenseMatrix) -> object:
        return _py2java(context, value)

    package = jvm.org.apache.spark.ml.feature
    ratios = reduction.ratios[: reduction.components.shape[1]]
    rows, columns = reduction.components.shape
    matrix = DenseMatrix(rows, columns, reduction.components.ravel(order="F").tolist())
    scaler_model = StandardScalerModel(
        package.StandardScalerModel("scaler", java(DenseVector(reduction.deviation)), java(DenseVector(reduction.mean)))
    )
    pca_model = PCAModel(package.PCAModel("pca", java(matrix), java(DenseVector(ratios))))
    scaler_model._set(withMean=True, withStd=True, inputCol="features", outputCol="scaled")
    pca_model._set(k=len(ratios), inputCol="scaled", outputCol="pca")
    scaler_model.write().overwrite().save(scaler)
    pca_model.write().overwrite().save(pca)


def project(
    spark: SparkSession, files: Sequence[str], reduction: Reduction, *, splitter: Splitter, target: str, tasks: int
) -> None:
    """Write the reduced images: for every file of features one of the same name below `target`."""
    work = partial(_project_files, reduction=spark.sparkContext.broadcast(reduction), splitter=splitter, target=target)
    _over(spark, files, work, tasks=tasks)


def _over(spark: SparkSession, files: Sequence[str], work: Callable[[int, list[str]], None], *, tasks: int) -> None:
    """Call `work` with the number and the files of each task; the files' names travel, not their rows."""
    shares = [list(files[start::tasks]) for start in range(min(tasks, len(files)))]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        settle()
        for batch in batches:
            for number in batch.column(0).to_pylist():
                work(number, shares[number])
            yield batch

    tasks_done = spark.range(0, len(shares), 1, len(shares)).mapInArrow(run, "task long")
    tasks_done.write.format("noop").mode("overwrite").save()


def _measure_files(number: int, files: list[str], *, target: str) -> None:
    sums = functools.reduce(merge, map(moments, _blocks(files)))
    store.write(f"{target}/{number}", _pack(sums))


def _pack(sums: Moments) -> memoryview:
    """Count, mean and scatter in one run of float64; a count is exact in one up to 2^53."""
    return np.concatenate([[sums.count], sums.mean, sums.scatter.ravel()], dtype=np.float64).data.cast("B")


def _unpack(content: bytes) -> Moments:
    numbers = np.frombuffer(content)
    width = (math.isqrt(4 * len(numbers) - 3) - 1) // 2  # 1 + d + d^2 numbers
    return Moments(int(numbers[0]), numbers[1 : width + 1], numbers[width + 1 :].reshape(width, width))


def _blocks(files: list[str]) -> Iterator[NDArray[np.float64]]:
    """The features of many small files in blocks of at least BLOCK_ROWS rows, the last one excepted."""
    waiting: list[NDArray[np.float32]] = []
    for file in files:
        waiting.append(results.matrix(results.read_table(file, ["features"])["features"]))
        if sum(map(len, waiting)) >= BLOCK_ROWS:
            yield np.concatenate(waiting, dtype=np.float64)
            waiting = []
    if waiting:
        yield np.concatenate(waiting, dtype=np.float64)


def _project_files(
    number: int,  # noqa: ARG001 - the result is named after the file of features
    files: list[str],
    *,
    reduction: Broadcast[Reduction],
    splitter: Splitter,
    target: str,
) -> None:
    for file in files:
        table = results.read_table(file, ["path", "label", "features"])
        paths, labels = table["path"].to_pylist(), table["label"].to_pylist()
        sides = [splitter.side(path, label) for path, label in zip(paths, labels, strict=True)]
        reduced = results.vectors(reduction.value.project(results.matrix(table["features"])))
        name = file.rpartition("/")[2]
        results.write_table(
            f"{target}/{name}", pa.table([paths, labels, sides, reduced], schema=results.REDUCED_SCHEMA)
        )


def _inverse(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
