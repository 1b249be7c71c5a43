"""The lab beside local Spark, on the same cores and the same photographs in the lab's S3: `make bench-lab`.

The lab must be up; nothing else should run meanwhile. Takes some ten minutes and writes bench/lab.md.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from base import env_files, paths
from bench import photos
from bench.job import IMAGE_SIZE
from launch import cluster, storage

IMAGES = 20_160
PAIRS = 3
PLACE = f"{cluster.BUCKET}/images/bench-{IMAGES}"
RESULTS = Path(__file__).parent / "lab.md"


@dataclass(frozen=True)
class Took:
    """Seconds of a run: its extraction, and the whole from the command to the report."""

    extract_s: float
    wall_s: float


def main() -> None:
    """Measure, print and write the table."""
    found = cluster.find()
    access = cluster.access(found)
    with tempfile.TemporaryDirectory() as folder:
        storage.mirror(photos.make(Path(folder, "photos"), count=IMAGES), PLACE, access, live=sys.stdout.isatty())
    local, lab = [], []
    for _ in range(PAIRS):
        local.append(_run("local", access, environment=_job_key() | {"AWS_ENDPOINT_URL_S3": found.s3}))
        lab.append(_run("lab", access))
    table = render(local, lab)
    RESULTS.write_text(table)
    sys.stdout.write(table)


def render(local: list[Took], lab: list[Took]) -> str:
    """The table as Markdown: rates of the median run, the median of the pairs' ratios."""

    def row(name: str, here: list[float], there: list[float], wanted: str) -> str:
        ratio = median(mine / other for mine, other in zip(here, there, strict=True))
        rates = f"{IMAGES / median(there):,.0f} images/s | {IMAGES / median(here):,.0f} images/s"
        return f"| {name} | {rates} | {ratio:.2f} | {wanted} |\n"

    extract = row("extraction", [run.extract_s for run in local], [run.extract_s for run in lab], "≥ 0.85")
    whole = row("the whole run", [run.wall_s for run in local], [run.wall_s for run in lab], "")
    return (
        "# The lab beside local Spark\n\n"
        f"Measured by `make bench-lab` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {IMAGES:,} JPEG files "
        f"of {IMAGE_SIZE} x {IMAGE_SIZE} pixels in the lab's S3, both on the same cores, {PAIRS} pairs in turns.\n\n"
        "| what | lab | local | ratio | wanted |\n|---|---|---|---|---|\n" + extract + whole
    )


def _run(target: str, access: storage.Access, *, environment: Mapping[str, str] | None = None) -> Took:
    """One run to a new place: nothing is known there."""
    output = f"{cluster.BUCKET}/results/bench-{target}-{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "launch", "run", "--target", target, "--input", PLACE, "--output", output]
    started = time.monotonic()
    subprocess.run(
        [*command, "--image-size", str(IMAGE_SIZE)], env=os.environ | dict(environment or {}), check=True, stdout=2
    )
    wall_s = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder:
        storage.fetch(output, ["run.json"], Path(folder), access)
        record = json.loads(Path(folder, "run.json").read_text())
    return Took(record["seconds"]["extract"], wall_s)


def _job_key() -> dict[str, str]:
    """For the local run the key that the job has in the lab."""
    keys = env_files.read(paths.ENV_FILE)
    return {f"AWS_{part}": keys[f"JOB_{part}"] for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")} | {
        "AWS_REGION": cluster.REGION
    }


if __name__ == "__main__":
    main()
