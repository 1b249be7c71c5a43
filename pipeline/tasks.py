"""Calls a function on every task slot, each with its share of files: the files' names travel, not their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from pipeline.worker import tune_worker

if TYPE_CHECKING:  # a client of Spark Connect has none
    from pyspark import SparkContext

_T = TypeVar("_T")


def over(context: SparkContext, files: Sequence[str], work: Callable[[int, list[str]], _T], *, tasks: int) -> list[_T]:
    """What `work` returns for the number and the files of each task, in the order of the tasks.

    Args:
        context: of the cluster.
        files: URIs, one at least.
        work: called in the Python workers. What it returns goes through the JVM: a little, or nothing.
        tasks: at most so many.
    """
    shares = [list(files[start::tasks]) for start in range(min(tasks, len(files)))]

    def run(task: int, files: Iterable[list[str]]) -> Iterator[_T]:
        tune_worker()
        for share in files:
            yield work(task, share)

    return context.parallelize(shares, len(shares)).mapPartitionsWithIndex(run).collect()
