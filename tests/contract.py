"""The assertions on a run's results that hold in every world: read by pandas and pyarrow, wherever they lie."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import results, store


@dataclass(frozen=True)
class Tables:
    """The tables of a run, sorted by path, and its JSON documents."""

    features: pd.DataFrame
    rejected: pd.DataFrame
    reduced: pd.DataFrame
    predictions: pd.DataFrame
    run: dict[str, Any]
    labels: list[str]
    variance: dict[str, Any]
    metrics: dict[str, Any]


def read(output: str) -> Tables:
    """Everything that a run left at `output`."""

    def table(name: str) -> pd.DataFrame:
        parts = [
            pq.read_table(io.BytesIO(store.read(f"{output}/{name}/{part}")))
            for part in results.parquet_files(f"{output}/{name}")
        ]
        return pa.concat_tables(parts).to_pandas().sort_values("path", ignore_index=True)

    documents = {
        name: json.loads(store.read(f"{output}/{name}.json")) for name in ("run", "labels", "variance", "metrics")
    }
    return Tables(**{name: table(name) for name in ("features", "rejected", "reduced", "predictions")}, **documents)


def check(output: str, *, listed: int, rejected: int = 0) -> Tables:
    """Assert the output contract."""
    tables = read(output)
    counts = tables.run["counts"]
    assert counts["listed"] == listed == counts["extracted"] + counts["known"] + counts["rejected"]
    assert len(tables.rejected) == counts["rejected"] == rejected
    assert len(tables.features) == listed - rejected
    paths = list(tables.features["path"])
    assert len(set(paths)) == len(paths)
    assert not set(paths) & set(tables.rejected["path"])
    assert list(tables.reduced["path"]) == list(tables.predictions["path"]) == paths

    assert list(tables.features.columns) == results.FEATURES_SCHEMA.names
    assert list(tables.rejected.columns) == results.REJECTED_SCHEMA.names
    assert list(tables.reduced.columns) == results.REDUCED_SCHEMA.names
    assert list(tables.predictions.columns) == results.PREDICTIONS_SCHEMA.names
    assert tables.labels == sorted(tables.labels)
    assert [tables.labels[index] for index in tables.features["label_index"]] == list(tables.features["label"])
    for column in ("path", "stage", "error", "message"):
        assert all(tables.rejected[column])

    vectors = np.stack(tables.features["features"]).astype(np.float64)
    assert np.isfinite(vectors).all()
    k = tables.variance["k"]
    np.testing.assert_allclose(np.cumsum(tables.variance["vector"]), tables.variance["cumulative"])
    assert tables.variance["cumulative"][-1] == pytest.approx(1.0)
    assert len(tables.variance["vector"]) == vectors.shape[1]
    reduced = np.stack(tables.reduced["pca"])
    assert reduced.shape == (len(paths), k)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-4)

    text = store.read(f"{output}/predictions.csv").decode("utf-8-sig")
    csv = pd.read_csv(io.StringIO(text), keep_default_na=False)
    for column in ("path", "label", "prediction"):
        assert not csv[column].str.match(r"[=+\-@\t\r]").any(), "no spreadsheet runs a cell"
        csv[column] = csv[column].str.replace(r"^'('*[=+\-@\t\r\n])", r"\1", regex=True)
    csv = csv.sort_values("path", ignore_index=True)
    assert list(csv["path"]) == paths
    if tables.metrics["cells"] is not None:
        tested = tables.predictions[tables.predictions["split"] == "test"]
        assert sum(tables.metrics["cells"]["images"]) == len(tested) == tables.metrics["test_images"]
        if len(tables.labels) <= 200:
            dense = np.array(tables.metrics["confusion"])
            true, predicted, images = (tables.metrics["cells"][name] for name in ("true", "predicted", "images"))
            assert list(dense[true, predicted]) == images
            assert dense.sum() == sum(images)
        assert tables.metrics["accuracy"] == pytest.approx((tested["label"] == tested["prediction"]).mean())
        assert list(csv["prediction"]) == list(tables.predictions["prediction"])
        _check_reliability(tables.metrics, tested)
    page = store.read(f"{output}/report.html").decode()
    assert page.lstrip().lower().startswith("<!doctype html>")
    there = dict(store.sizes(output))
    assert {name: there.get(name) for name in tables.run["files"]} == tables.run["files"]
    assert [name for name in there if name.startswith(results.INCOMPLETE)] == [], "nothing is left of the preparation"
    return tables


def _check_reliability(metrics: dict[str, Any], tested: pd.DataFrame) -> None:
    """The bins hold every test image once, and calibration error and log loss agree with them."""
    if tested.empty:
        assert (metrics["log_loss"], metrics["expected_calibration_error"], metrics["reliability"]) == (None, None, [])
        return
    error, right = 0.0, tested["label"] == tested["prediction"]
    for of in metrics["reliability"]:
        inside = (tested["probability"] > of["low"]) & (tested["probability"] <= of["high"])
        assert inside.sum() == of["images"]
        assert tested["probability"][inside].mean() == pytest.approx(of["sureness"])
        assert right[inside].mean() == pytest.approx(of["accuracy"])
        error += inside.mean() * abs(of["sureness"] - of["accuracy"])
    assert sum(of["images"] for of in metrics["reliability"]) == len(tested)
    assert metrics["expected_calibration_error"] == pytest.approx(error)
    # What was said rightly had the probability that is told; what was not, no more than the rest of it.
    least = -np.log(np.where(right, tested["probability"], 1 - tested["probability"]).clip(2.3e-16)).mean()
    assert metrics["log_loss"] >= least - 1e-6


def assert_same(left: Tables, right: Tables) -> None:
    """The two runs came to the same: features to 1e-6, everything that was decided to the letter."""
    assert list(left.features["path"]) == list(right.features["path"])
    assert list(left.features["label_index"]) == list(right.features["label_index"])
    np.testing.assert_allclose(np.stack(left.features["features"]), np.stack(right.features["features"]), atol=1e-6)
    np.testing.assert_allclose(np.stack(left.reduced["pca"]), np.stack(right.reduced["pca"]), atol=1e-4)
    assert list(left.reduced["split"]) == list(right.reduced["split"])
    assert list(left.predictions["prediction"]) == list(right.predictions["prediction"])
    assert list(left.rejected["path"]) == list(right.rejected["path"])
    assert_same_figures(left.metrics, right.metrics)
    assert left.labels == right.labels


def assert_same_figures(left: Any, right: Any) -> None:
    """Two JSON documents say the same: fractions to 1e-6, as tasks of other sizes add up in another order."""
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for name, value in left.items():
            assert_same_figures(value, right[name])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for mine, theirs in zip(left, right, strict=True):
            assert_same_figures(mine, theirs)
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=1e-6)
    else:
        assert left == right
