"""The releases of Amazon EMR that are known here: releases.toml, read in this one place."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date

from base import paths
from base.errors import UsageError

TABLE = paths.ROOT / "releases.toml"


class ReleaseError(UsageError):
    """No such release: one line with those that there are."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A row of releases.toml.

    Attributes:
        label: EMR's own, like emr-7.14.0.
        spark, hadoop, scala, python: versions.
        java: major version.
        pyspark_sha256: of PyPI's archive of this Spark.
        client_sha256: of PyPI's archive of its Spark Connect's client; None where the release has no sessions.
        spark_hadoop_cloud: version of the module that is added to Spark; Spark's own, or what stands in for it.
        support_ends: last day of EMR's standard support.
        advisory: what whoever starts the release has to know.
    """

    label: str
    spark: str
    pyspark_sha256: str
    spark_hadoop_cloud: str
    hadoop: str
    scala: str
    python: str
    java: int
    support_ends: date
    client_sha256: str | None = None
    advisory: str | None = None


def find(label: str | None = None) -> Release:
    """The release `label`, or the default one where that is None or empty.

    Raises:
        ReleaseError: it is not in the table.
    """
    table = tomllib.loads(TABLE.read_text())
    default = table.pop("default")
    label = label or default
    if label not in table:
        raise ReleaseError(f"RELEASE={label} is not in releases.toml; choose one of {', '.join(table)}")
    row = table[label]
    return Release(**{"label": label, "spark_hadoop_cloud": row["spark"], **row})


def labels() -> list[str]:
    """The labels of all releases, the newest first."""
    return [name for name, row in tomllib.loads(TABLE.read_text()).items() if isinstance(row, dict)]


def warnings(release: Release, *, today: date) -> list[str]:
    """A line each on what speaks against a release: EMR no longer supports it, it has a known hole."""
    lines = [f"{release.label}: {release.advisory}"] if release.advisory else []
    if today > release.support_ends:
        ended = release.support_ends
        lines.append(f"{release.label} is out of EMR's standard support since {ended}; choose a newer RELEASE")
    return lines
