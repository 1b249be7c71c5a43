"""What follows the extraction: features -> components, classifier, report. All of it reads files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import SparkSession

from pipeline import classify, exhibits, reduce, report, results, store
from pipeline.exhibits import Rejections
from pipeline.reduce import Reduction
from pipeline.settings import RunError, Settings
from pipeline.split import Splitter


def reduce_features(
    spark: SparkSession, files: list[str], settings: Settings, *, splitter: Splitter, slots: int
) -> Reduction:
    """Fit scaler and PCA, save them, and write the reduced images to the run in preparation.

    Raises:
        UsageError: there is nothing to fit.
    """
    staging = results.staging(settings.output)
    sums = reduce.measure(spark, files, target=f"{staging}/sums", tasks=slots)
    reduction = reduce.fit(sums, components=settings.components, variance=settings.variance)
    scaler, pca = (store.spark_path(f"{staging}/{name}") for name in (results.SCALER, results.PCA))
    reduce.save(spark, reduction, scaler=scaler, pca=pca)
    reduce.project(spark, files, reduction, splitter=splitter, target=f"{staging}/{results.REDUCED}", tasks=4 * slots)
    cumulative, kept = reduction.ratios.cumsum(), reduction.components.shape[1]
    variance = {"k": kept, "vector": reduction.ratios.tolist(), "cumulative": cumulative.tolist()}
    store.write_json(f"{staging}/{results.VARIANCE}", variance)
    return reduction


def classify_images(
    spark: SparkSession, labels: list[str], *, staging: str, images: int, components: int
) -> classify.Scores:
    """Fit, predict, score; every image must come out again in each of the three tables.

    Raises:
        RunError: it does not.
    """
    reduced, predictions = f"{staging}/{results.REDUCED}", f"{staging}/{results.PREDICTIONS}"
    scores = classify.classify(
        spark,
        labels,
        reduced=reduced,
        components=components,
        model=f"{staging}/{results.CLASSIFIER}",
        predictions=predictions,
    )
    store.write_json(f"{staging}/{results.METRICS}", scores.metrics())
    store.write_json(f"{staging}/{results.LABELS}", labels)
    rows = {
        results.REDUCED: results.count_rows([f"{reduced}/{name}" for name in results.parquet_files(reduced)]),
        results.PREDICTIONS: results.count_rows(
            [f"{predictions}/{name}" for name in results.parquet_files(predictions)]
        ),
        results.PREDICTIONS_CSV: classify.write_csv(predictions, f"{staging}/{results.PREDICTIONS_CSV}"),
    }
    for name, there in rows.items():
        if there != images:
            raise RunError(f"{name} has {there} rows for {images} images; run again")
    return scores


def write_report(
    spark: SparkSession,
    settings: Settings,
    *,
    record: Mapping[str, Any],
    scores: classify.Scores,
    reduction: Reduction,
    rejections: Rejections,
) -> None:
    """The page on a run, to the run in preparation."""
    content = exhibits.gather(spark, settings, record=record, scores=scores, reduction=reduction, rejections=rejections)
    store.write(f"{results.staging(settings.output)}/{results.REPORT}", report.render(content).encode())
