"""Spark ML's logistic regression of the reduced images, for --classifier logistic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from pipeline import results, store
from pipeline.classify import Fitted
from pipeline.predict import Classifier

# A little ridge: principal components are many and a class may have a handful of images; without it the weights of
# separable classes grow without end. Without standardising, which would blow the last components, mostly noise, up to
# the size of the first.
REGULARISATION = 0.01
MAX_ITERATIONS = 100
# Numbers in a task of the fit. Every iteration is a job: of a hundred jobs on little data the tasks cost more than the
# sums do (2 s of 7 for 2,016 images).
TASK_VALUES = 2_000_000


def fit(labels: Sequence[str], *, reduced: str, components: int, train_images: int) -> Fitted:
    """Spark ML's logistic regression of the reduced images, of which two classes have some for training.

    Args:
        labels: the classes, in the order of label_index.
        reduced: location of the reduced images.
        components: how many each has.
        train_images: how many of them train.
    """
    spark = SparkSession.builder.getOrCreate()
    rows = spark.read.schema(results.spark_schema(results.REDUCED_SCHEMA)).parquet(store.spark_path(reduced))
    vectors = rows.where("split = 'train'").select(
        array_to_vector(F.col("pca")).alias("vector"), results.label_index(labels).cast("double").alias("target")
    )
    regression = LogisticRegression(
        featuresCol="vector",
        labelCol="target",
        regParam=REGULARISATION,
        maxIter=MAX_ITERATIONS,
        standardization=False,
        family="multinomial",
    )
    model = regression.fit(vectors.coalesce(math.ceil(train_images * components / TASK_VALUES)))
    chosen = {"kind": "logistic", "regularisation": REGULARISATION}
    return Fitted(Classifier(labels, model.coefficientMatrix.toArray(), model.interceptVector.toArray()), chosen)
