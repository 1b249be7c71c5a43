"""Today's listing beside the features of earlier runs: which images are known, told by the driver or by the workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import RDD
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store
from pipeline.names import MEMBER_PATTERN
from pipeline.worker import tune_worker

# Rows of listing and features together, some 200 bytes each, that one process compares, about.
MOST_ROWS = 1_000_000
KEY_COLUMNS = ("path", "label", "label_index", "etag")
FILE = "file"  # the column that says, by its number, which file of features a row is of

_FEATURES_SCHEMA = pa.schema([*map(results.FEATURES_SCHEMA.field, KEY_COLUMNS), (FILE, pa.int32())])
_Source = TypeVar("_Source")
# Of a bucket: its number; that of the part that read the rows, by which they are in order; the rows, as Arrow bytes.
_Rows = tuple[int, tuple[int, bytes]]


@dataclass(frozen=True)
class Kept:
    """Rows of a file of features whose images are listed with the same etag, and whether their labels are today's."""

    rows: int
    is_current: bool


@dataclass(frozen=True)
class KeptImages:
    """Images of the file of features number `file` that are known: tables of path and today's label, as Arrow bytes."""

    file: int
    tables: Sequence[bytes]

    def labels(self) -> dict[str, str]:
        """By path, today's label."""
        tables = [pa.ipc.open_stream(packed).read_all() for packed in self.tables]
        return {path: label for table in tables for path, label in zip(*table.to_pydict().values(), strict=True)}


@dataclass(frozen=True)
class Comparison:
    """The listing beside the files of features.

    Attributes:
        kept: by number, the files that have rows which are known.
        images_of: the known images of the files of these numbers.
    """

    kept: Mapping[int, Kept]
    images_of: Callable[[Collection[int]], RDD[KeptImages]]


def compare(
    files: Sequence[str], labels: Sequence[str], *, listing: Sequence[str], unknown: str, rows: int
) -> Comparison:
    """Look each listed image up among those of the files of features; the first file that has it counts.

    Args:
        files: URIs of features, in the order in which they count.
        labels: the classes, in the order of label_index.
        listing: URIs of the complete listing.
        unknown: location for the listing of what is not known, in the order of the listing.
        rows: of all these files together.

    Raises:
        STORE_ERRORS: a file cannot be read, by the driver.
    """
    if rows <= MOST_ROWS:
        return _in_driver(files, labels, listing=listing, unknown=unknown)
    return _in_workers(files, labels, listing=listing, unknown=unknown, rows=rows)


def _in_driver(files: Sequence[str], labels: Sequence[str], *, listing: Sequence[str], unknown: str) -> Comparison:
    """At once: the workers' first task for it would take longer."""
    with ThreadPoolExecutor(8) as pool:
        listed = pa.concat_tables(pool.map(results.read_table, listing))
        known = pa.concat_tables(pool.map(_read_features, enumerate(files)))
    new, kept = _match(listed, known, labels)
    results.write_table(f"{unknown}/00000.parquet", new)

    def images_of(chosen: Collection[int]) -> RDD[KeptImages]:
        context = SparkSession.builder.getOrCreate().sparkContext
        return context.parallelize([KeptImages(file, [packed]) for file, packed in _images(kept, chosen)])

    return Comparison(dict(_count(kept)), images_of)


