"""Calls a function on every task slot, each with its share of files: the files' names travel, not their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

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

    def run(task: int, files: Iterable[list[str]]) -> Iterator[bytes]:
        tune_worker()
        for share in files:
            yield work(task, share)

    return spark.sparkContext.parallelize(shares, len(shares)).mapPartitionsWithIndex(run).collect()
