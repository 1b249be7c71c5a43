"""Speed and memory on this machine, each figure beside a peer measured in the same run: `make bench`.

Takes a quarter of an hour; nothing else should run meanwhile. What drifts with the machine is measured in pairs, ours
between two runs of the peer, and the median of the ratios counts. Writes bench/results.md, with what a run on Amazon
EMR will take and cost at that rate, and bench/results.json, from which the estimates take it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from bench import costs, job, photos, startup
from launch import java, model, submit, targets

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache"
RESULTS = Path(__file__).parent / "results.md"
RATE = RESULTS.with_suffix(".json")  # what the estimate of a run on EMR starts from
SMALL, LARGE = 2_016, 20_160
STARTUP_PAIRS = 3
PAIRS = 3


@dataclass(frozen=True)
class Figure:
    """One row of the table: what was measured, ours and the peer's with their unit, the ratio and the one wanted."""

    name: str
    ours: str
    peer: str
    ratio: float
    wanted: str


@dataclass(frozen=True)
class Measured:
    """All rows, and the seconds of the extraction that the estimate rests on."""

    rows: list[Figure]
    extract_s: float


def main() -> None:
    """Measure, print and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    RESULTS.write_text(render(figures.rows))
    RATE.write_text(json.dumps(rate(figures.extract_s), indent=1) + "\n")
    with RESULTS.open("a") as results:
        results.write(costs.table())
    sys.stdout.write(RESULTS.read_text())


def measure(folder: Path) -> Measured:
    """All figures; `folder` is for the photographs and the results."""
    cores = os.cpu_count() or 1
    small = photos.make(folder / "small", count=SMALL)
    large = photos.make(folder / "large", count=LARGE)
    built = model.build(
        "lite0", weights=None, image_size=job.IMAGE_SIZE, cache=CACHE / "models", images=photos.sources()[:16]
    )
    start = startup.measure(STARTUP_PAIRS)
    job.run(small, folder / "warm")  # the page cache and the model file are warm for both
    runs, bares = [], [_bare(built.path, large, cores)]
    for number in range(PAIRS):
        runs.append(job.run(large, folder / f"large-{number}"))
        bares.append(_bare(built.path, large, cores))
    peers = [(before + after) / 2 for before, after in pairwise(bares)]
    first, output = runs[-1], folder / f"large-{PAIRS - 1}"
    again = job.run(large, output)
    few = job.run(small, folder / "small-out")
    bare = f"bare model, {cores} processes: {LARGE / median(peers):,.0f} images/s"

    def images_s(name: str, seconds: list[float], wanted: str) -> Figure:
        ratio = median(peer / ours for peer, ours in zip(peers, seconds, strict=True))
        return Figure(f"{name}, {LARGE:,} images", f"{LARGE / median(seconds):,.0f} images/s", bare, ratio, wanted)

    extracts_s = [run.stages_s["extract"] for run in runs]
    rows = [
        Figure(
            "session and first Python job",
            f"{start.ours_s:.1f} s",
            f"plain pyspark: {start.plain_s:.1f} s",
            start.ours_s / start.plain_s,
            "≤ 0.5",
        ),
        images_s("extraction", extracts_s, "≥ 0.95"),
        images_s("from the command to all features saved", [run.saved_s for run in runs], "≥ 0.75"),
        images_s("the whole run, with PCA, classifier and report", [run.wall_s for run in runs], ""),
        Figure(
            "a rerun with nothing new",
            f"{again.wall_s:.1f} s",
            f"the first run: {first.wall_s:.1f} s",
            again.wall_s / first.wall_s,
            "≤ 0.10",
        ),
        Figure(
            f"driver's peak memory, {LARGE:,} images",
            f"{first.driver_mib:,.0f} MiB",
            f"{SMALL:,} images: {few.driver_mib:,.0f} MiB",
            first.driver_mib / few.driver_mib,
            "≤ 1.15",
        ),
        _reduction(folder / "small-out" / "features", images=SMALL, wanted="≥ 10"),
        _reduction(output / "features", images=LARGE, wanted="≥ 12"),
    ]
    return Measured(rows, median(extracts_s))


def render(figures: list[Figure]) -> str:
    """The table as Markdown."""
    rows = "".join(f"| {f.name} | {f.ours} | {f.peer} | {f.ratio:.2f} | {f.wanted} |\n" for f in figures)
    machine = f"{os.cpu_count()} cores, {platform.machine()} ({processor()}), Python {platform.python_version()}"
    return (
        "# Speed and memory\n\n"
        f"Measured by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine}. EfficientNet-Lite0 in float32, "
        "JPEG files of 100 x 100 pixels. The ratio is what counts; the seconds are this machine's.\n\n"
        "| what | ours | peer | ratio | wanted |\n|---|---|---|---|---|\n" + rows
    )


def rate(extract_s: float) -> dict[str, object]:
    """The extraction's rate and what it was measured on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "model": "lite0",
        "image_size": job.IMAGE_SIZE,
        "extract_images_s": round(LARGE / extract_s, 1),
    }


def processor() -> str:
    """The name that the processor gives itself, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = subprocess.run(
            ["sysctl", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout.splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "machdep")))
    return next(names, platform.machine())


def _bare(path: Path, folder: Path, processes: int) -> float:
    command = [sys.executable, "-m", "bench.bare", str(path), str(folder), str(processes)]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["seconds"])


def _reduction(features: Path, *, images: int, wanted: str) -> Figure:
    conf = submit.conf_arguments(targets.local([]))
    command = java.command(
        [*conf, str(ROOT / "bench" / "reduction.py"), str(features)], memory="4g", archive=java.archive_path(CACHE)
    )
    environment = java.environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    took = json.loads(done.stdout.splitlines()[-1])
    ours_s, peer_s = took["ours_s"], took["spark_ml_s"]
    name = f"scaler and PCA, {images:,} images"
    return Figure(name, f"{ours_s:.2f} s", f"Spark ML: {peer_s:.1f} s", peer_s / ours_s, wanted)


if __name__ == "__main__":
    main()
