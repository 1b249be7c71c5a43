"""What follows the extraction: features -> components, classifier, report. All of it reads files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import SparkSession

from pipeline import classify, exhibits, reduce, report, results, spreadsheet, store
from pipeline.exhibits import Rejections
from pipeline.reduce import Reduction
from pipeline.settings import RunError, Settings
from pipeline.split import Splitter


def reduce_features(
    spark: SparkSession, files: list[str], settings: Settings, *, work: str, splitter: Splitter, slots: int
) -> Reduction:
    """Fit scaler and PCA, save them, and write the reduced images to the run's workspace.

    Raises:
        UsageError: there is nothing to fit.
    """
    sums = reduce.measure(spark, files, target=f"{work}/sums", tasks=slots)
    reduction = reduce.fit(sums, components=settings.components, variance=settings.variance)
    scaler, pca = (store.spark_path(f"{work}/{name}") for name in (results.SCALER, results.PCA))
    reduce.save(spark, reduction, scaler=scaler, pca=pca)
    reduce.project(spark, files, reduction, splitter=splitter, target=f"{work}/{results.REDUCED}", tasks=4 * slots)
    cumulative, kept = reduction.ratios.cumsum(), reduction.components.shape[1]
    variance = {"k": kept, "vector": reduction.ratios.tolist(), "cumulative": cumulative.tolist()}
    store.write_json(f"{work}/{results.VARIANCE}", variance)
    return reduction


def classify_images(
    spark: SparkSession, labels: list[str], *, work: str, images: int, components: int
) -> classify.Scores:
    """Fit, predict, score; every image must come out again in each of the three tables.

    Raises:
        RunError: it does not.
    """
    reduced, predictions = f"{work}/{results.REDUCED}", f"{work}/{results.PREDICTIONS}"
    scores = classify.classify(
        spark,
        labels,
        reduced=reduced,
        components=components,
        model=f"{work}/{results.CLASSIFIER}",
        predictions=predictions,
    )
    store.write_json(f"{work}/{results.METRICS}", scores.metrics())
    store.write_json(f"{work}/{results.LABELS}", labels)
    rows = {
        results.REDUCED: results.count_rows([f"{reduced}/{name}" for name in results.parquet_files(reduced)]),
        results.PREDICTIONS: results.count_rows(
            [f"{predictions}/{name}" for name in results.parquet_files(predictions)]
        ),
        results.PREDICTIONS_CSV: spreadsheet.write_csv(predictions, f"{work}/{results.PREDICTIONS_CSV}"),
    }
    for name, there in rows.items():
        if there != images:
            raise RunError(f"{name} has {there} rows for {images} images; run again")
    return scores


def write_report(
    spark: SparkSession,
    settings: Settings,
    *,
    work: str,
    record: Mapping[str, Any],
    scores: classify.Scores,
    reduction: Reduction,
    rejections: Rejections,
) -> None:
    """The page on a run, to its workspace."""
    content = exhibits.gather(
        spark, settings, work=work, record=record, scores=scores, reduction=reduction, rejections=rejections
    )
    store.write(f"{work}/{results.REPORT}", report.render(content).encode())
