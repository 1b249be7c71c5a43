"""What follows the extraction: features -> components, classifier, report. All of it reads files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from pipeline import classify, predict, reduce, report, report_data, results, spark_models, spreadsheet, store
from pipeline.accounting import Rejections
from pipeline.predict import Places
from pipeline.reduce import Reduction
from pipeline.settings import RunError, Settings
from pipeline.split import Splitter
from pipeline.sums import Sums, keep, measure


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """The features of a run.

    Attributes:
        files: URIs of the files of features.
        images: in all of them.
        labels: the classes, in the order of label_index.
        splitter: says which images train.
        slots: task slots of the cluster that works on them.
    """

    files: list[str]
    images: int
    labels: list[str]
    splitter: Splitter
    slots: int


def reduce_features(spark: SparkSession, data: FeatureSet, settings: Settings, *, work: str) -> tuple[Sums, Reduction]:
    """Sum up the features, fit scaler and PCA.

    Raises:
        UsageError: there is nothing to fit.
    """
    measured = measure(
        spark,
        data.files,
        splitter=data.splitter,
        labels=data.labels,
        images=data.images,
        kept=f"{settings.output}/{results.SUMS}",
        target=f"{work}/sums",
        slots=data.slots,
    )
    reduction = reduce.fit(measured.sums.all, components=settings.components, variance=settings.variance)
    keep(measured, f"{work}/{results.SUMS}")
    cumulative, kept = reduction.ratios.cumsum(), reduction.components.shape[1]
    variance = {"k": kept, "vector": reduction.ratios.tolist(), "cumulative": cumulative.tolist()}
    store.write_json(f"{work}/{results.VARIANCE}", variance)
    return measured.sums, reduction


def classify_images(
    spark: SparkSession, data: FeatureSet, settings: Settings, *, work: str, sums: Sums, reduction: Reduction
) -> classify.Scores:
    """Fit, project, predict, score; every image must come out again in each of the three tables.

    Raises:
        RunError: it does not.
    """
    reduced, predictions = f"{work}/{results.REDUCED}", f"{work}/{results.PREDICTIONS}"
    scaler, pca, model = (
        store.spark_path(f"{work}/{name}") for name in (results.SCALER, results.PCA, results.CLASSIFIER)
    )
    project = partial(predict.project, spark, data.files, reduction, splitter=data.splitter, slots=data.slots)
    is_trained, is_logistic = len(sums.classes.index) > 1, settings.classifier == "logistic"
    fitted: classify.Fitted | None = None
    # What Spark ML writes is a handful of jobs that leave the slots idle: the others' work goes on meanwhile.
    beside = ThreadPoolExecutor(2)
    try:
        saved = [beside.submit(spark_models.save_reduction, spark, reduction, scaler=scaler, pca=pca)]
        if is_trained and is_logistic:
            from pipeline import logistic  # noqa: PLC0415 - it brings pyspark.ml, pandas and SciPy, which lda does without

            project(None, places=Places(reduced, None))
            fitted = logistic.fit(
                spark,
                data.labels,
                reduced=reduced,
                components=reduction.components.shape[1],
                train_images=sums.train.count,
            )
            saved.append(beside.submit(spark_models.save_classifier, spark, fitted.classifier, model))
            tally = predict.predict(
                spark, fitted.classifier, reduced=reduced, predictions=predictions, slots=data.slots
            )
        else:
            fitted = classify.fit_discriminant(sums, reduction, data.labels) if is_trained else None
            if fitted:
                saved.append(beside.submit(spark_models.save_classifier, spark, fitted.classifier, model))
            tally = project(fitted.classifier if fitted else None, places=Places(reduced, predictions))
        for one in saved:
            one.result()
    finally:
        beside.shutdown(wait=False, cancel_futures=True)  # a run that is stopped does not wait for the store
    scores = classify.score(tally, data.labels, fitted.chosen if fitted else None)
    store.write_json(f"{work}/{results.METRICS}", scores.metrics())
    store.write_json(f"{work}/{results.LABELS}", data.labels)
    rows = {
        results.REDUCED: results.count_rows([f"{reduced}/{name}" for name in results.parquet_files(reduced)]),
        results.PREDICTIONS: results.count_rows(
            [f"{predictions}/{name}" for name in results.parquet_files(predictions)]
        ),
        results.PREDICTIONS_CSV: spreadsheet.write_csv(predictions, f"{work}/{results.PREDICTIONS_CSV}"),
    }
    for name, count in rows.items():
        if count != data.images:
            raise RunError(f"{name} has {count} rows for {data.images} images; run again")
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
    content = report_data.gather(
        spark, settings, work=work, record=record, scores=scores, reduction=reduction, rejections=rejections
    )
    store.write(f"{work}/{results.REPORT}", report.render(content).encode())
