"""Draws the sample data set: studio photos of fruit on white, 10 classes of 6 fruits of 4 views.

    python -m data.draw [FOLDER]

A fruit is a surface swept round an axis, with a skin of colour, height and gloss. Fruits of a class differ in shape
and ripeness; the views of one fruit turn, light and scale that same surface. `<Class>/<fruit>_<view>.jpg` names a view.
The random numbers depend on class, fruit and view alone: a class is drawn the same with or without the others.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from base.paths import SAMPLE
from data.fruits import KINDS, Kind
from data.meshes import Floats, Mesh, noise, rgb, rotation, step, sweep

FRUITS, VIEWS = 6, 4  # fruits of a class, views of a fruit
SIDE = 100  # of a photo, pixels
OVERSAMPLE = 2  # rendered pixels for one of the photo, along each side
QUALITY = 94  # JPEG
GRID = (340, 640)  # rows and columns of a body as large as the photo: about a point a rendered pixel


def grow(kind: Kind, size: float, rng: Generator) -> Mesh:
    """Return one fruit of a kind, just inside the unit sphere, dense enough for a share `size` of the photo."""
    rows, columns = (round(size * count) for count in GRID)
    skin = sweep((rows, columns), **{name: rng.uniform(*values) for name, values in kind.shape.items()})
    ripeness = rng.uniform() + 0.06 * noise(skin.points, 1.5, rng)
    stages = np.linspace(0, 1, len(kind.ripening))
    bands = np.transpose([rgb(colour) for colour in kind.ripening])
    skin.colours = np.stack([np.interp(ripeness, stages, band) for band in bands], axis=-1)
    skin.gloss += rng.uniform(*kind.gloss)
    for texture in kind.textures:
        texture(skin, rng)
    meshes = [skin.mesh(), *(mesh for part in kind.parts for mesh in part(skin, rng))]
    whole = Mesh(*(np.concatenate(arrays) for arrays in zip(*meshes, strict=True)))
    centre = np.array([axis.min() + axis.max() for axis in whole.points.T]) / 2
    reach = np.sqrt(((whole.points - centre) ** 2) @ np.ones(3)).max()
    return whole.moved(np.eye(3), 1 / reach, -centre / reach)


def shade(mesh: Mesh, rng: Generator) -> Floats:
    """Return the colours (n, 3) of a mesh under a soft box at the upper left, a fill light and a white table."""
    sun = np.array([-0.5, 0.65, 0.75]) + rng.normal(0, 0.18, 3)
    sun /= np.linalg.norm(sun)
    half = sun + np.array([0, 0, 1])  # between light and camera: a normal that lies there mirrors the soft box
    half /= np.linalg.norm(half)
    right, up, facing = mesh.normals.T
    direct = np.clip((mesh.normals @ sun + 0.25) / 1.25, 0, 1)
    light = 0.4 + 0.68 * direct + 0.1 * np.clip(right, 0, 1) + 0.12 * np.clip(-up, 0, 1)
    tint = 1 + rng.uniform(-0.04, 0.04) * np.array([1, 0, -1])  # a warm or a cold lamp
    colours = mesh.colours * tint * (light * rng.uniform(0.9, 1.08))[:, None]
    glance = np.clip(mesh.normals @ half, 0, 1)
    shine = np.clip(mesh.gloss, 0, 1) * (0.55 * step((glance - 0.965) * 50) + 0.25 * glance**16)
    velvet = np.clip(-mesh.gloss, 0, 1) * 0.35 * (1 - facing) ** 2
    lit: Floats = np.clip(colours + (shine + velvet)[:, None], 0, 1)
    return lit


def photograph(
    fruit: Mesh, kind: Kind, size: float, rng: Generator, *, side: int = SIDE, oversample: int = OVERSAMPLE
) -> Image.Image:
    """Return one view of a fruit that takes up `size` of the photo of `side` x `side` pixels.

    `oversample` rendered pixels, along each side, make one: as many in all as `grow` has points for, SIDE * OVERSAMPLE.
    """
    lying, tilt, spin = (rng.uniform(*degrees) for degrees in (kind.lying, kind.tilt, (-40, 40)))
    turn = rotation(2, lying) @ rotation(0, tilt) @ rotation(1, spin)
    front = np.flatnonzero(fruit.normals @ turn[2] > 0)
    rendered = side * oversample
    x, y, z = turn @ fruit.points[front].T * size * rng.uniform(0.95, 1.03)
    column, row = (((axis + 1) / 2 * rendered).astype(np.int32) for axis in (x, -y))
    nearest = np.argsort(((z + 1) * 32767).astype(np.uint16), kind="stable")  # 16 bits: numpy has a radix sort for them
    canvas = np.full((rendered, rendered), -1)
    canvas[row[nearest], column[nearest]] = front[nearest]  # of the points in a pixel the last stays
    left, right = np.roll(canvas, 1, axis=1), np.roll(canvas, -1, axis=1)
    canvas = np.where((canvas < 0) & (left >= 0) & (right >= 0), left, canvas)  # close pinholes between points
    seen = canvas >= 0
    view = Mesh(*(array[canvas[seen]] for array in fruit)).moved(turn)
    picture = np.ones((rendered, rendered, 3))
    picture[seen] = shade(view, rng)
    photo = picture.reshape(side, oversample, side, oversample, 3).mean(axis=(1, 3))
    return Image.fromarray(np.round(photo * 255).astype(np.uint8))


def draw(name: str, folder: Path) -> int:
    """Draw all views of one class into `folder`/`name`; return their size in bytes."""
    kind, total = KINDS[name], 0
    (folder / name).mkdir(parents=True, exist_ok=True)
    for fruit in range(FRUITS):
        seed = [zlib.crc32(name.encode()), fruit]
        rng = np.random.default_rng(seed)
        size = rng.uniform(*kind.size)
        mesh = grow(kind, size, rng)
        for view in range(VIEWS):
            path = folder / name / f"{fruit}_{view}.jpg"
            photo = photograph(mesh, kind, size, np.random.default_rng([*seed, view]))
            photo.save(path, quality=QUALITY, optimize=True)
            total += path.stat().st_size
    return total


def main() -> None:
    """Draw every class."""
    parser = argparse.ArgumentParser(description="Draw the sample data set: 10 classes of fruit, 24 photos each.")
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLE, help="where to draw (default: %(default)s)")
    folder: Path = parser.parse_args().folder
    size = sum(draw(name, folder) for name in KINDS)
    sys.stdout.write(f"{len(KINDS) * FRUITS * VIEWS} photos, {size} bytes in {folder}\n")


if __name__ == "__main__":
    main()
