"""The photographs that the benches run on: copies of the sample, as many as needed."""

from __future__ import annotations

import itertools
from pathlib import Path

from base.paths import SAMPLE


def sources() -> list[Path]:
    """The sample's files."""
    return sorted(SAMPLE.glob("*/*.jpg"))


def make(folder: Path, *, count: int, classes: int | None = None) -> Path:
    """`count` JPEG files of 100 x 100 pixels in class folders below `folder`; those that are there stay.

    The classes are the sample's own, or `classes` of any number, which the files go to in turn.
    """
    contents = {source: source.read_bytes() for source in sources()}
    for number, source in zip(range(count), itertools.cycle(contents), strict=False):
        label = source.parent.name if classes is None else f"{number % classes:03d}"
        place = folder / label / f"{number // len(contents)}-{source.parent.name}-{source.name}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(contents[source])
    return folder


def link(folder: Path, *, count: int) -> Path:
    """The same, but names of the sample's bytes only: hard links, so that a million take a minute and no room."""
    originals = folder.with_name(f"{folder.name}-originals")
    make(originals, count=min(count, len(sources())))
    contents = sorted(originals.glob("*/*"))
    for number, original in zip(range(count), itertools.cycle(contents), strict=False):
        place = folder / original.parent.name / f"{number // len(contents)}-{original.name}"
        if number < len(contents):
            place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(original)
    return folder
