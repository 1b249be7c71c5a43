"""Says what a release is made of: `python3 release.py LABEL`, with releases.toml beside it.

It writes `release.json`, the row of releases.toml for LABEL (its default where LABEL is empty), and `spark.txt`, what
pip is asked for: the pyspark of that release, with its hash.
"""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    release = row(sys.argv[1])
    (HERE / "release.json").write_text(json.dumps(release, default=str))
    (HERE / "spark.txt").write_text(f"pyspark=={release['spark']} --hash=sha256:{release['pyspark_sha256']}\n")
