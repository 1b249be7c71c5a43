"""Finding what is known among many ids: made-up files of features, all of whose images are listed again, but one.

Runs in Spark: `spark-submit known_ids.py FOLDER IDS`. Prints seconds, and whether the driver compared them itself.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from pipeline import comparison, feature_cache, results

FILE_ROWS = 100_000
CLASSES = 100
KEY = "0" * 16
LABELS = [f"{number:03d}" for number in range(CLASSES)]


def make(folder: str, ids: int) -> None:
    """A listing of `ids` images and one more, and files of features of all but that one, which are one number long."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_write, folder, ids), range(0, ids + 1, FILE_ROWS)))


def _write(folder: str, ids: int, start: int) -> None:
    numbers = range(start, min(start + FILE_ROWS, ids + 1))
    rows: dict[str, Any] = {
        "path": [f"{number % CLASSES:03d}/{number:09d}.jpg" for number in numbers],
        "label": [LABELS[number % CLASSES] for number in numbers],
        "etag": [f"{number:032x}" for number in numbers],
    }
    size = pa.array([3_000] * len(numbers), pa.int64())
    nothing = pa.nulls(len(numbers), pa.string())
    listing = pa.table({**rows, "size": size, "error": nothing, "message": nothing, "offset": nothing.cast(pa.int64())})
    number = start // FILE_ROWS
    listed_rows = listing.select(results.LISTING_SCHEMA.names).cast(results.LISTING_SCHEMA)
    results.write_table(f"{folder}/listing/{number:05d}.parquet", listed_rows)
    index = pa.array([number % CLASSES for number in numbers], pa.int32())
    features = pa.table({**rows, "label_index": index, "features": results.vectors(np.zeros((len(numbers), 1)))})
    known_rows = features.select(results.FEATURES_SCHEMA.names).cast(results.FEATURES_SCHEMA)
    if numbers[-1] == ids:
        known_rows = known_rows.slice(0, len(numbers) - 1)
    if len(known_rows):
        results.write_table(f"{folder}/output/{results.FEATURES}/{KEY}-{number:05d}.parquet", known_rows)


def main(folder: str, ids: int) -> None:
    """Look them up as the job does, and count what is left to do."""
    SparkSession.builder.getOrCreate()
    published = results.parquet_files(f"{folder}/output/{results.FEATURES}")
    started = time.monotonic()
    cached = feature_cache.look_up(
        f"{folder}/output",
        LABELS,
        listing=f"{folder}/listing",
        unknown=f"{folder}/unknown",
        published=published,
        key=KEY,
        prefix=f"{KEY}-new-",
    )
    left = results.count_rows(cached.todo)
    seconds = time.monotonic() - started
    if cached.count != ids or left != 1:
        raise RuntimeError(f"{cached.count} of {ids} ids are known, {left} are left to do, not 1")
    by_driver = 2 * ids + 1 <= comparison.MOST_ROWS
    figures = {"ids": ids, "seconds": round(seconds, 2), "by_driver": by_driver}
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
