"""Listed images -> features in the output, or rejected rows. One runtime a Python worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Accumulator, TaskContext
from pyspark.sql import SparkSession

from pipeline import loading, results, store
from pipeline.images import ImageRef
from pipeline.loading import DecodedImage, Rejected
from pipeline.provenance import software
from pipeline.runtime import Runtime
from pipeline.worker import tune_worker


class ModelError(Exception):
    """The model file is not one that the job can use: one line with the fix."""


@dataclass(frozen=True)
class Model:
    """A LiteRT file: where it is, sha256 of its bytes, edge of its input in pixels, number of features.

    `software` is what runs it on the driver, as `provenance.software` tells. The key of its features counts that, and
    the workers make them: each holds its own against it, once.
    """

    uri: str
    sha256: str
    size: int
    features: int
    software: str


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What a task has to know.

    Attributes:
        source: the input location.
        target: location of the parquet files of features.
        prefix: begins the name of every file that this run writes there.
        model: to run.
        labels: the classes; their order gives label_index.
        done: counts images with features, as tasks end.
        failed: counts rejected images.
    """

    source: str
    target: str
    prefix: str
    model: Model
    labels: tuple[str, ...]
    done: Accumulator[int]
    failed: Accumulator[int]


def inspect(uri: str) -> Model:
    """Read the model file and hold it against what the job needs.

    Raises:
        ModelError: it is no LiteRT file, or not one from uint8 RGB squares to float32 features.
        StoreError: it cannot be read.
    """
    content = store.read(uri)
    try:
        runtime = Runtime(content)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"--model {uri} is no LiteRT file ({str(error).splitlines()[0]}); build one") from error
    return Model(uri, sha256(content).hexdigest(), runtime.size, runtime.features, software())


def warm_up(spark: SparkSession, model: Model) -> None:
    """Start a Python worker a task slot and build the model in it: 2 s in which the first images would wait."""

    def build(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        _runtime(model)
        tune_worker()
        return batches

    slots = spark.sparkContext.defaultParallelism
    spark.range(0, slots, 1, slots).mapInArrow(build, "slot long").write.format("noop").mode("overwrite").save()


def extract(batches: Iterable[pa.RecordBatch], task: Extraction) -> Iterator[pa.RecordBatch]:
    """One task of `mapInArrow`: writes its images' features as one parquet file, yields the rejected rows.

    The file's name comes from the number of the partition: a task that is tried again replaces its own file.
    """
    runtime = _runtime(task.model)
    tune_worker()
    listed = (ImageRef(**row) for batch in batches for row in batch.to_pylist())
    good: list[DecodedImage] = []
    vectors: list[NDArray[np.float32]] = []
    rejected: list[Rejected] = []

    def infer(batch: list[DecodedImage]) -> None:
        for image, vector in zip(batch, runtime.infer([loaded.rgb for loaded in batch]), strict=True):
            if np.isfinite(vector).all():
                good.append(image)
                vectors.append(vector)
            else:
                rejected.append(Rejected(image.image, "infer", "NotFinite", "the model gives no finite features"))

    waiting: list[DecodedImage] = []
    for outcome in loading.load(listed, task.source, size=task.model.size):
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
            continue
        waiting.append(outcome)
        if len(waiting) == runtime.batch:
            infer(waiting)
            waiting = []
    if waiting:
        infer(waiting)
    if good:
        context = TaskContext.get()
        part = context.partitionId() if context else 0
        results.write_table(f"{task.target}/{task.prefix}{part:05d}.parquet", _table(good, vectors, task.labels))
    task.done.add(len(good))
    task.failed.add(len(rejected))
    if rejected:
        rows = [
            {**{name: getattr(row.image, name) for name in ("path", "size", "etag")},
             "stage": row.stage, "error": row.error, "message": row.message}
            for row in rejected
        ]  # fmt: skip
        yield pa.RecordBatch.from_pylist(rows, schema=results.REJECTED_SCHEMA)


def _table(good: list[DecodedImage], vectors: list[NDArray[np.float32]], labels: tuple[str, ...]) -> pa.Table:
    index = {label: number for number, label in enumerate(labels)}
    columns = [
        [loaded.image.path for loaded in good],
        [loaded.image.label for loaded in good],
        [index[loaded.image.label] for loaded in good],
        [loaded.etag for loaded in good],
        results.vectors(np.stack(vectors)),
    ]
    return pa.table(columns, schema=results.FEATURES_SCHEMA)


@lru_cache(maxsize=1)
def _runtime(model: Model) -> Runtime:
    """Built once in a Python worker process, which Spark keeps for the tasks to come."""
    content = store.read(model.uri)
    if sha256(content).hexdigest() != model.sha256:
        raise ModelError(
            f"--model {model.uri} is not the file that the run began with; leave it in place while a job runs"
        )
    if (here := software()) != model.software:
        raise ModelError(f"a worker has {here}, the driver {model.software}; install the same on every node")
    return Runtime(content)
