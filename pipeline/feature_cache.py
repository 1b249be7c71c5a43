"""Which features of earlier runs still hold: those of images that are listed with the same etag, by the same model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store
from pipeline.names import MEMBER_PATTERN

# Rows of listing and features that the driver compares itself, some 200 bytes each; more of them are Spark's.
DRIVER_ROWS = 1_000_000
KEY_COLUMNS = ("path", "label", "label_index", "etag")
IMAGES = "path string, label string, file string"


@dataclass(frozen=True)
class CachedFeatures:
    """What is left of earlier runs.

    Attributes:
        count: images whose features are known.
        published: names of the files below the output's features/ that hold as they are.
        prepared: names of those that another run left in preparation.
        todo: URIs of the parquet files that list the images that are not known (LISTING_SCHEMA).
        replaced: names of the files in preparation whose good rows are in others; to be removed once `todo`, which is
            worked out from them, has been used.
    """

    count: int
    published: Sequence[str]
    prepared: Sequence[str]
    todo: Sequence[str]
    replaced: Sequence[str]


@dataclass(frozen=True)
class _Kept:
    """Rows of a file of features whose images are listed with the same etag, and whether their labels are today's."""

    rows: int
    is_current: bool


@dataclass(frozen=True)
class _Comparison:
    """The listing beside the files of features.

    Attributes:
        kept: by name, files that have rows which are known.
        images_of: the known images of the files of these names, with the labels of today; columns of IMAGES.
    """

    kept: Mapping[str, _Kept]
    images_of: Callable[[Sequence[str]], DataFrame]


def look_up(
    output: str,
    labels: Sequence[str],
    *,
    listing: str,
    unknown: str,
    published: Collection[str],
    key: str,
    prefix: str,
) -> CachedFeatures:
    """Sort the feature files of earlier runs: kept as they are, written anew without what is gone, or removed.

    A file is kept where all its rows are listed with the same etag and their label and label_index are today's: that
    of an image in the input itself is the input's name, which may change. The others' good rows go to new files among
    the results in preparation.

    Args:
        output: the output location.
        labels: the classes, in the order of label_index.
        listing: location of the complete listing.
        unknown: location for the listing of what is not known.
        published: names below the output's features/ of the files that runs recorded.
        key: begins the name of every file whose features this model and decoder made.
        prefix: begins the name of every file that this run writes.
    """
    place, prepared = f"{output}/{results.FEATURES}", f"{results.staging(output)}/{results.FEATURES}"
    places = dict.fromkeys(published, place) | dict.fromkeys(results.parquet_files(prepared), prepared)
    foreign = [name for name, folder in places.items() if folder == prepared and not name.startswith(key)]
    store.delete(prepared, foreign)
    # In the order of their names: a worker that outlived its killed driver may have left an image twice, and the first
    # file has it.
    places = {name: folder for name, folder in sorted(places.items()) if name.startswith(key)}
    if not places:
        return CachedFeatures(0, [], [], _files(listing), [])

    files = {name: f"{folder}/{name}" for name, folder in places.items()}
    rows_of = dict(zip(files, results.rows_of(list(files.values())), strict=True))
    listed = results.count_rows(_files(listing))
    compare = _compare_in_driver if listed + sum(rows_of.values()) <= DRIVER_ROWS else _compare_in_spark
    comparison = compare(files, labels, listing=listing, unknown=unknown)
    whole = {name for name, kept in comparison.kept.items() if kept.is_current and kept.rows == rows_of[name]}
    if partly := sorted(set(comparison.kept) - whole):
        rewrite = partial(_rewrite, places=places, target=prepared, prefix=prefix, labels=list(labels))
        rows = (
            comparison.images_of(partly).groupBy("file").agg(F.collect_list(F.struct("path", "label")).alias("images"))
        )
        rows.mapInArrow(rewrite, "file string").write.format("noop").mode("overwrite").save()
    return CachedFeatures(
        sum(kept.rows for kept in comparison.kept.values()),
        sorted(name for name in whole if places[name] == place),
        sorted(name for name in whole if places[name] == prepared),
        _files(unknown),
        [name for name, folder in places.items() if folder == prepared and name not in whole],
    )