def _in_workers(
    files: Sequence[str], labels: Sequence[str], *, listing: Sequence[str], unknown: str, rows: int
) -> Comparison:
    """In buckets of which each has all rows of a path: every file is read once, and a worker holds one bucket.

    Not by etag, though that is shorter: copies of one file have the same on S3, and would all be in one bucket.
    """
    spark = SparkSession.builder.getOrCreate()
    buckets = -(-rows // MOST_ROWS)
    listed = spark.sparkContext.parallelize(listing, min(buckets, len(listing)))
    known = spark.sparkContext.parallelize(list(enumerate(files)), min(buckets, len(files)))
    first = listed.getNumPartitions()
    split = spark.sparkContext.union(
        [
            listed.mapPartitionsWithIndex(partial(_split, read=results.read_table, first=0, buckets=buckets)),
            known.mapPartitionsWithIndex(partial(_split, read=_read_features, first=first, buckets=buckets)),
        ]
    ).partitionBy(buckets, int)

    unsorted = f"{unknown}-unsorted"
    counted = split.mapPartitionsWithIndex(partial(_count_bucket, labels=labels, first=first, unknown=unsorted))
    kept = counted.reduceByKey(_together, buckets).collectAsMap()
    if results.parquet_files(unsorted):
        new = spark.read.schema(results.spark_schema(results.LISTING_SCHEMA)).parquet(store.spark_path(unsorted))
        # Members of an archive stay together, in their order: a task has them by one request. Classes do, too: where
        # one is removed, the other classes' files of features stand.
        new = new.orderBy(F.regexp_extract("path", MEMBER_PATTERN, 1), "offset", "path")
        new.write.mode("overwrite").parquet(store.spark_path(unknown))

    def images_of(chosen: Collection[int]) -> RDD[KeptImages]:
        chosen = frozenset(chosen)  # what the buckets hold is there from the count: no file is read again
        images = split.mapPartitions(partial(_choose_of_bucket, labels=labels, first=first, chosen=chosen))
        return images.groupByKey(buckets).map(lambda found: KeptImages(found[0], list(found[1])))

    return Comparison(kept, images_of)


def _split(
    part: int, files: Iterable[_Source], *, read: Callable[[_Source], pa.Table], first: int, buckets: int
) -> Iterator[_Rows]:
    """The rows of some files, by bucket."""
    tune_worker()
    tables = [read(file) for file in files]
    if not tables:
        return
    table = pa.concat_tables(tables)
    hashes = (crc32(path.encode()) % buckets for path in table["path"].to_pylist())
    for bucket, packed in _pack_by(table, np.fromiter(hashes, np.int64, len(table))):
        yield bucket, (first + part, packed)


def _count_bucket(
    bucket: int, rows: Iterable[_Rows], *, labels: Sequence[str], first: int, unknown: str
) -> Iterator[tuple[int, Kept]]:
    """What of each file is known; what is not known is written."""
    tune_worker()
    new, kept = _match_bucket(rows, labels, first=first)
    if len(new):
        results.write_table(f"{unknown}/{bucket:05d}.parquet", new)
    yield from _count(kept)


def _choose_of_bucket(
    rows: Iterable[_Rows], *, labels: Sequence[str], first: int, chosen: Collection[int]
) -> Iterator[tuple[int, bytes]]:
    tune_worker()
    yield from _images(_match_bucket(rows, labels, first=first)[1], chosen)


def _match_bucket(rows: Iterable[_Rows], labels: Sequence[str], *, first: int) -> tuple[pa.Table, pa.Table]:
    """`_match` of a bucket, whose parts from the number `first` on are of files of features."""
    tables = {part: pa.ipc.open_stream(packed).read_all() for _, (part, packed) in rows}
    listed = [tables[part] for part in sorted(tables) if part < first]
    known = [tables[part] for part in sorted(tables) if part >= first]
    return _match(
        pa.concat_tables([results.LISTING_SCHEMA.empty_table(), *listed]),
        pa.concat_tables([_FEATURES_SCHEMA.empty_table(), *known]),
        labels,
    )


def _match(listed: pa.Table, known: pa.Table, labels: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """The listed rows that are not known; and of the others path, label, FILE, and whether the label is as it was."""
    row = pc.index_in(_identity(listed), value_set=_identity(known))  # the first row where there are several
    is_known = pc.is_valid(row)
    kept, had = listed.filter(is_known).select(["path", "label"]), known.take(row.drop_null())
    index = pc.index_in(kept["label"], value_set=pa.array(labels, pa.string()))
    is_current = pc.and_(pc.equal(had["label"], kept["label"]), pc.equal(had["label_index"], index))
    kept = kept.append_column(FILE, had[FILE]).append_column("is_current", pc.fill_null(is_current, False))
    return listed.filter(pc.invert(is_known)), kept


def _count(kept: pa.Table) -> Iterator[tuple[int, Kept]]:
    files, place = np.unique(kept[FILE].to_numpy(), return_inverse=True)
    rows = np.bincount(place, minlength=len(files))
    current = np.bincount(place, weights=kept["is_current"].to_numpy(), minlength=len(files))
    for file, count, as_today in zip(files.tolist(), rows.tolist(), current.tolist(), strict=True):
        yield file, Kept(count, as_today == count)


def _images(kept: pa.Table, chosen: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """The kept images of the chosen files, by file."""
    kept = kept.filter(pc.is_in(kept[FILE], value_set=pa.array(sorted(chosen), pa.int32())))
    yield from _pack_by(kept.select(["path", "label"]), kept[FILE].to_numpy())


def _pack_by(table: pa.Table, numbers: NDArray[np.integer[Any]]) -> Iterator[tuple[int, bytes]]:
    """The rows of each number as Arrow bytes, in their order."""
    order = np.argsort(numbers, kind="stable")
    table, (values, starts) = table.take(order), np.unique(numbers[order], return_index=True)
    for value, (start, end) in zip(values.tolist(), pairwise([*starts.tolist(), len(table)]), strict=True):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table.slice(start, end - start))
        yield value, sink.getvalue().to_pybytes()


def _read_features(file: tuple[int, str]) -> pa.Table:
    """What tells the images of a file of features, and the file's number."""
    number, uri = file
    table = results.read_columns(uri, KEY_COLUMNS)
    return table.append_column(FILE, pa.repeat(pa.scalar(number, pa.int32()), len(table))).cast(_FEATURES_SCHEMA)


def _together(one: Kept, other: Kept) -> Kept:
    return Kept(one.rows + other.rows, one.is_current and other.is_current)


def _identity(table: pa.Table) -> pa.ChunkedArray:
    """What makes a row the same image: its path and etag, neither of which has a zero byte."""
    return pc.binary_join_element_wise(table["path"], table["etag"], "\0")
