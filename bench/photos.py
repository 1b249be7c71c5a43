"""The photographs that the benches run on: copies of the sample, as many as asked."""

from __future__ import annotations

from pathlib import Path

SAMPLE = Path(__file__).parent.parent / "data" / "sample"


def make(folder: Path, *, count: int) -> Path:
    """`count` JPEG files of 100 x 100 pixels in class folders below `folder`; those that are there stay."""
    sources = sorted(SAMPLE.glob("*/*.jpg"))
    contents = [source.read_bytes() for source in sources]
    for number in range(count):
        source = sources[number % len(sources)]
        place = folder / source.parent.name / f"{number // len(sources)}-{source.name}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(contents[number % len(sources)])
    return folder
