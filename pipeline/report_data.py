"""What the report shows of a run: examples, a sample of the points, the rejected, the settings and their reasons."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import decoding, results, store
from pipeline.accounting import Rejections
from pipeline.classify import Scores
from pipeline.folder import file
from pipeline.redaction import redacted
from pipeline.reduce import Reduction
from pipeline.report import Content, Example, Setting
from pipeline.settings import REASON, Settings

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
    reduced = spark.read.schema(results.spark_schema(results.REDUCED_SCHEMA)).parquet(
        store.spark_path(f"{work}/{results.REDUCED}")
    )
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
        examples=_examples(spark, settings.input, predictions=f"{work}/{results.PREDICTIONS}"),
        rejected=list(rejections.first),
        settings=_settings(spark),
    )


def _examples(spark: SparkSession, source: str, *, predictions: str) -> list[Example]:
    """Test images, mistakes first; training images only where there is nothing to test."""
    order = [F.col("split"), F.expr("prediction <=> label"), F.xxhash64("path")]
    examples = []
    rows = spark.read.schema(results.spark_schema(results.PREDICTIONS_SCHEMA)).parquet(store.spark_path(predictions))
    for row in rows.orderBy(*order).limit(EXAMPLES).collect():
        try:
            rgb = decoding.decode(_read(source, row["path"]), size=THUMBNAIL)
        except (*store.MissingOrDenied, decoding.UndecodableError):
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


def _read(source: str, path: str) -> bytes:
    if source.startswith("s3://"):
        return store.fetch(source, path).content
    return Path(file(source, path)).read_bytes()


def _settings(spark: SparkSession) -> list[Setting]:
    conf = dict(spark.sparkContext.getConf().getAll())
    reasons = {key.removeprefix(REASON): reason for key, reason in conf.items() if key.startswith(REASON)}
    return [
        Setting(key=key, value=redacted(key, conf.get(key, "")), reason=reason)
        for key, reason in sorted(reasons.items())
    ]
