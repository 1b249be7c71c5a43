"""The sample data set: what it promises to the pipeline, and that `data/draw.py` still draws it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base.paths import SAMPLE
from data.draw import FRUITS, SIDE, VIEWS, draw
from data.fruits import KINDS


@pytest.fixture(scope="module")
def photos() -> dict[Path, Image.Image]:
    return {path: Image.open(path) for path in sorted(SAMPLE.rglob("*.jpg"))}


def test_every_class_has_every_view_of_every_fruit(photos: dict[Path, Image.Image]) -> None:
    views = {f"{name}/{fruit}_{view}.jpg" for name in KINDS for fruit in range(FRUITS) for view in range(VIEWS)}
    assert {path.relative_to(SAMPLE).as_posix() for path in photos} == views
    assert len(KINDS) >= 8
    assert FRUITS * VIEWS == 24


def test_photos_are_small_rgb_jpegs(photos: dict[Path, Image.Image]) -> None:
    assert {(photo.format, photo.mode, photo.size) for photo in photos.values()} == {("JPEG", "RGB", (SIDE, SIDE))}
    assert SIDE == 100
    assert sum(path.stat().st_size for path in photos) <= 3_000_000


def test_fruit_lies_on_white(photos: dict[Path, Image.Image]) -> None:
    for path, photo in photos.items():
        pixels = np.asarray(photo)
        assert pixels[::99, ::99].min() >= 250, f"{path} has a corner that is not white"
        assert pixels[50, 50].min() < 250, f"{path} has no fruit in its middle"


def test_photos_differ(photos: dict[Path, Image.Image]) -> None:
    assert len({photo.tobytes() for photo in photos.values()}) == len(photos)


@pytest.mark.parametrize("name", ["Banana", "Raspberry"])
def test_redrawing_gives_the_committed_bytes(name: str, tmp_path: Path) -> None:
    size = draw(name, tmp_path)
    drawn = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert size == sum(map(len, drawn.values()))
    assert drawn == {path.name: path.read_bytes() for path in (SAMPLE / name).iterdir()}
