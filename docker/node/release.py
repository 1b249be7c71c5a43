"""Says what a release is made of: `python3 release.py LABEL`, with releases.toml and base/ beside it.

It writes `release.json`, the row of releases.toml for LABEL (its default where LABEL is empty), and `spark.txt`, what
pip is asked for: the pyspark of that release, with its hash.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from base import releases

if __name__ == "__main__":
    try:
        release = releases.find(sys.argv[1])
    except releases.ReleaseError as error:
        sys.exit(f"error: {error}")
    Path("release.json").write_text(json.dumps(asdict(release), default=str))
    Path("spark.txt").write_text(f"pyspark=={release.spark} --hash=sha256:{release.pyspark_sha256}\n")
