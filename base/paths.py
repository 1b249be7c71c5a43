"""Where things lie in a checkout, and in an image that has the same folders."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"  # what was fetched and built; make distclean removes it
OUT = ROOT / "out"  # what runs bring back
ENV_FILE = ROOT / ".env"  # the lab's keys, and settings for compose.yaml
SAMPLE = ROOT / "data" / "sample"
