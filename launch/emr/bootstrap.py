"""The bootstrap action: the script that brings packages to a node, and what the image pipeline wants it to import."""

from __future__ import annotations

import tomllib
from pathlib import Path

from base.paths import ROOT

SCRIPT = Path(__file__).parent / "bootstrap.sh"


def imported_on_nodes() -> tuple[str, ...]:
    """The modules that the bootstrap action imports at its end: what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return tuple(str(module) for module in project["tool"]["emrlab"]["imported-on-nodes"])
