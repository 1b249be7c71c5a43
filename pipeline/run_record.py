"""The record of a run, run.json: what its results depend on, what came out, and whether it still holds."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files as package_files
from typing import Any

from pyspark import SparkContext

from pipeline import provenance
from pipeline.features import Model
from pipeline.images import ListingSummary
from pipeline.settings import Settings
from pipeline.summary import format_summary, unchanged

# What of the settings and of the metrics the record repeats.
SETTINGS = ("input", "output", "components", "variance", "classifier", "seed")
FIGURES = ("accuracy", "macro_f1", "log_loss", "expected_calibration_error", "test_images")


def run_key(settings: Settings, *, model: Model, summary: ListingSummary) -> dict[str, Any]:
    """What the results depend on. `extraction` is what the features of one image depend on."""
    modules = [file for file in package_files("pipeline").iterdir() if file.name.endswith((".py", ".html"))]
    package = sha256(b"".join(file.read_bytes() for file in sorted(modules, key=lambda file: file.name)))
    return {
        "input": settings.input,
        "listing": f"{summary.fingerprint:032x}",
        "listed": summary.listed,
        "extraction": provenance.extraction_key(model.sha256, model.software, provenance.EXTRACTION),
        "package": package.hexdigest(),
        "components": settings.components,
        "variance": settings.variance,
        "classifier": settings.classifier,
        "seed": settings.seed,
    }


def is_current(last: Mapping[str, Any], settings: Settings, *, key: Mapping[str, Any], listed: int) -> bool:
    """Whether the same would come out again as of the last run, which is complete.

    Not if the record cannot be read as one: another version wrote it, or somebody changed it.

    Args:
        last: its record.
        settings: of this run.
        key: `run_key` of this run.
        listed: how many images it has.
    """
    try:
        is_readable = bool(format_summary(unchanged(dict(last)))) and isinstance(last["settings"]["output"], str)
        counts = last["counts"]
        return (
            is_readable
            and last["asked"] == key
            and not counts["unreachable"]
            and counts["rejected"] <= settings.rejected_limit(listed)
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


def describe_settings(settings: Settings, *, listed: int) -> dict[str, Any]:
    """The settings that the record repeats; the limit of rejected images as the number that it comes to."""
    return {flag: getattr(settings, flag) for flag in SETTINGS} | {"max_rejected": settings.rejected_limit(listed)}


def describe_model(model: Model) -> dict[str, Any]:
    """The model by its file's name and hash."""
    return {"name": model.uri.rpartition("/")[2], "sha256": model.sha256, "features": model.features}


def versions(context: SparkContext) -> dict[str, str]:
    """The versions of Spark, Java, Python and the libraries that results depend on."""
    java = context._jvm.java.lang.System.getProperty("java.version")  # type: ignore[union-attr]
    libraries = ("ai-edge-litert", "numpy", "obstore", "pillow", "pyarrow")
    return {"spark": context.version, "java": java, "python": platform.python_version()} | {
        name: version(name) for name in libraries
    }
