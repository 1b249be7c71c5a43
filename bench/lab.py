"""The lab beside local Spark, on the same cores and the same photographs in the lab's S3: `make bench-lab`.

The lab must be up; nothing else should run meanwhile. Takes some ten minutes and draws bench/lab.md after each pair.
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
from pathlib import Path

from base import env_files
from base.defaults import BUCKET, REGION
from bench import machine, photos
from bench.job import IMAGE_SIZE
from bench.pages import publish
from launch import docker_lab, storage
from launch.s3_access import Access

IMAGES = 20_160
PAIRS = 3
INPUT = f"s3://{BUCKET}/images/bench-{IMAGES}"


def main() -> None:
    """Measure, and draw the page."""
    lab = docker_lab.find()
    access = docker_lab.access(lab)
    with tempfile.TemporaryDirectory() as folder:
        storage.mirror(photos.make(Path(folder, "photos"), count=IMAGES), INPUT, access, live=sys.stdout.isatty())
    pairs = []
    for _ in range(PAIRS):
        local = _run("local", access, environment=_job_key() | {"AWS_ENDPOINT_URL_S3": lab.s3})
        pairs.append({"local": local, "lab": _run("lab", access)})
        document = {"machine": machine.describe(), "image_size": IMAGE_SIZE, "images": IMAGES, "pairs": pairs}
        publish.save("lab", document)
    sys.stdout.write(publish.page("lab").read_text())


def _run(target: str, access: Access, *, environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """One run to a new place, as nothing is known there: seconds of its extraction, and from the command to the end."""
    output = f"s3://{BUCKET}/results/bench-{target}-{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "launch", "run", "--target", target, "--input", INPUT, "--output", output]
    started = time.monotonic()
    subprocess.run(
        [*command, "--image-size", str(IMAGE_SIZE)], env=os.environ | dict(environment or {}), check=True, stdout=2
    )
    wall_s = time.monotonic() - started
    with tempfile.TemporaryDirectory() as folder:
        storage.fetch(output, ["run.json"], Path(folder), access)
        record = json.loads(Path(folder, "run.json").read_text())
    return {"extract_s": record["seconds"]["extract"], "wall_s": round(wall_s, 2)}


def _job_key() -> dict[str, str]:
    """For the local run the key that the job has in the lab."""
    keys = env_files.read_dotenv()
    return {f"AWS_{part}": keys[f"JOB_{part}"] for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")} | {
        "AWS_REGION": REGION
    }


if __name__ == "__main__":
    main()
