"""How others do the same job, beside ours on the same cores and files: `make bench-peers [ARGS="20160 --ways daft"]`.

Each way starts from nothing and ends with the features of all photographs in parquet, by the same network. Rounds in
turns, the median of the ratios counts; what takes minutes runs in the first round alone. Takes 40 minutes for the first
two numbers of images and two hours for 200,000; nothing else should run meanwhile. Only the columns that are measured
are replaced in bench/peers.json, from which bench/peers.md, its picture and README's table are drawn.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import job, machine, photos, turns
from bench.pages import peers as pages
from bench.pages import publish
from bench.peers import parity, ways
from bench.peers.ways import Way

ROUNDS = {2_016: 3, 20_160: 5, 200_000: 1}  # by images; of any other number one
SLOW_S = 75  # what takes longer is measured once: a ratio of 3 is as sure from one round as 1.0 from five
LIMIT_MINUTES = 15  # a way whose one run would take longer is left out


def main() -> None:
    """Measure the columns, smallest first, and draw the page anew after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("images", nargs="*", type=int, default=[*ROUNDS], help="numbers of images")
    parser.add_argument(
        "--ways", nargs="+", choices=[row.key for row in pages.ROWS], help="these alone, and ours that they are beside"
    )
    arguments = parser.parse_args()
    numbers = sorted(arguments.images)
    document = publish.load("peers")
    with tempfile.TemporaryDirectory() as folder:
        all_ways = ways.make(Path(folder))
        if arguments.ways:
            beside = {way.beside for way in all_ways if way.key in arguments.ways}
            all_ways = [way for way in all_ways if way.key in {*arguments.ways, *beside}]
        document |= {
            "image_size": job.IMAGE_SIZE,
            "parity": parity.PARITY,
            "cosine": parity.COSINE,
            "limit_minutes": LIMIT_MINUTES,
            "versions": {
                "Spark": metadata.version("pyspark"),
                "Daft": ways.version("daft"),
                "Ray": ways.version("ray"),
                "ONNX Runtime": ways.version("onnxruntime"),
            },
        }
        for images in numbers:
            photographs = photos.make(Path(folder, f"photographs-{images}"), count=images)
            earlier = {number: column for number, column in document.get("columns", {}).items() if int(number) < images}
            column = measure(all_ways, photographs, images=images, earlier=earlier, folder=Path(folder))
            document["columns"] = {**document.get("columns", {}), str(images): column}
            publish.save("peers", document)
            shutil.rmtree(photographs)
    sys.stdout.write(publish.page("peers").read_text())


def measure(
    all_ways: list[Way], photographs: Path, *, images: int, earlier: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """The column of `images`; `earlier` are those of fewer, from which follows who would take too long."""
    rounds = ROUNDS.get(images, 1)
    projected = {way.key: turns.projected_s(_seconds(earlier, way.key), images) or 0.0 for way in all_ways}
    left_out = {
        way.key: round(projected[way.key] / 60, 1)
        for way in all_ways
        if projected[way.key] > LIMIT_MINUTES * 60 and way.key != way.beside
    }
    taken: dict[str, list[float]] = {way.key: [] for way in all_ways if way.key not in left_out}
    for _ in range(rounds):
        ours = dict[str, parity.Features]()
        for way in (way for way in all_ways if way.key in taken):
            if way.key != way.beside and taken[way.key] and taken[way.key][0] > SLOW_S:
                continue
            target = folder / way.key
            taken[way.key].append(way.run(photographs, target))
            features = parity.read(target / way.features, photographs)
            shutil.rmtree(target)
            if way.key == way.beside:
                ours[way.key] = features
            else:
                parity.check(features, ours[way.beside], name=way.key, near=way.near)
    figures = {
        way.key: {
            "images_s": round(turns.images_s(images, taken[way.key]), 1),
            "ratio": round(turns.ratio(taken[way.beside][: len(taken[way.key])], taken[way.key]), 3),
            "seconds": [round(seconds, 2) for seconds in taken[way.key]],
        }
        for way in all_ways
        if way.key in taken
    }
    return {"machine": machine.describe(), "rounds": rounds, "ways": figures, "left_out_minutes": left_out}


def _seconds(columns: dict[str, Any], key: str) -> dict[int, float]:
    return {
        int(images): int(images) / column["ways"][key]["images_s"]
        for images, column in columns.items()
        if key in column["ways"]
    }


if __name__ == "__main__":
    main()
