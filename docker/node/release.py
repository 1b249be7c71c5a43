"""Says what a release is made of: `python3 release.py LABEL`, with releases.toml and requirements.lock beside it.

It writes `release.json`, the row of releases.toml for LABEL (its default where LABEL is empty), and `spark.txt`, what
pip is asked for: the pyspark of that release, with its hashes where the lock has it, which is the default release's.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def row(label: str) -> dict[str, Any]:
    """The versions of the release `label`, or of the default where that is empty."""
    table = tomllib.loads((HERE / "releases.toml").read_text())
    label = label or table.pop("default")
    table.pop("default", None)
    if label not in table:
        sys.exit(f"error: RELEASE={label} is not in releases.toml; choose one of {', '.join(table)}")
    versions: dict[str, Any] = table[label]
    return versions


def requirement(version: str, lock: str) -> str:
    """The entry of pyspark in the text `lock` with its hashes, or the bare version."""
    found = re.search(rf"^pyspark=={re.escape(version)} .*(\n +--hash.*)+", lock, flags=re.M)
    return found[0] if found else f"pyspark=={version}"


if __name__ == "__main__":
    release = row(sys.argv[1])
    (HERE / "release.json").write_text(json.dumps(release, default=str))
    (HERE / "spark.txt").write_text(requirement(release["spark"], (HERE / "requirements.lock").read_text()))
