"""A run of a million photographs, requests, a listing of ten million keys, ten million known ids: `make bench-scale`.

Takes about an hour on two cores, of which the million photographs take most, and 15 GB of disk. Draws bench/scale.md
after each part: what was measured stays, whatever becomes of the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from base.paths import CACHE, ROOT
from bench import job, machine, photos
from bench.pages import publish
from bench.scale import known_ids
from launch import java, submit, targets

FEW = 10_000  # photographs, of the run that memory is held against
KEYS = (1_000_000, 10_000_000)
IDS = (100_000, 1_000_000, 10_000_000)
REQUESTED = 10_000  # photographs in S3, whose requests are counted


def main() -> None:
    """Measure, and draw the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", nargs="?", type=int, default=1_000_000, help="photographs of the run")
    images: int = parser.parse_args().images
    document: dict[str, Any] = {"machine": machine.describe(), "image_size": job.IMAGE_SIZE}
    for part, figures in parts(images):
        document.setdefault(part, []).append(figures)
        publish.save("scale", document)
    sys.stdout.write(publish.page("scale").read_text())


def parts(images: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each part's name and figures, one after the other; the longest is last."""
    yield "requests", requests(min(REQUESTED, images))
    for keys in KEYS:
        yield "listing", listing(keys)
    for ids in IDS:
        yield "known", known(ids)
    for count in sorted({min(FEW, images), images}):
        with tempfile.TemporaryDirectory() as folder:
            yield "runs", run(Path(folder), count)


def run(folder: Path, images: int) -> dict[str, Any]:
    """The job on `images` photographs in shards, once."""
    photographs = photos.link(folder / "photographs", count=images)
    shards, output = folder / "shards", folder / "output"
    packing = job.watch([sys.executable, "-m", "data.shards", "--input", str(photographs), "--output", str(shards)])
    ran = job.run(shards, output)
    counts = ran.record["counts"]
    if counts["extracted"] != images:
        raise RuntimeError(f"{counts['extracted']} of {images} photographs have features: {counts}")
    return {
        "images": images,
        "photographs_mb": round(sum(file.stat().st_size for file in photographs.glob("*/*")) / 1e6, 1),
        "packing_s": round(packing.wall_s, 1),
        "input_files": len(_files(shards)),
        "input_mb": _megabytes(shards),
        "output_files": len(_files(output)),
        "output_mb": _megabytes(output),
        "wall_s": round(ran.wall_s, 1),
        "stages_s": ran.record["seconds"],
        "driver_mib": round(ran.driver_mib),
        "elsewhere": round(ran.watched.elsewhere, 3),
    }


def requests(images: int) -> dict[str, Any]:
    """What bench/scale/requests.py prints."""
    command = [sys.executable, "-m", "bench.scale.requests", str(images)]
    counted: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return counted


def listing(keys: int) -> dict[str, Any]:
    """What bench/scale/listing.py prints."""
    command = [sys.executable, "-m", "bench.scale.listing", str(keys)]
    figures: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def known(ids: int) -> dict[str, Any]:
    """What bench/scale/known_ids.py prints, and the peak memory of its driver and of its largest worker."""
    script = Path(known_ids.__file__)
    with tempfile.TemporaryDirectory() as folder:
        known_ids.make(folder, ids)
        conf = submit.conf_arguments(targets.local([], own=targets.IMAGES))
        command = java.command([*conf, str(script), folder, str(ids)], memory="1g", archive=java.archive_path(CACHE))
        environment = os.environ | java.environment() | {"PYTHONPATH": str(ROOT)}
        watched = job.watch(command, script=script.name, environment=environment)
    figures: dict[str, Any] = json.loads(watched.printed.splitlines()[-1])
    return figures | {"driver_mib": round(watched.driver_mib), "worker_mib": round(watched.worker_mib)}


def _megabytes(folder: Path) -> float:
    return round(sum(file.stat().st_size for file in _files(folder)) / 1e6, 1)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


if __name__ == "__main__":
    main()
