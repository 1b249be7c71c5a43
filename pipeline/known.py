"""Which features of earlier runs still hold: those of images that are listed with the same etag, by the same model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store


@dataclass(frozen=True)
class Known:
    """What is left of earlier runs.

    Attributes:
        count: images whose features are known.
        published: names of the files below the output's features/ that hold as they are.
        todo: the listed images that are not known; columns of LISTING_SCHEMA.
        replaced: names of the files in preparation whose good rows are in others; to be removed once `todo`, which is
            worked out from them, has been used.
    """

    count: int
    published: Sequence[str]
    todo: DataFrame
    replaced: Sequence[str]


def find(spark: SparkSession, output: str, labels: Sequence[str], *, key: str, prefix: str) -> Known:
    """Sort the feature files of earlier runs: kept as they are, written anew without what is gone, or removed.

    A file is kept where all its rows are listed with the same etag and its label_index is today's. The others' good
    rows go to new files among the results in preparation.

    Args:
        spark: the session.
        output: the output location, whose listing is complete.
        labels: the classes, in the order of label_index.
        key: begins the name of every file whose features this model and decoder made.
        prefix: begins the name of every file that this run writes.
    """
    listing = spark.read.schema(results.spark_schema(results.LISTING_SCHEMA)).parquet(
        store.spark_path(results.listing(output))
    )
    published, prepared = f"{output}/{results.FEATURES}", f"{results.staging(output)}/{results.FEATURES}"
    places = {name: folder for folder in (published, prepared) for name in results.parquet_files(folder)}
    foreign = [name for name, folder in places.items() if folder == prepared and not name.startswith(key)]
    results.drop_features(output, foreign)
    places = {name: folder for name, folder in places.items() if name.startswith(key)}
    if not places:
        return Known(0, [], listing, [])

    index = (
        spark.read.schema(results.spark_schema(results.FEATURES_SCHEMA))
        .parquet(*[store.spark_path(f"{folder}/{name}") for name, folder in places.items()])
        .select(
            "path",
            "etag",
            (F.col("label_index") == results.label_index(labels)).alias("current"),
            F.col("_metadata.file_name").alias("file"),
        )
    )
    held = listing.select("path", "etag").join(index, ["path", "etag"])
    # A worker that outlived its killed driver may have left an image twice: the first file by name has it.
    chosen = (
        held.groupBy("path", "etag")
        .agg(F.min_by(F.struct("file", "current"), "file").alias("in"))
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
        rows = chosen.where(F.col("file").isin(partly)).groupBy("file").agg(F.collect_list("path").alias("paths"))
        work = partial(_rewrite, places=places, target=prepared, prefix=prefix, labels=list(labels))
        rows.mapInArrow(work, "file string").write.format("noop").mode("overwrite").save()
    replaced = [name for name, folder in places.items() if folder == prepared and name not in whole]
    published_whole = sorted(name for name in whole if places[name] == published)
    todo = listing.join(chosen.select("path", "etag"), ["path", "etag"], "left_anti")
    return Known(
        sum(row["rows"] for row in kept.values()),
        published_whole,
        todo.select(*results.LISTING_SCHEMA.names),
        replaced,
    )


def _rewrite(
    batches: Iterable[pa.RecordBatch], *, places: dict[str, str], target: str, prefix: str, labels: list[str]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for row in batch.to_pylist():
            table = results.read_table(f"{places[row['file']]}/{row['file']}")
            table = table.filter(pc.is_in(table["path"], pa.array(row["paths"], pa.string())))
            index = pc.index_in(table["label"], pa.array(labels, pa.string())).cast(pa.int32())
            table = table.set_column(table.schema.get_field_index("label_index"), "label_index", index)
            name = f"{prefix}{blake2b(row['file'].encode(), digest_size=6).hexdigest()}.parquet"
            results.write_table(f"{target}/{name}", table)
            yield pa.RecordBatch.from_pydict({"file": [name]})
