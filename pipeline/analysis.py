"""What follows the extraction: features -> components, classifier, report. All of it reads files of the run."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark import SparkContext

from pipeline import classify, plots, predict, reduce, report, report_data, results, spark_models, spreadsheet, store
from pipeline.accounting import Rejections
from pipeline.predict import Places
from pipeline.reduce import Reduction
from pipeline.report_sample import ReportSample
from pipeline.settings import RunError, Settings
from pipeline.split import Splitter
from pipeline.sums import Kept, keep, measure


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


@dataclass(frozen=True)
class Classified:
    """How the classifier does, the images that the report shows, and the plot of the components' variance, as SVG."""

    scores: classify.Scores
    sample: ReportSample
    scree: str


def reduce_features(
    context: SparkContext, data: FeatureSet, settings: Settings, *, work: str
) -> tuple[Kept, Reduction]:
    """Sum up the features, fit scaler and PCA.

    Raises:
        UsageError: there is nothing to fit.
    """
    measured = measure(
        context,
        data.files,
        splitter=data.splitter,
        labels=data.labels,
        images=data.images,
        kept=f"{settings.output}/{results.SUMS}",
        target=f"{work}/sums",
        slots=data.slots,
    )
    reduction = reduce.fit(measured.sums.all, components=settings.components, variance=settings.variance)
    return measured, reduction


def classify_images(
    context: SparkContext, data: FeatureSet, settings: Settings, *, work: str, measured: Kept, reduction: Reduction
) -> Classified:
    """Fit, project, predict, score, and save the models; every image must come out again in each of the three tables.

    Raises:
        RunError: it does not.
    """
    reduced, predictions = f"{work}/{results.REDUCED}", f"{work}/{results.PREDICTIONS}"
    scaler, pca, model = (f"{work}/{name}" for name in (results.SCALER, results.PCA, results.CLASSIFIER))
    project = partial(
        predict.project,
        context,
        data.files,
        reduction,
        splitter=data.splitter,
        images=data.images,
        slots=data.slots,
    )
    sums, version = measured.sums, context.version
    is_trained, is_logistic = len(sums.classes.index) > 1, settings.classifier == "logistic"
    fitted: classify.Fitted | None = None
    if is_trained and not is_logistic:
        fitted = classify.fit_discriminant(sums, reduction, data.labels)
    beside = ThreadPoolExecutor(2)  # what is fitted is written, and drawn, while the tasks go on
    try:
        scree = beside.submit(plots.scree, reduction.ratios.tolist(), reduction.components.shape[1])
        saved = [
            beside.submit(spark_models.save_reduction, reduction, scaler=scaler, pca=pca, version=version),
            beside.submit(_save_sums, measured, reduction, work=work),
        ]
        if is_trained and is_logistic:
            from pipeline import logistic  # noqa: PLC0415 - it brings pyspark.ml, pandas and SciPy, which lda does without

            project(None, places=Places(reduced, None))
            fitted = logistic.fit(
                data.labels,
                reduced=reduced,
                components=reduction.components.shape[1],
                train_images=sums.train.count,
            )
            saved.append(beside.submit(spark_models.save_classifier, fitted.classifier, model, version=version))
            outcome = predict.predict(
                context,
                fitted.classifier,
                reduced=reduced,
                predictions=predictions,
                images=data.images,
                slots=data.slots,
            )
        else:
            if fitted:
                saved.append(beside.submit(spark_models.save_classifier, fitted.classifier, model, version=version))
            outcome = project(fitted.classifier if fitted else None, places=Places(reduced, predictions))
        for one in saved:
            one.result()
    finally:
        beside.shutdown(wait=False, cancel_futures=True)  # a run that is stopped does not wait for the store
    scores = classify.score(outcome.tally, data.labels, fitted.chosen if fitted else None)
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
    return Classified(scores, outcome.sample, scree.result())


def _save_sums(measured: Kept, reduction: Reduction, *, work: str) -> None:
    """Write what the next run adds to, and how much of the variance each component holds."""
    keep(measured, f"{work}/{results.SUMS}")
    cumulative, kept = reduction.ratios.cumsum(), reduction.components.shape[1]
    variance = {"k": kept, "vector": reduction.ratios.tolist(), "cumulative": cumulative.tolist()}
    store.write_json(f"{work}/{results.VARIANCE}", variance)


def write_report(
    context: SparkContext,
    settings: Settings,
    *,
    work: str,
    record: Mapping[str, Any],
    classified: Classified,
    reduction: Reduction,
    rejections: Rejections,
) -> None:
    """The page on a run, to its workspace."""
    content = report_data.gather(
        context,
        settings,
        work=work,
        record=record,
        scores=classified.scores,
        sample=classified.sample,
        scree=classified.scree,
        reduction=reduction,
        rejections=rejections,
    )
    store.write(f"{work}/{results.REPORT}", report.render(content).encode())
