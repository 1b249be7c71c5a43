"""How others do the same job, beside ours on the same cores and files: `make bench-peers`.

Each way starts from nothing and ends with the features of all photographs in parquet, by the same network. Rounds in
turns, the median of the ratios counts. Takes a quarter of an hour, nothing else should run meanwhile; writes
bench/peers.md and the picture beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench import job, photos
from launch import java, model

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
LOCK = Path(__file__).parent / "requirements.lock"
RESULTS = ROOT / "bench" / "peers.md"
IMAGES = 20_160
ROUNDS = 3
PARITY = 1e-3  # of the features' scale: otherwise it is not the same job


@dataclass(frozen=True)
class Way:
    """One way to do the job: what a reader calls it, the seconds of each round."""

    name: str
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print and write the table."""
    python, cores = _environment(), os.cpu_count() or 1
    peers = {
        "notebook": Way(f"Spark {version('pyspark')} as in notebooks: binaryFile, pandas UDF, Keras"),
        "ray_data": Way(f"Ray Data {_version(python, 'ray')}"),
        "daft_frame": Way(f"Daft {_version(python, 'daft')}"),
    }
    ours, integers = Way("emrlab"), Way("emrlab, MODEL=lite0-int8")
    with tempfile.TemporaryDirectory() as folder:
        place = photos.make(Path(folder, "photos"), count=IMAGES)
        built, _ = (
            model.build(
                name, weights=None, image_size=job.IMAGE_SIZE, cache=CACHE / "models", images=photos.sources()[:16]
            )
            for name in ("lite0", model.INT8)
        )
        for number in range(ROUNDS):
            output = Path(folder, f"ours-{number}")
            ours.seconds.append(job.run(place, output).saved_s)
            wanted = _features(output / "features", place)
            integers.seconds.append(job.run(place, Path(folder, f"integers-{number}"), model=model.INT8).saved_s)
            for name, way in peers.items():
                target = Path(folder, f"{name}-{number}")
                if name == "notebook":
                    asked = [sys.executable, "-m", "bench.peers.notebook", place, target, job.IMAGE_SIZE, cores]
                else:
                    asked = [python, "-m", f"bench.peers.{name}", built.path, place, target, cores]
                way.seconds.append(_time([str(word) for word in asked]))
                _check(_features(target, place), wanted, name=way.name)
    table = render(ours, [integers, *peers.values()])
    RESULTS.write_text(table)
    draw([integers, ours, *peers.values()])
    sys.stdout.write(table)


def draw(ways: Sequence[Way]) -> None:
    """The rates as bars, beside the table."""
    ways = sorted(ways, key=lambda way: median(way.seconds), reverse=True)
    figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
    colours = ["#2a7f62" if way.name.startswith("emrlab") else "#b9c0c7" for way in ways]
    bars = axes.barh(
        [way.name.partition(":")[0] for way in ways], [IMAGES / median(way.seconds) for way in ways], color=colours
    )
    axes.bar_label(bars, fmt="{:,.0f}", padding=4)
    axes.set_title(f"images a second, from the command to all features saved, {os.cpu_count()} cores", loc="left")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False, left=False)
    axes.margins(x=0.1)
    figure.savefig(RESULTS.with_suffix(".svg"), metadata={"Date": None})


def render(ours: Way, others: Sequence[Way]) -> str:
    """The table as Markdown."""
    head = (
        "# The same job by others\n\n"
        f"Measured by `make bench-peers` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {IMAGES:,} local "
        f"JPEG files of {job.IMAGE_SIZE} x {job.IMAGE_SIZE} pixels, EfficientNet-Lite0 in float32, {ROUNDS} rounds in "
        f"turns. From the command to the last feature in parquet; all give the same features to {PARITY:g} of their "
        "scale. Ray Data and Daft run emrlab's own decoding and LiteRT runtime: there the engines differ alone.\n\n"
        "| way | images/s | emrlab is so many times as fast |\n|---|---|---|\n"
    )
    rows = [f"| {ours.name} | {IMAGES / median(ours.seconds):,.0f} | 1 |\n"]
    for way in others:
        ratio = median(theirs / mine for mine, theirs in zip(ours.seconds, way.seconds, strict=True))
        rows.append(f"| {way.name} | {IMAGES / median(way.seconds):,.0f} | {ratio:.2f} |\n")
    return head + "".join(rows)


def _environment() -> Path:
    """The peers' own Python, with what the lock says."""
    uv, python = ROOT / ".venv" / "bin" / "uv", CACHE / "peers" / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, CACHE / "peers"], check=True)
    packages = ["--require-hashes", "--compile-bytecode", str(LOCK)]
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, *packages], check=True)
    return python


def _version(python: Path, package: str) -> str:
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()


def _time(command: list[str]) -> float:
    """Seconds of a process.

    Raises:
        RuntimeError: it failed.
    """
    settings = {"PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(java.find().resolve().parent.parent)}
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[2]}: exit code {done.returncode}: {done.stderr[-500:]}")
    return time.monotonic() - started


def _features(folder: Path, place: Path) -> dict[str, NDArray[np.float32]]:
    """The features of every photograph by its path below `place`, whatever a way calls the file."""
    table = pq.read_table(folder, columns=["path", "features"])
    paths = [path.rpartition(f"{place}/")[2] for path in table["path"].to_pylist()]
    return dict(zip(paths, map(np.asarray, table["features"].to_pylist()), strict=True))


def _check(found: dict[str, NDArray[np.float32]], wanted: dict[str, NDArray[np.float32]], *, name: str) -> None:
    """Hold a way's features against ours.

    Raises:
        RuntimeError: it did another job.
    """
    if found.keys() != wanted.keys():
        raise RuntimeError(f"{name} has features of {len(found)} photographs, not of the {len(wanted)}")
    scale = max(float(np.abs(features).max()) for features in wanted.values())
    off = max(float(np.abs(found[path] - wanted[path]).max()) for path in wanted) / scale
    if off > PARITY:
        raise RuntimeError(f"{name}'s features are off by {off:.1e} of their scale")


if __name__ == "__main__":
    main()
