"""What the report shows of a run: examples, a sample of the points, the rejected, the settings and their reasons."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import decoding, loading, results, store
from pipeline.accounting import Rejections
from pipeline.classify import Scores
from pipeline.images import ImageRef
from pipeline.names import shard_of
from pipeline.redaction import redacted
from pipeline.reduce import Reduction
from pipeline.report import Content, Example, Setting
from pipeline.settings import REASON, Settings
from pipeline.shards import ReplacedError

EXAMPLES = 24
POINTS = 3000
THUMBNAIL = 100


def gather(
    spark: SparkSession,
    settings: Settings,
    *,
    work: str,
    record: Mapping[str, Any],
    scores: Scores,
    reduction: Reduction,
    rejections: Rejections,
) -> Content:
    """All that the report needs, a few thousand rows however many images there are."""
    reduced = _read(spark, f"{work}/{results.REDUCED}", results.REDUCED_SCHEMA)
    axes = min(2, reduction.components.shape[1])
    drawn = (
        reduced.select("label", F.slice("pca", 1, axes).alias("at")).orderBy(F.xxhash64("path")).limit(POINTS).collect()
    )
    return Content(
        run=record,
        ratios=reduction.ratios.tolist(),
        components=reduction.components.shape[1],
        points=np.array([row["at"] for row in drawn], dtype=np.float64),
        point_labels=[row["label"] for row in drawn],
        labels=list(scores.labels),
        confusion=scores.confusion,
        metrics={**scores.metrics(), "notes": record["notes"]},
        examples=_examples(spark, settings.input, work=work),
        rejected=list(rejections.first),
        settings=_settings(spark),
    )


def _examples(spark: SparkSession, source: str, *, work: str) -> list[Example]:
    """Test images, mistakes first; training images only where there is nothing to test."""
    order = [F.col("split"), F.expr("prediction <=> label"), F.xxhash64("path")]
    examples = []
    predictions = _read(spark, f"{work}/{results.PREDICTIONS}", results.PREDICTIONS_SCHEMA)
    rows = predictions.orderBy(*order).limit(EXAMPLES).collect()
    members = [row["path"] for row in rows if shard_of(row["path"])]
    listed = {}
    if members:
        listing = _read(spark, results.listing(work), results.LISTING_SCHEMA)
        listed = {row["path"]: ImageRef(**row.asDict()) for row in listing.where(F.col("path").isin(members)).collect()}
    for row in rows:
        path = row["path"]
        try:
            image = listed[path] if shard_of(path) else ImageRef(path, 0, "", row["label"])
            rgb = decoding.decode(loading.fetch_image(image, source)[0], size=THUMBNAIL)
        except (*store.MissingOrDenied, ReplacedError, decoding.UndecodableError):
            continue  # it has gone or changed since its features were made; the report does without it
        sink = io.BytesIO()
        Pillow.fromarray(rgb).save(sink, "JPEG", quality=80)
        examples.append(
            Example(
                thumbnail=sink.getvalue(),
                path=row["path"],
                label=row["label"],
                predicted=row["prediction"],
                probability=row["probability"],
                split=row["split"],
            )
        )
    return examples


def _read(spark: SparkSession, uri: str, schema: pa.Schema) -> DataFrame:
    return spark.read.schema(results.spark_schema(schema)).parquet(store.spark_path(uri))


def _settings(spark: SparkSession) -> list[Setting]:
    conf = dict(spark.sparkContext.getConf().getAll())
    reasons = {key.removeprefix(REASON): reason for key, reason in conf.items() if key.startswith(REASON)}
    return [
        Setting(key=key, value=redacted(key, conf.get(key, "")), reason=reason)
        for key, reason in sorted(reasons.items())
    ]
