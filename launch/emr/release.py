"""A release of EMR as releases.toml has it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date

from base.errors import UsageError
from base.paths import ROOT

TABLE = ROOT / "releases.toml"


@dataclass(frozen=True)
class Release:
    """A label, the Python on its nodes, and the last day of its standard support."""

    label: str
    python: str
    support_ends: date


def find(label: str | None) -> Release:
    """The release of this label, or the default.

    Raises:
        UsageError: it is not in the table.
    """
    table = tomllib.loads(TABLE.read_text())
    label = label or table.pop("default")
    labels = [name for name, row in table.items() if isinstance(row, dict)]
    if label not in labels:
        raise UsageError(f"RELEASE={label} is not in releases.toml; choose one of {', '.join(labels)}")
    return Release(label, table[label]["python"], table[label]["support_ends"])


def warning(release: Release, today: date) -> str | None:
    """What to say about a release whose support is over."""
    if today <= release.support_ends:
        return None
    return f"{release.label} is out of standard support since {release.support_ends}; Amazon may refuse it"
