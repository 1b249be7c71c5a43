"""Scaler, PCA and classifier as the models that Spark ML loads.

The JVM's own classes are called: pyspark.ml, which wraps them, brings pandas and SciPy, half a second that a run would
spend on importing what it never uses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from py4j.java_gateway import JavaObject
from pyspark.sql import SparkSession

from pipeline.predict import Classifier
from pipeline.reduce import Reduction


def save_reduction(spark: SparkSession, reduction: Reduction, *, scaler: str, pca: str) -> None:
    """Write scaler and PCA, which `StandardScalerModel.load` and `PCAModel.load` open.

    Raises:
        Py4JError: a location cannot be written.
    """
    package = _jvm(spark).ml.feature
    rows, columns = reduction.components.shape
    scaler_model = package.StandardScalerModel(
        "scaler", _vector(spark, reduction.deviation), _vector(spark, reduction.mean)
    )
    _write(scaler_model, scaler, withMean=True, withStd=True, inputCol="features", outputCol="scaled")
    # A matrix of Spark's holds column after column.
    matrix = _jvm(spark).ml.linalg.DenseMatrix(rows, columns, _doubles(spark, reduction.components.T))
    pca_model = package.PCAModel("pca", matrix, _vector(spark, reduction.ratios[:columns]))
    _write(pca_model, pca, k=columns, inputCol="scaled", outputCol="pca")


def save_classifier(spark: SparkSession, classifier: Classifier, location: str) -> None:
    """Write the classifier, which `LogisticRegressionModel.load` opens.

    Raises:
        Py4JError: the location cannot be written.
    """
    package = _jvm(spark).ml
    classes, components = classifier.coefficients.shape
    # Row by row, which is what Spark's own fit leaves.
    matrix = package.linalg.DenseMatrix(classes, components, _doubles(spark, classifier.coefficients), True)
    intercepts = _vector(spark, classifier.intercepts)
    model = package.classification.LogisticRegressionModel("classifier", matrix, intercepts, classes, True)
    _write(model, location, featuresCol="pca", family="multinomial")


def _write(model: JavaObject, location: str, **params: object) -> None:
    for name, value in params.items():
        model.set(model.getParam(name), value)
    model.write().overwrite().save(location)


def _vector(spark: SparkSession, values: NDArray[np.float64]) -> JavaObject:
    return _jvm(spark).ml.linalg.DenseVector(_doubles(spark, values))


def _doubles(spark: SparkSession, values: NDArray[np.float64]) -> JavaObject:
    """An array of Java's with all `values` row by row, handed over as bytes, not one by one."""
    gateway = spark.sparkContext._gateway
    assert gateway is not None  # noqa: S101 - a session has its JVM
    buffer = gateway.jvm.java.nio.ByteBuffer.wrap(np.ascontiguousarray(values, dtype=">f8").tobytes())
    array = gateway.new_array(gateway.jvm.double, values.size)
    buffer.asDoubleBuffer().get(array)
    return array


def _jvm(spark: SparkSession) -> Any:
    """Spark's package in the JVM."""
    jvm = spark._jvm
    assert jvm is not None  # noqa: S101 - a session has its JVM
    return jvm.org.apache.spark
