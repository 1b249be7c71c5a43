"""Scaler, PCA and classifier as the models that Spark ML loads, in the files that it keeps them in.

A model is a folder with `metadata/`, a line of JSON, and `data/`, a parquet file of one row (spark.apache.org,
DefaultParamsWriter and the writers of the three classes), the same since Spark 3.0. Written here they take a few
milliseconds; by Spark, whose plans for three single rows have to be made and compiled, four seconds of the driver.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.pandas.types import from_arrow_schema

from pipeline import results, store
from pipeline.predict import Classifier
from pipeline.reduce import Reduction

_DENSE = 1  # the `type` of what has all its values, in Spark's vectors and matrices


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _many(kind: pa.DataType) -> pa.ListType:
    return pa.list_(_required("element", kind))


# How Spark stores org.apache.spark.ml.linalg.VectorUDT and MatrixUDT.
_VECTOR = pa.struct(
    [
        _required("type", pa.int8()),
        ("size", pa.int32()),
        ("indices", _many(pa.int32())),
        ("values", _many(pa.float64())),
    ]
)
_MATRIX = pa.struct(
    [
        _required("type", pa.int8()),
        _required("numRows", pa.int32()),
        _required("numCols", pa.int32()),
        ("colPtrs", _many(pa.int32())),
        ("rowIndices", _many(pa.int32())),
        ("values", _many(pa.float64())),
        _required("isTransposed", pa.bool_()),
    ]
)
_CLASSES = {_VECTOR: "VectorUDT", _MATRIX: "MatrixUDT"}


def save_reduction(reduction: Reduction, *, scaler: str, pca: str, version: str) -> None:
    """Write scaler and PCA, which `StandardScalerModel.load` and `PCAModel.load` open.

    Args:
        reduction: fitted scaler and PCA.
        scaler, pca: locations.
        version: of the Spark that they are for.

    Raises:
        STORE_ERRORS: a location cannot be written.
    """
    rows, columns = reduction.components.shape
    _save(
        scaler,
        "feature.StandardScalerModel",
        {"std": _vector(reduction.deviation), "mean": _vector(reduction.mean)},
        {"withMean": True, "withStd": True, "inputCol": "features", "outputCol": "scaled"},
        version=version,
    )
    # A matrix of Spark's holds column after column.
    matrix = _matrix(reduction.components.T, rows=rows, columns=columns, by_rows=False)
    _save(
        pca,
        "feature.PCAModel",
        {"pc": matrix, "explainedVariance": _vector(reduction.ratios[:columns])},
        {"k": columns, "inputCol": "scaled", "outputCol": "pca"},
        version=version,
    )


def save_classifier(classifier: Classifier, location: str, *, version: str) -> None:
    """Write the classifier, which `LogisticRegressionModel.load` opens; `version` is of the Spark that it is for.

    Raises:
        STORE_ERRORS: the location cannot be written.
    """
    classes, components = classifier.coefficients.shape
    _save(
        location,
        "classification.LogisticRegressionModel",
        {
            "numClasses": pa.array([classes], pa.int32()),
            "numFeatures": pa.array([components], pa.int32()),
            "interceptVector": _vector(classifier.intercepts),
            # Row by row, which is what Spark's own fit leaves.
            "coefficientMatrix": _matrix(classifier.coefficients, rows=classes, columns=components, by_rows=True),
            "isMultinomial": pa.array([True]),
        },
        {"featuresCol": "pca", "family": "multinomial"},
        version=version,
    )


def _save(location: str, kind: str, row: dict[str, pa.Array], params: dict[str, Any], *, version: str) -> None:
    about = {
        "class": f"org.apache.spark.ml.{kind}",
        "timestamp": round(1000 * time.time()),
        "sparkVersion": version,
        "uid": location.rpartition("/")[2],
        "paramMap": params,
        "defaultParamMap": {},  # none: a parameter that is not set has the default of the Spark that loads the model
    }
    store.write(f"{location}/metadata/part-00000", f"{json.dumps(about)}\n".encode())
    fields = [pa.field(name, column.type, nullable=column.type in _CLASSES) for name, column in row.items()]
    schema = {"type": "struct", "fields": list(map(_describe, fields))}
    metadata = {"org.apache.spark.version": version, "org.apache.spark.sql.parquet.row.metadata": json.dumps(schema)}
    table = pa.table(list(row.values()), schema=pa.schema(fields, metadata=metadata))
    results.write_table(f"{location}/data/part-00000.parquet", table)


def _describe(field: pa.Field) -> dict[str, Any]:
    """The column as Spark's schemas have it: only here stands that a struct is a vector or a matrix."""
    described: dict[str, Any] = from_arrow_schema(pa.schema([field])).jsonValue()["fields"][0]
    if field.type in _CLASSES:
        name = f"ml.linalg.{_CLASSES[field.type]}"
        of = {"class": f"org.apache.spark.{name}", "pyClass": f"pyspark.{name}", "sqlType": described["type"]}
        described["type"] = {"type": "udt", **of}
    return described


def _vector(values: NDArray[np.float64]) -> pa.StructArray:
    return _struct(_VECTOR, values=values)


def _matrix(values: NDArray[np.float64], *, rows: int, columns: int, by_rows: bool) -> pa.StructArray:
    return _struct(_MATRIX, values=values, numRows=rows, numCols=columns, isTransposed=by_rows)


def _struct(kind: pa.StructType, *, values: NDArray[np.float64], **numbers: int) -> pa.StructArray:
    """One row: the `values` as they lie, without a copy for each, the other `numbers`, null for those not given."""
    columns = {name: pa.array([number]) for name, number in numbers.items()} | {"type": pa.array([_DENSE])}
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    columns["values"] = pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)
    fields = list(kind)
    arrays = [columns.get(field.name, pa.nulls(1, field.type)).cast(field.type) for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields)
