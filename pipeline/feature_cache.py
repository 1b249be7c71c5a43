"""Which features of earlier runs still hold: those of images that are listed with the same etag, by the same model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store
from pipeline.names import MEMBER_PATTERN


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
    places = {name: folder for name, folder in places.items() if name.startswith(key)}
    if not places:
        return CachedFeatures(0, [], [], _files(listing), [])

    spark = SparkSession.builder.getOrCreate()  # only here: to compare nothing with nothing takes it three seconds
    listed = spark.read.schema(results.spark_schema(results.LISTING_SCHEMA)).parquet(store.spark_path(listing))
    index = (
        spark.read.schema(results.spark_schema(results.FEATURES_SCHEMA))
        .parquet(*[store.spark_path(f"{folder}/{name}") for name, folder in places.items()])
        .select("path", "etag", F.col("label").alias("had"), "label_index", F.col("_metadata.file_name").alias("file"))
    )
    is_current = (F.col("had") == F.col("label")) & (F.col("label_index") == results.label_index(labels))
    known = listed.select("path", "etag", "label").join(index, ["path", "etag"]).withColumn("current", is_current)
    # A worker that outlived its killed driver may have left an image twice: the first file by name has it.
    chosen = (
        known.groupBy("path", "etag")
        .agg(F.min_by(F.struct("file", "label", "current"), "file").alias("in"))
        .select("path", "etag", "in.*")
        .cache()
    )
    kept = {
        row["file"]: row
        for row in chosen.groupBy("file").agg(F.count("*").alias("rows"), F.min("current").alias("current")).collect()
    }
    names = sorted(kept)
    rows_of = dict(zip(names, results.rows_of([f"{places[name]}/{name}" for name in names]), strict=True))
    whole = {name for name in names if kept[name]["current"] and kept[name]["rows"] == rows_of[name]}
    partly = sorted(set(kept) - whole)
    if partly:
        rows = (
            chosen.where(F.col("file").isin(partly))
            .groupBy("file")
            .agg(F.collect_list(F.struct("path", "label")).alias("images"))
        )
        work = partial(_rewrite, places=places, target=prepared, prefix=prefix, labels=list(labels))
        rows.mapInArrow(work, "file string").write.format("noop").mode("overwrite").save()
    replaced = [name for name, folder in places.items() if folder == prepared and name not in whole]
    todo = listed.join(chosen.select("path", "etag"), ["path", "etag"], "left_anti")
    # Members of an archive stay together, in their order: a task has them by one request.
    todo = todo.orderBy(F.regexp_extract("path", MEMBER_PATTERN, 1), "offset", "path")
    todo.select(*results.LISTING_SCHEMA.names).write.mode("overwrite").parquet(store.spark_path(unknown))
    return CachedFeatures(
        sum(row["rows"] for row in kept.values()),
        sorted(name for name in whole if places[name] == place),
        sorted(name for name in whole if places[name] == prepared),
        _files(unknown),
        replaced,
    )


def _files(location: str) -> list[str]:
    return [f"{location}/{name}" for name in results.parquet_files(location)]


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
    batches: Iterable[pa.RecordBatch], *, places: dict[str, str], target: str, prefix: str, labels: list[str]
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
