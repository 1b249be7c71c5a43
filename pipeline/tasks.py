"""Calls a function on every task slot, each with its share of files: the files' names travel, not their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline.worker import tune_worker


def over(
    spark: SparkSession, files: Sequence[str], work: Callable[[int, list[str]], bytes], *, tasks: int
) -> list[bytes]:
    """What `work` returns for the number and the files of each task, in the order of the tasks.

    Args:
        spark: the session.
        files: URIs, one at least.
        work: called in the Python workers. What it returns goes through the JVM: a little, or nothing.
        tasks: at most so many.
    """
    shares = [list(files[start::tasks]) for start in range(min(tasks, len(files)))]

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tune_worker()
        for batch in batches:
            numbers = batch.column(0).to_pylist()
            results = [work(number, shares[number]) for number in numbers]
            yield pa.RecordBatch.from_pydict({"task": pa.array(numbers, pa.int64()), "result": results})

    done = spark.range(0, len(shares), 1, len(shares)).mapInArrow(run, "task long, result binary")
    return [bytes(row["result"]) for row in sorted(done.collect())]
