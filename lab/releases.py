"""The releases of Amazon EMR that the lab can be, out of releases.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

TABLE = Path(__file__).parent.parent / "releases.toml"


class ReleaseError(Exception):
    """No such release: one line with those that there are."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A row of releases.toml; `spark_hadoop_cloud` only where that is not Spark's own version."""

    label: str
    spark: str
    pyspark_sha256: str
    spark_hadoop_cloud: str | None = None
    hadoop: str
    scala: str
    python: str
    java: int
    support_ends: date
    advisory: str | None = None


def find(label: str | None = None) -> Release:
    """The release `label`, or the default one.

    Raises:
        ReleaseError: it is not in the table.
    """
    table = tomllib.loads(TABLE.read_text())
    default = table.pop("default")
    wanted = label or default
    if wanted not in table:
        raise ReleaseError(f"RELEASE={wanted} is not known; choose one of {', '.join(table)}")
    return Release(label=wanted, **table[wanted])


def warnings(release: Release, *, today: date) -> list[str]:
    """A line each on what speaks against a release: EMR no longer supports it, it has a known hole."""
    lines = [f"{release.label}: {release.advisory}"] if release.advisory else []
    if today > release.support_ends:
        ended = release.support_ends
        lines.append(f"{release.label} is out of EMR's standard support since {ended}; choose a newer RELEASE")
    return lines
