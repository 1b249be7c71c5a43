"""Speed and memory on this machine, each figure beside a peer measured in the same run: `make bench [ARGS="2016"]`.

Takes about an hour, of which 200,000 images take half; nothing else should run meanwhile. What drifts with the machine
is measured in pairs, ours between two runs of the peer, and the median of the ratios counts. Writes bench/results.json,
from which the estimates of a run on Amazon EMR take the rate, and draws bench/results.md from it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from base.paths import CACHE, ROOT, SAMPLE
from bench import after, job, machine, photos, startup, turns
from bench.job import Ran
from bench.pages import publish, speed
from bench.pages.speed import Figure
from launch import java, model, submit, targets

STARTUP_PAIRS = 3
PAIRS = {2_016: 3, 20_160: 5, 200_000: 1}  # by images; of any other number one
RATED = 20_160  # images, of the rate that the estimates start from, and of the goals
REDUCTION_GOAL = {2_016: 10.0, 20_160: 12.0}  # with more, Spark ML's would take minutes


@dataclass(frozen=True)
class Bare:
    """Seconds of one run of bare models.

    Attributes:
        wall_s: from the listing to the last feature.
        extract_s: since every process has its model, as those of a run's extraction.
    """

    wall_s: float
    extract_s: float


@dataclass(frozen=True)
class Column:
    """All that was measured with one number of images: our runs in turn, and bare models before, between and after."""

    images: int
    runs: list[Ran]
    bare: list[Bare]
    rows: list[Figure]


def main() -> None:
    """Measure, and draw the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", nargs="*", type=int, default=[*PAIRS], help="numbers of images")
    numbers = sorted(parser.parse_args().images)
    started = start()
    with tempfile.TemporaryDirectory() as folder:
        columns = measure(Path(folder), numbers)
        figures = [started, *(row for column in columns for row in column.rows), *memory(columns)]
        figures += after.measure(Path(folder, "after"))
    rated = min(columns, key=lambda column: abs(column.images - RATED))
    pairs = {column.images: len(column.runs) for column in columns}
    publish.save("results", speed.as_document(figures, rate=rate(rated), rounds=pairs))
    sys.stdout.write(publish.page("results").read_text())


def start() -> Figure:
    """Spark's own start beside plain pyspark's."""
    started = startup.measure(STARTUP_PAIRS)
    return Figure(
        name="session and first Python job",
        unit="s",
        ours=round(started.ours_s, 2),
        peer=round(started.plain_s, 2),
        peer_name="plain pyspark",
        ratio=round(started.ours_s / started.plain_s, 3),
        at_most=0.5,
    )


def measure(folder: Path, numbers: list[int]) -> list[Column]:
    """A column for each number of images; `folder` is for the photographs and the results."""
    built = model.build(
        "lite0", weights=None, image_size=job.IMAGE_SIZE, cache=CACHE / "models", images=photos.sources()[:16]
    )
    job.run(SAMPLE, folder / "warm")  # the page cache and the model file are warm for both
    return [_column(images, folder / str(images), built.path) for images in numbers]


def memory(columns: list[Column]) -> list[Figure]:
    """The driver's peaks, each beside that of the number of images before it."""
    return [
        Figure(
            name=f"driver's peak memory, {many.images:,} images",
            unit="MiB",
            ours=round(many.runs[-1].driver_mib),
            peer=round(few.runs[-1].driver_mib),
            peer_name=f"{few.images:,} images",
            ratio=round(many.runs[-1].driver_mib / few.runs[-1].driver_mib, 3),
            at_most=1.15,
        )
        for few, many in pairwise(columns)
    ]


def rate(column: Column) -> dict[str, Any]:
    """The extraction's rate and what it was measured on, as launch/emr/cost.py reads it."""
    described = machine.describe()
    return {name: described[name] for name in ("date", "processor", "cores")} | {
        "model": "lite0",
        "image_size": job.IMAGE_SIZE,
        "extract_images_s": round(turns.images_s(column.images, [ran.extract_s for ran in column.runs]), 1),
    }


def _column(images: int, folder: Path, path: Path) -> Column:
    cores = os.cpu_count() or 1
    photographs, output = photos.make(folder / "photographs", count=images), folder / "output"
    runs, bare = list[Ran](), [_bare(path, photographs, cores)]
    for _ in range(PAIRS.get(images, 1)):
        shutil.rmtree(output, ignore_errors=True)
        runs.append(job.run(photographs, output))
        bare.append(_bare(path, photographs, cores))
    again = job.run(photographs, output)

    def beside_bare(name: str, seconds: list[float], bare_s: list[float], *, goal: float) -> Figure:
        around_s = [(before + behind) / 2 for before, behind in pairwise(bare_s)]
        return Figure(
            name=f"{name}, {images:,} images",
            unit="images/s",
            ours=round(turns.images_s(images, seconds), 1),
            peer=round(turns.images_s(images, around_s), 1),
            peer_name=f"bare model, {cores} processes",
            ratio=round(turns.ratio(seconds, around_s), 3),
            at_least=goal if images == RATED else None,
        )

    walls_s = [each.wall_s for each in bare]
    rows = [
        beside_bare("extraction", [ran.extract_s for ran in runs], [each.extract_s for each in bare], goal=0.95),
        beside_bare("from the command to all features saved", [ran.saved_s for ran in runs], walls_s, goal=0.75),
        beside_bare("the whole run, with PCA, classifier and report", [ran.wall_s for ran in runs], walls_s, goal=0.85),
        Figure(
            name=f"a rerun with nothing new, {images:,} images",
            unit="s",
            ours=round(again.wall_s, 2),
            peer=round(runs[-1].wall_s, 2),
            peer_name="the first run",
            ratio=round(again.wall_s / runs[-1].wall_s, 3),
            at_most=0.10 if images == RATED else None,
        ),
    ]
    if images in REDUCTION_GOAL:
        rows.append(_reduction(output / "features", images=images))
    shutil.rmtree(folder)
    return Column(images, runs, bare, rows)


def _bare(path: Path, folder: Path, processes: int) -> Bare:
    command = [sys.executable, "-m", "bench.bare", str(path), str(folder), str(processes)]
    printed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return Bare(wall_s=printed["seconds"], extract_s=printed["model_seconds"])


def _reduction(features: Path, *, images: int) -> Figure:
    conf = submit.conf_arguments(targets.local([], own=targets.IMAGES))
    command = java.command(
        [*conf, str(ROOT / "bench" / "reduction.py"), str(features)], memory="4g", archive=java.archive_path(CACHE)
    )
    environment = java.environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    seconds = json.loads(done.stdout.splitlines()[-1])
    return Figure(
        name=f"scaler and PCA, {images:,} images",
        unit="s",
        ours=round(seconds["ours_s"], 3),
        peer=round(seconds["spark_ml_s"], 2),
        peer_name="Spark ML",
        ratio=round(seconds["spark_ml_s"] / seconds["ours_s"], 2),
        at_least=REDUCTION_GOAL[images],
    )


if __name__ == "__main__":
    main()