def _compare_in_driver(files: Mapping[str, str], labels: Sequence[str], *, listing: str, unknown: str) -> _Comparison:
    """By looking each listed image up in a table of the known ones: Spark takes 3 s for its plans alone."""
    listed = pa.concat_tables(map(results.read_table, _files(listing)))
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(partial(results.read_columns, columns=KEY_COLUMNS), files.values()))
    known = pa.concat_tables(tables)
    names = list(files)
    file_of = np.repeat(np.arange(len(names)), [table.num_rows for table in tables])

    row = pc.index_in(_identity(listed), value_set=_identity(known))  # the first row where there are several
    is_known = pc.is_valid(row)
    kept, rows = listed.filter(is_known).select(["path", "label"]), row.drop_null()
    had = known.take(rows)
    index = pc.index_in(kept["label"], value_set=pa.array(labels, pa.string()))
    is_current = pc.and_(pc.equal(had["label"], kept["label"]), pc.equal(had["label_index"], index))
    kept_files = file_of[rows.to_numpy()]
    count = np.bincount(kept_files, minlength=len(names))
    current = np.bincount(kept_files, weights=pc.fill_null(is_current, False).to_numpy(), minlength=len(names))

    def images_of(chosen: Sequence[str]) -> DataFrame:
        table = kept.append_column("file", pa.array(names, pa.string()).take(pa.array(kept_files)))
        table = table.filter(pc.is_in(table["file"], value_set=pa.array(chosen, pa.string())))
        results.write_table(f"{unknown}-not/00000.parquet", table)
        return SparkSession.builder.getOrCreate().read.schema(IMAGES).parquet(store.spark_path(f"{unknown}-not"))

    # As listed: members of an archive stay together, in their order.
    results.write_table(f"{unknown}/00000.parquet", listed.filter(pc.invert(is_known)))
    return _Comparison(
        {
            name: _Kept(int(count[number]), bool(current[number] == count[number]))
            for number, name in enumerate(names)
            if count[number]
        },
        images_of,
    )


def _compare_in_spark(files: Mapping[str, str], labels: Sequence[str], *, listing: str, unknown: str) -> _Comparison:
    """By a join, whose size the driver does not feel."""
    spark = SparkSession.builder.getOrCreate()
    listed = spark.read.schema(results.spark_schema(results.LISTING_SCHEMA)).parquet(store.spark_path(listing))
    index = (
        spark.read.schema(results.spark_schema(results.FEATURES_SCHEMA))
        .parquet(*map(store.spark_path, files.values()))
        .select("path", "etag", F.col("label").alias("had"), "label_index", F.col("_metadata.file_name").alias("file"))
    )
    is_current = (F.col("had") == F.col("label")) & (F.col("label_index") == results.label_index(labels))
    known = listed.select("path", "etag", "label").join(index, ["path", "etag"]).withColumn("current", is_current)
    chosen = (
        known.groupBy("path", "etag")
        .agg(F.min_by(F.struct("file", "label", "current"), "file").alias("in"))
        .select("path", "etag", "in.*")
        .cache()
    )
    counted = chosen.groupBy("file").agg(F.count("*").alias("rows"), F.min("current").alias("current"))
    todo = listed.join(chosen.select("path", "etag"), ["path", "etag"], "left_anti")
    # Members of an archive stay together, in their order: a task has them by one request.
    todo = todo.orderBy(F.regexp_extract("path", MEMBER_PATTERN, 1), "offset", "path")
    todo.select(*results.LISTING_SCHEMA.names).write.mode("overwrite").parquet(store.spark_path(unknown))
    return _Comparison(
        {row["file"]: _Kept(row["rows"], bool(row["current"])) for row in counted.collect()},
        lambda names: chosen.where(F.col("file").isin(list(names))).select("path", "label", "file"),
    )


def _files(location: str) -> list[str]:
    return [f"{location}/{name}" for name in results.parquet_files(location)]


def _identity(table: pa.Table) -> pa.ChunkedArray:
    """What makes a row the same image: its path and etag, neither of which has a zero byte."""
    return pc.binary_join_element_wise(table["path"], table["etag"], "\0")


def feature_files(output: str, cached: CachedFeatures, *, published: Mapping[str, int], prefix: str) -> dict[str, int]:
    """URI and size in bytes of the files of a run: those that hold and its own, not what else comes there.

    Args:
        output: the output location.
        cached: what `look_up` found to hold.
        published: name below the output's features/ and size of the files that runs recorded.
        prefix: begins the name of every file that this run wrote.
    """
    prepared, left = f"{results.staging(output)}/{results.FEATURES}", set(cached.prepared)
    kept = {f"{output}/{results.FEATURES}/{name}": published[name] for name in cached.published}
    return kept | {
        f"{prepared}/{name}": size
        for name, size in sorted(store.sizes(prepared))
        if name in left or name.startswith(prefix)
    }


def _rewrite(
    batches: Iterable[pa.RecordBatch], *, places: Mapping[str, str], target: str, prefix: str, labels: list[str]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for row in batch.to_pylist():
            table = results.read_table(f"{places[row['file']]}/{row['file']}")
            today = {image["path"]: image["label"] for image in row["images"]}
            table = table.filter(pc.is_in(table["path"], pa.array(today, pa.string())))
            label = pa.array([today[path] for path in table["path"].to_pylist()], pa.string())
            index = pc.index_in(label, pa.array(labels, pa.string())).cast(pa.int32())
            for name, column in (("label", label), ("label_index", index)):
                table = table.set_column(table.schema.get_field_index(name), name, column)
            name = f"{prefix}{blake2b(row['file'].encode(), digest_size=6).hexdigest()}.parquet"
            results.write_table(f"{target}/{name}", table)
            yield pa.RecordBatch.from_pydict({"file": [name]})
