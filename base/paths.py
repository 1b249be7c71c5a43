"""Where things lie: in a checkout, in an image that has the same folders, and in an installation.

An installation has the checkout's files in the package `emrlab`, where nobody writes. What is made lies where XDG's
specification of base directories wants a user's caches and state, and results in the current folder.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
INSTALLED = (ROOT / "__main__.py").is_file()  # a checkout has it in emrlab/


def _of_user(variable: str, default: str) -> Path:
    """The user's folder for emrlab below what `variable` names; the specification passes over one that is relative."""
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / default) / "emrlab"


CACHE = _of_user("XDG_CACHE_HOME", ".cache") if INSTALLED else ROOT / ".cache"  # what was fetched and built
OUT = Path.cwd() / "out" if INSTALLED else ROOT / "out"  # what runs bring back
LAB = _of_user("XDG_STATE_HOME", ".local/state") / "lab" if INSTALLED else ROOT  # where Docker Compose works
ENV_FILE = LAB / ".env"  # the lab's keys, and settings for compose.yaml
SAMPLE = ROOT / "data" / "sample"
