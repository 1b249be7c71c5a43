"""A listing of as many keys as one likes, from a store that only names them: `python -m bench.scale.listing KEYS`.

Prints seconds, and the peak memory of the process, which must not grow with the keys.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline import images, store

CLASSES = 100
WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)


def entries(uri: str, *, after: str | None = None) -> Iterator[dict[str, Any]]:
    """Keys in their order, as `store.entries` gives them; `uri` says how many: `s3://keys/1000`."""
    keys = int(uri.rpartition("/")[2])
    of_a_class = -(-keys // CLASSES)
    for number in range(keys):
        path = f"{number // of_a_class:03d}/{number % of_a_class:09d}.jpg"
        if after is None or path > after:
            yield {"path": path, "size": 3_000, "e_tag": f"{number:032x}", "last_modified": WRITTEN}


def main(keys: int) -> None:
    """List them all as the job does, and keep none."""
    store.entries = entries  # type: ignore[assignment]
    summary = images.ListingSummary()
    started = time.monotonic()
    listed = sum(1 for _ in images.list_images(f"s3://keys/{keys}", summary))
    seconds = time.monotonic() - started
    if listed != keys or summary.listed != keys:
        raise RuntimeError(f"{listed} of {keys} keys were listed, {summary.listed} counted")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"keys": keys, "seconds": round(seconds, 2), "peak_mib": round(peak_mib)}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
