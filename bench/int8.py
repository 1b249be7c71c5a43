"""What int8 costs in accuracy and brings in speed: `make bench-int8 [PHOTOS=folder]`.

Three sets: the sample, photographs of your own in class folders (left out where none are named), and a drawn set,
larger than the sample and of the size that models are made for. Takes some ten minutes; draws bench/int8.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from base import command_line
from base.paths import CACHE, ROOT, SAMPLE
from bench import job, machine, photos
from bench.pages import publish
from bench.peers import parity
from data import draw
from data.fruits import KINDS
from launch import model
from pipeline.decoding import decode
from pipeline.runtime import Runtime

SIZES = (100, 224)
DRAWN_SIZE = 224
DRAWN_FRUITS, DRAWN_VIEWS = 20, 10  # of each of the ten classes: 2,000
ROUNDS, ROUND_IMAGES = 7, 48


def main() -> None:
    """Measure, and draw the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", nargs="?", type=command_line.path, help="photographs in class folders")
    photographs: Path | None = parser.parse_args().photos
    if photographs and not photographs.is_dir():  # before minutes of measuring
        parser.error(f"PHOTOS={photographs}: no such folder; correct the path")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sets = [compare("the sample", SAMPLE, size=100, work=work / "sample")]
        if photographs:
            sets.append(compare("photographs", photographs, size=100, work=work / "photographs"))
        drawn = draw_set(work / "drawn", fruits=DRAWN_FRUITS, views=DRAWN_VIEWS)
        sets.append(compare("drawn", drawn, size=DRAWN_SIZE, work=work / "of-drawn"))
        rows = [speed(size) for size in SIZES]
    publish.save("int8", {"machine": machine.describe(), "sets": sets, "speed": rows})
    sys.stdout.write(publish.page("int8").read_text())


def compare(name: str, photographs: Path, *, size: int, work: Path) -> dict[str, Any]:
    """Two runs of the job on the same photographs, in float32 and in int8, at the job's default settings."""
    float32, int8 = (work / kind for kind in ("float32", "int8"))
    for output, of_model in ((float32, "lite0"), (int8, model.INT8)):
        job.run(photographs, output, model=of_model, image_size=size)
    metrics = [json.loads((output / "metrics.json").read_text()) for output in (float32, int8)]
    features = [parity.read(output / "features", photographs) for output in (float32, int8)]
    cosines = parity.cosines(features[0].rows, features[1].rows)
    return {
        "name": name,
        "size": size,
        "images": len(cosines),
        "classes": len({path.rpartition("/")[0] for path in features[0].paths}),
        "test_images": metrics[0]["test_images"],
        "float32_accuracy": metrics[0]["accuracy"],
        "int8_accuracy": metrics[1]["accuracy"],
        "agreement": agreement(*(_predictions(output) for output in (float32, int8))),
        "cosine_mean": float(cosines.mean()),
        "cosine_min": float(cosines.min()),
    }


def agreement(one: dict[str, str], other: dict[str, str]) -> float:
    """The share of images, by path, to which both give the same class.

    Raises:
        ValueError: they are not of the same images.
    """
    if one.keys() != other.keys():
        raise ValueError(f"predictions of {len(one)} and of {len(other)} images, not of the same")
    return sum(one[path] == other[path] for path in one) / len(one)


def speed(size: int) -> dict[str, Any]:
    """Milliseconds an image of decoding and of both models on one thread, in turns, and of their layers by kind."""
    runtimes = [Runtime(_built(name, size).read_bytes()) for name in ("lite0", model.INT8)]
    contents = [path.read_bytes() for path in photos.sources()[:ROUND_IMAGES]]
    squares = [decode(content, size=size) for content in contents]

    def infer(runtime: Runtime) -> None:
        for start in range(0, len(squares), runtime.batch):
            runtime.infer(squares[start : start + runtime.batch])

    def decode_all() -> None:
        for content in contents:
            decode(content, size=size)

    jobs: list[Callable[[], None]] = [decode_all, *(partial(infer, runtime) for runtime in runtimes)]
    rounds = [[_milliseconds(each) / len(contents) for each in jobs] for _ in range(ROUNDS)]
    decode_ms, float32_ms, int8_ms = (round(median(column), 4) for column in zip(*rounds, strict=True))
    layers = subprocess.run(
        [sys.executable, "-m", "bench.layers", str(size)], cwd=ROOT, check=True, capture_output=True
    ).stdout
    return {
        "size": size,
        "decode_ms": decode_ms,
        "float32_ms": float32_ms,
        "int8_ms": int8_ms,
        "layers": json.loads(layers),
    }


def draw_set(folder: Path, *, fruits: int, views: int) -> Path:
    """Photographs as data/draw.py draws the sample's, of other fruits and DRAWN_SIZE pixels, on all cores."""
    numbers = range(draw.FRUITS, draw.FRUITS + fruits)  # the first are the sample's
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_draw_fruit, folder=folder, views=views), *zip(*product(KINDS, numbers), strict=True)))
    return folder


def _draw_fruit(name: str, number: int, *, folder: Path, views: int) -> None:
    kind = KINDS[name]
    seed = [zlib.crc32(name.encode()), number]
    rng = np.random.default_rng(seed)
    size = rng.uniform(*kind.size)
    mesh = draw.grow(kind, size, rng)
    (folder / name).mkdir(parents=True, exist_ok=True)
    for view in range(views):
        photo = draw.photograph(mesh, kind, size, np.random.default_rng([*seed, view]), side=DRAWN_SIZE, oversample=1)
        photo.save(folder / name / f"{number}_{view}.jpg", quality=draw.QUALITY)


def _built(name: str, size: int) -> Path:
    return model.build(name, weights=None, image_size=size, cache=CACHE / "models", images=photos.sources()[:16]).path


def _predictions(output: Path) -> dict[str, str]:
    table = pq.read_table(output / "predictions", columns=["path", "prediction"])
    return dict(zip(table["path"].to_pylist(), table["prediction"].to_pylist(), strict=True))


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
