"""The stages after the extraction alone: seconds of a run's own record, where little is to be extracted.

The photographs are brought to 32 x 32 pixels: their features are as long as any others and come eight times as fast.
"""

from __future__ import annotations

from pathlib import Path

from bench import job, photos
from bench.pages.speed import Figure

IMAGE_SIZE = 32
KNOWN = 100_000
IMAGES, CLASSES = 5_125, 81


def measure(folder: Path) -> list[Figure]:
    """A set that grows by one image, and one of many classes; `folder` is for both."""
    return [grown(folder / "grown"), many_classes(folder / "classes")]


def grown(folder: Path) -> Figure:
    """A run with one new image among KNOWN that the last run left."""
    output = folder / "output"
    job.run(photos.make(folder / "photographs", count=KNOWN), output, image_size=IMAGE_SIZE)
    again = job.run(photos.make(folder / "photographs", count=KNOWN + 1), output, image_size=IMAGE_SIZE)
    if again.record["counts"]["extracted"] != 1:
        raise RuntimeError(f"one new image, but {again.record['counts']['extracted']} were extracted")
    name = f"stages after the extraction, {KNOWN + 1:,} images of which one is new"
    return Figure(name=name, unit="s", ours=round(again.after_s, 2), at_most=4.0)


def many_classes(folder: Path) -> Figure:
    """A first run of IMAGES in CLASSES."""
    photographs = photos.make(folder / "photographs", count=IMAGES, classes=CLASSES)
    first = job.run(photographs, folder / "output", image_size=IMAGE_SIZE)
    name = f"stages after the extraction, {IMAGES:,} images of {CLASSES} classes"
    return Figure(name=name, unit="s", ours=round(first.after_s, 2), at_most=2.0)
