"""Names and schemas of everything under the output."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyspark.sql import Column
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from pipeline import imports, store
from pipeline.settings import RunError

imports.keep_pandas_from_pyarrow()

LISTING_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("label", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
        ("offset", pa.int64()),
    ]
)
FEATURES_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("label_index", pa.int32()),
        ("etag", pa.string()),
        ("features", pa.list_(pa.float32())),
    ]
)
REJECTED_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("stage", pa.string()),
        ("error", pa.string()),
        ("message", pa.string()),
    ]
)
REDUCED_SCHEMA = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("split", pa.string()), ("pca", pa.list_(pa.float32()))]
)
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("prediction", pa.string()),
        ("probability", pa.float64()),
    ]
)

FOOTER_BYTES = 2**18  # a footer takes 2 kB a row group; the files have one or a few
INCOMPLETE = "_incomplete"
RUN = "run.json"
LABELS = "labels.json"
VARIANCE = "variance.json"
METRICS = "metrics.json"
REPORT = "report.html"
PREDICTIONS_CSV = "predictions.csv"
FEATURES = "features"
REJECTED = "rejected"
REDUCED = "reduced"
PREDICTIONS = "predictions"
SCALER = "model/scaler"
PCA = "model/pca"
CLASSIFIER = "model/classifier"
SUMS = "model/sums.npz"
CONTRACT = (LABELS, FEATURES, REJECTED, "model", REDUCED, PREDICTIONS, PREDICTIONS_CSV, VARIANCE, METRICS, REPORT, RUN)


def label_index(labels: Sequence[str]) -> Column:
    """The place, from 0, that the column `label` has in `labels`.

    These are one constant: 5,000 of their own in a plan take seconds to send, to optimise and to print.
    """
    constant = F.from_json(F.lit(json.dumps(list(labels))), "array<string>")
    # By its name: the function itself takes no column as the value in Spark 3.5.
    return F.call_function("array_position", constant, F.col("label")) - 1


def staging(output: str) -> str:
    """Where runs prepare their results. What is below `features/` is left for the next run, should this one fail."""
    return f"{output}/{INCOMPLETE}"


def workspace(output: str, run: str) -> str:
    """Where the run named `run` prepares all but its features: no other writes there."""
    return f"{staging(output)}/{run}"


def listing(work: str) -> str:
    """Where the run of this workspace keeps what it listed."""
    return f"{work}/listing"


def unknown(work: str) -> str:
    """Where it keeps what of that has no features yet, when some has."""
    return f"{work}/unknown"


def vectors(rows: NDArray[np.floating[Any]]) -> pa.ListArray:
    """A (n, d) matrix as n lists of d float32, from its one flat buffer."""
    count, width = rows.shape
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32) if width else np.zeros(count + 1, np.int32)
    return pa.ListArray.from_arrays(offsets, np.ascontiguousarray(rows, dtype=np.float32).reshape(-1))


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of n lists of d float32 as a (n, d) matrix; one chunk is not copied."""
    flat = column.combine_chunks().flatten().to_numpy()
    rows: NDArray[np.float32] = flat.reshape(len(column), -1)
    return rows


def write_table(uri: str, table: pa.Table) -> None:
    """One parquet object at `uri`, whole or not at all.

    Vectors are neither compressed, which hardly makes them smaller, nor described by their least and greatest numbers:
    a quarter of the time that they take to write, and of that to read.

    Raises:
        STORE_ERRORS: it cannot be written.
    """
    sink = io.BytesIO()
    flat = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
    dictionary = [field.name for field in table.schema if field.name in {"label", "split", "stage", "error"}]
    compression = dict.fromkeys(flat, "snappy")
    pq.write_table(table, sink, use_dictionary=dictionary, compression=compression, write_statistics=flat)
    store.write(uri, sink.getbuffer())


def read_table(uri: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The parquet object at `uri`.

    Raises:
        STORE_ERRORS: it cannot be read.
    """
    file = pq.ParquetFile(pa.BufferReader(store.read(uri)))
    return file.read(columns=None if columns is None else list(columns), use_threads=False)


def read_columns(uri: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of the parquet object at `uri`, of whose other bytes few are fetched.

    Raises:
        STORE_ERRORS: it cannot be read.
    """
    return store.read_parts(
        uri, lambda file: pq.ParquetFile(pa.PythonFile(file, mode="r")).read(columns=list(columns), use_threads=False)
    )


def parquet_files(uri: str) -> list[str]:
    """Names of the parquet objects below `uri`, sorted."""
    return sorted(name for name, _ in store.sizes(uri) if is_result(name) and name.endswith(".parquet"))


def count_rows(files: Sequence[str]) -> int:
    """Rows in all the parquet objects `files` (URIs)."""
    return sum(rows_of(files))


def rows_of(files: Sequence[str]) -> list[int]:
    """Rows in each of the parquet objects `files` (URIs), read from their footers.

    Raises:
        RunError: one is damaged.
        STORE_ERRORS: one is not there or cannot be read.
    """
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_rows, files))


def rows_of_whole(files: Sequence[str]) -> dict[str, int]:
    """Rows in those of `files` (URIs) that are whole; a machine that loses its power may leave others, or empty ones.

    Raises:
        STORE_ERRORS: one is not there or cannot be read.
    """

    def rows(file: str) -> int | None:
        try:
            return _rows(file)
        except RunError:
            return None

    with ThreadPoolExecutor(8) as pool:
        counted = zip(files, pool.map(rows, files), strict=True)
        return {file: count for file, count in counted if count is not None}


def _rows(file: str) -> int:
    folder, _, name = file.rpartition("/")
    end = store.fetch(folder, name, last_bytes=FOOTER_BYTES).content
    try:
        return int(pq.read_metadata(pa.BufferReader(end)).num_rows)
    except (pa.ArrowInvalid, OSError) as error:  # the footer is none, or says what makes no sense
        raise RunError(f"{file} is damaged: no whole parquet file; run again") from error


def spark_schema(schema: pa.Schema) -> StructType:
    """The same schema in Spark's types."""
    return from_arrow_schema(schema)


def is_result(name: str) -> bool:
    """Not a marker or checksum that Spark leaves beside its files, nor what a file manager leaves in a folder."""
    return not name.rpartition("/")[2].startswith((".", "_"))
