"""Reduced images -> a logistic regression, its predictions and how good they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector, vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store
from pipeline.confusion import Confusion

# A little ridge: principal components are many and a class may have a handful of images; without it the weights of
# separable classes grow without end. Without standardising, which would blow the last components, mostly noise, up to
# the size of the first.
REGULARISATION = 0.01
MAX_ITERATIONS = 100
# Numbers in a task of the fit. Every iteration is a job: of a hundred jobs on little data the tasks cost more than the
# sums do (2 s of 7 for 2,016 images).
TASK_VALUES = 2_000_000
DENSE_CLASSES = 200  # 40,000 cells, a quarter of a megabyte in metrics.json


@dataclass(frozen=True)
class Scores:
    """How the classifier does on the test images.

    Attributes:
        labels: all classes.
        confusion: of the test images; None without a classifier.
        train_images: number of images that it was fitted on.
        notes: what a reader must know before trusting the numbers.
    """

    labels: Sequence[str]
    confusion: Confusion | None
    train_images: int
    test_images: int
    notes: Sequence[str]

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds. Macro F1 is over the classes that were tested or predicted, as in scikit-learn.

        `cells` has the confusion's non-zero cells, by the classes' numbers in `labels`; `confusion`, for whoever reads
        it as a matrix, is null above DENSE_CLASSES: it grows with their square.
        """
        confusion = self.confusion
        measured: dict[str, Any] = {"accuracy": None, "macro_f1": None, "per_class": [], "confusion": None}
        measured["cells"] = None
        if confusion is not None and confusion.total:
            scores, support = confusion.scores(), confusion.support
            measured["accuracy"] = float(confusion.hits.sum() / confusion.total)
            measured["macro_f1"] = float(scores["f1"][support + confusion.predicted > 0].mean())
            measured["cells"] = confusion.cells()
            if confusion.classes <= DENSE_CLASSES:
                measured["confusion"] = confusion.matrix().tolist()
            measured["per_class"] = [
                {"label": label, **{name: float(of[number]) for name, of in scores.items()}, "support": int(images)}
                for number, (label, images) in enumerate(zip(self.labels, support, strict=True))
            ]
        counts = {"train_images": self.train_images, "test_images": self.test_images}
        return {**measured, **counts, "labels": list(self.labels), "notes": list(self.notes)}


def classify(
    spark: SparkSession, labels: Sequence[str], *, reduced: str, components: int, model: str, predictions: str
) -> Scores:
    """Fit on the training images, predict all, count the hits among the test images.

    Args:
        spark: the session.
        labels: the classes, in the order of label_index.
        reduced: location of the reduced images.
        components: how many each has.
        model: where the Spark ML model goes.
        predictions: where the predictions go; without a classifier their prediction is null.
    """
    rows = spark.read.schema(results.spark_schema(results.REDUCED_SCHEMA)).parquet(store.spark_path(reduced))
    sides = {(row["label"], row["split"]): row["count"] for row in rows.groupBy("label", "split").count().collect()}
    trained = [label for label in labels if (label, "train") in sides]
    tested = [label for label in labels if (label, "test") in sides]
    both = set(trained) & set(tested)
    notes = [
        f"{label}: {sides.get((label, 'train'), 0)} training and {sides.get((label, 'test'), 0)} test images"
        for label in labels
        if label not in both
    ]
    train_images = sum(count for (_, side), count in sides.items() if side == "train")
    counts = {"train_images": train_images, "test_images": sum(sides.values()) - train_images}
    if len(trained) < 2:
        found = ", ".join(trained) or "none"
        notes.insert(0, f"no classifier: it needs training images of two classes, and there is {found}")
        said = rows.select(
            "path",
            "label",
            "split",
            F.lit(None).cast("string").alias("prediction"),
            F.lit(None).cast("double").alias("probability"),
        )
        said.write.mode("overwrite").parquet(store.spark_path(predictions))
        return Scores(labels, None, **counts, notes=notes)
    if not tested:
        notes.insert(0, "no accuracy: no image is left to test on; add images or a Test folder")
    vectors = rows.withColumn("vector", array_to_vector(F.col("pca"))).withColumn(
        "target", results.label_index(labels).cast("double")
    )
    regression = LogisticRegression(
        featuresCol="vector",
        labelCol="target",
        regParam=REGULARISATION,
        maxIter=MAX_ITERATIONS,
        standardization=False,
        family="multinomial",
    )
    tasks = math.ceil(train_images * components / TASK_VALUES)
    fitted = regression.fit(vectors.where("split = 'train'").coalesce(tasks))
    fitted.write().overwrite().save(store.spark_path(model))
    fitted.transform(vectors).select(
        "path",
        "label",
        "split",
        F.element_at(results.array_of(labels), (F.col("prediction") + 1).cast("int")).alias("prediction"),
        F.array_max(vector_to_array(F.col("probability"))).alias("probability"),
    ).write.mode("overwrite").parquet(store.spark_path(predictions))
    return Scores(labels, _confusion(read_predictions(spark, predictions), labels), **counts, notes=notes)


def read_predictions(spark: SparkSession, predictions: str) -> DataFrame:
    """The predictions as they were written."""
    return spark.read.schema(results.spark_schema(results.PREDICTIONS_SCHEMA)).parquet(store.spark_path(predictions))


def _confusion(predictions: DataFrame, labels: Sequence[str]) -> Confusion:
    index = {label: number for number, label in enumerate(labels)}
    rows = predictions.where("split = 'test'").groupBy("label", "prediction").count().collect()
    return Confusion.of(
        len(labels), ((index[row["label"]], index[row["prediction"]], int(row["count"])) for row in rows)
    )
