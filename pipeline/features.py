"""Listed images -> features in the output, or rejected rows. One runtime a Python worker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import listing, loading, results, store
from pipeline.images import ImageRef
from pipeline.listing import ListingSlice
from pipeline.loading import DecodedImage, Rejected
from pipeline.provenance import software
from pipeline.runtime import Runtime
from pipeline.worker import tune_worker

if TYPE_CHECKING:  # a client of Spark Connect has neither, and calls `compute`
    from pyspark import Accumulator, SparkContext


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
        rejected: location of the parquet files of rejected images.
        prefix: begins the name of every file that this run writes there.
        model: to run.
        labels: the classes; their order gives label_index.
        done: counts images with features, as tasks end.
        failed: counts rejected images.
    """

    source: str
    target: str
    rejected: str
    prefix: str
    model: Model
    labels: tuple[str, ...]
    done: Accumulator[int]
    failed: Accumulator[int]


@dataclass(frozen=True)
class Computed:
    """What became of some images: rows of FEATURES_SCHEMA, and of REJECTED_SCHEMA for those without features."""

    features: pa.Table
    rejected: pa.Table


def inspect(uri: str) -> Model:
    """Read the model file and hold it against what the job needs.

    Raises:
        ModelError: it is no LiteRT file, or not one from uint8 RGB squares to float32 features.
        STORE_ERRORS: it cannot be read.
    """
    content = store.read(uri)
    try:
        runtime = Runtime(content)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"--model {uri} is no LiteRT file ({str(error).splitlines()[0]}); build one") from error
    return Model(uri, sha256(content).hexdigest(), runtime.size, runtime.features, software())


def warm_up(context: SparkContext, model: Model) -> None:
    """Start a Python worker a task slot and build the model in it: 2 s in which the first images would wait."""

    def build(_: Iterable[int]) -> None:
        _runtime(model)
        tune_worker()

    slots = context.defaultParallelism
    context.parallelize(range(slots), slots).foreachPartition(build)


def extract(part: int, listed: Iterable[ListingSlice], *, task: Extraction) -> Iterator[str]:
    """One task: writes its images' features as one parquet file, the rejected as another; yields the URIs of both.

    Both are named after the number of the part: a task that is tried again replaces its own. What an earlier attempt
    left and the last did not write is in no answer.
    """
    tune_worker()
    refs = (ref for rows in listed for ref in listing.read(rows))
    computed = compute(refs, source=task.source, model=task.model, labels=task.labels)
    name = _file_name(task, part)
    for table, folder in ((computed.features, task.target), (computed.rejected, task.rejected)):
        if len(table):
            results.write_table(f"{folder}/{name}", table)
            yield f"{folder}/{name}"
    task.done.add(len(computed.features))
    task.failed.add(len(computed.rejected))


def compute(images: Iterable[ImageRef], *, source: str, model: Model, labels: Sequence[str]) -> Computed:
    """Fetch, decode and infer `images`, listed below the location `source`; `labels` give label_index.

    Raises:
        ModelError: the file or the libraries here are not those that `model` tells of.
        STORE_ERRORS: the store failed in a way that is not about one image.
    """
    runtime = _runtime(model)
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
    for outcome in loading.load(images, source, size=model.size):
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
            continue
        waiting.append(outcome)
        if len(waiting) == runtime.batch:
            infer(waiting)
            waiting = []
    if waiting:
        infer(waiting)
    rows = [
        {**{name: getattr(row.image, name) for name in ("path", "size", "etag")},
         "stage": row.stage, "error": row.error, "message": row.message}
        for row in rejected
    ]  # fmt: skip
    features = _table(good, vectors, labels) if good else results.FEATURES_SCHEMA.empty_table()
    return Computed(features, pa.Table.from_pylist(rows, schema=results.REJECTED_SCHEMA))


def discard_leftovers(task: Extraction, *, parts: int, written: Collection[str]) -> None:
    """Remove what attempts left that were not the last of their part: `written` are the URIs that the last ones gave.

    An image that an attempt read may be rejected by the next, and the other way round: it would count twice.

    Raises:
        STORE_ERRORS: it cannot be removed.
    """
    names = {_file_name(task, part) for part in range(parts)}
    for location in (task.target, task.rejected):
        there = names.intersection(results.parquet_files(location))
        store.delete(location, sorted(name for name in there if f"{location}/{name}" not in written))


def _file_name(task: Extraction, part: int) -> str:
    return f"{task.prefix}{part:05d}.parquet"


def _table(good: list[DecodedImage], vectors: list[NDArray[np.float32]], labels: Sequence[str]) -> pa.Table:
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
