"""Draws the sample data set: studio photos of fruit on white, 10 classes of 6 fruits of 4 views.

    python data/draw.py [FOLDER]

A fruit is a surface swept round an axis, with a skin of colour, height and gloss. Fruits of a class differ in shape
and ripeness; the views of one fruit turn, light and scale that same surface. `<Class>/<fruit>_<view>.jpg` names a view.
The random numbers depend on class, fruit and view alone: a class is drawn the same with or without the others.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

FRUITS, VIEWS = 6, 4  # fruits of a class, views of a fruit
SIDE = 100  # of a photo, pixels
OVERSAMPLE = 2  # rendered pixels for one of the photo, along each side
QUALITY = 94  # JPEG
GRID = (340, 640)  # rows and columns of a body as large as the photo: about a point a rendered pixel
TWIG = (110, 36)  # rows and columns of a stem or a leaf

Floats: TypeAlias = NDArray[np.float64]  # 32 bits would draw other bytes on another processor
Range: TypeAlias = tuple[float, float]  # a fruit's own value is drawn from it


class Mesh(NamedTuple):
    """A cloud of n surface points, dense enough to look solid."""

    points: Floats  # (n, 3), x right, y up, z to the camera
    normals: Floats  # (n, 3), unit length, outwards
    colours: Floats  # (n, 3), RGB in 0..1
    gloss: Floats  # (n,), 1 is wet, 0 matt, -1 velvet

    def moved(self, turn: Floats, scale: float = 1, shift: Floats | float = 0) -> Mesh:
        """Turn by a rotation matrix (3, 3), scale, then shift."""
        return self._replace(points=self.points @ turn.T * scale + shift, normals=self.normals @ turn.T)


@dataclass
class Surface:
    """One closed body while its skin is made: a grid of r rows (bottom to top) by c columns (round the axis)."""

    points: Floats  # (r, c, 3), from about -1 to 1 along y
    rise: Floats  # (r, 1), 0 at the bottom, 1 at the top
    turn: Floats  # (1, c), radians
    colours: Floats  # (r, c, 3)
    gloss: Floats  # (r, c)
    height: Floats  # (r, c), to be added along the normal

    def paint(self, colour: str, amount: Floats) -> None:
        """Mix `colour` in by `amount`, (r, c) in 0..1."""
        self.colours += np.clip(amount, 0, 1)[..., None] * (rgb(colour) - self.colours)

    def mesh(self) -> Mesh:
        """Raise the skin by its height and give up the grid."""
        points = self.points + normals(self.points) * self.height[..., None]
        points, facing, colours = (array.reshape(-1, 3) for array in (points, normals(points), self.colours))
        return Mesh(points, facing, colours, self.gloss.ravel())


Texture: TypeAlias = Callable[[Surface, Generator], None]
Parts: TypeAlias = Callable[[Surface, Generator], Iterator[Mesh]]


def rgb(colour: str) -> Floats:
    """Return `#rrggbb` as three numbers in 0..1."""
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255.0


def step(values: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and a smooth rise between."""
    part: Floats = np.clip(values, 0, 1)
    return part * part * (3 - 2 * part)


def rotation(axis: int, degrees: float) -> Floats:
    """Return the matrix (3, 3) that turns about x, y or z (0, 1, 2)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    angle = np.radians(degrees)
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first] = np.sin(angle)
    matrix[first, second] = -matrix[second, first]
    return matrix


def normals(points: Floats) -> Floats:
    """Return the outward unit normals of a grid (r, c, 3) that closes on itself along c."""
    along = np.gradient(points, axis=0)
    around = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    (ax, ay, az), (bx, by, bz) = np.moveaxis(along, -1, 0), np.moveaxis(around, -1, 0)
    normal = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx  # np.cross is five times slower
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    unit: Floats = np.stack(normal, axis=-1) / np.maximum(length, 1e-12)[..., None]
    return unit


def noise(points: Floats, frequency: float, rng: Generator) -> Floats:
    """Return smooth noise in -1..1 at points (..., 3): random values on a lattice, `frequency` nodes a unit."""
    size = 32
    lattice = rng.uniform(-1, 1, size**3)
    place = points.reshape(-1, 3).T * frequency + rng.uniform(0, size, (3, 1))
    below = np.floor(place)
    weight = step(place - below)
    nodes = below.astype(np.int32) % size, (below.astype(np.int32) + 1) % size

    def blend(row: NDArray[np.int32], axis: int) -> Floats:
        """Return the values between the nodes of the axes from `axis` on, `row` being the place on those before."""
        if axis == 3:
            return lattice.take(row)
        low, high = (blend(row * size + node[axis], axis + 1) for node in nodes)
        high -= low
        high *= weight[axis]
        high += low
        return high

    return blend(np.zeros(1, np.int32), 0).reshape(points.shape[:-1])


def sweep(
    grid: tuple[int, int],
    *,
    width: float = 1,
    blunt: float = 1,
    taper: float = 0,
    neck: float = 0,
    bottom: float = 0,
    top: float = 0,
    seam: float = 0,
    ribs: float = 0,
    flat: float = 1,
    bend: float = 1e-3,
) -> Surface:
    """Sweep an ellipse round the y axis.

    Args:
        grid: rows along the axis, columns round it.
        width: over length.
        blunt: below 1 the ends are blunt as on a barrel, above 1 pointed.
        taper: how far the radius falls from bottom to top.
        neck: how far the upper part draws in, as on a pear.
        bottom: how far the lower end is pulled out (a lemon's nipple) or, below 0, pushed in (an apple's hollow).
        top: the same for the upper end.
        seam: depth of the groove along the side that faces the camera.
        ribs: depth of the edges of a five-sided body.
        flat: thickness over width.
        bend: of the axis, radians from end to end.
    """
    rise = np.linspace(1e-4, 1 - 1e-4, grid[0])[:, None]
    turn = np.linspace(-np.pi, np.pi, grid[1], endpoint=False)[None]
    y, ring = -np.cos(np.pi * rise), np.sin(np.pi * rise) ** blunt
    radius = width * ring * (1 - taper * y) * (1 - neck * step(0.5 + 0.9 * (y - 0.15)))
    radius = radius * (1 - seam * np.exp(-(((turn - np.pi / 2) / 0.2) ** 2)) + ribs * np.cos(5 * turn))
    y = y + np.exp(-((ring / 0.36) ** 2)) * np.where(rise < 0.5, -bottom, top)
    reach = 2 / bend - radius * np.cos(turn)  # from the centre of the bend, which lies to the right
    x, y, z = 2 / bend - reach * np.cos(y * bend / 2), reach * np.sin(y * bend / 2), flat * radius * np.sin(turn)
    points, matt = np.stack([x, y, z], axis=-1), np.zeros(x.shape)
    return Surface(points, rise, turn, colours=np.zeros(points.shape), gloss=matt, height=matt.copy())


def patches(colour: str, frequency: float, cover: Range, strength: float = 1, streak: float = 1) -> Texture:
    """Paint blots, `frequency` a unit, over a `cover` share of the skin, drawn out `streak` times along the axis."""

    def texture(skin: Surface, rng: Generator) -> None:
        blots = noise(skin.points / [1, streak, 1], frequency, rng)
        skin.paint(colour, strength * step((blots + 2 * rng.uniform(*cover) - 1) * 1.6))

    return texture


def blush(colour: str, reach: Range) -> Texture:
    """Paint the side that had the sun; a `reach` of -1 is no blush, 1 nearly all round."""

    def texture(skin: Surface, rng: Generator) -> None:
        sun = rotation(1, rng.uniform(0, 360)) @ [0, 0.4, 1]
        edge = 0.35 * noise(skin.points, 3, rng) + 0.2 * noise(skin.points / [1, 8, 1], 14, rng)
        skin.paint(colour, 0.9 * step(0.5 + 0.7 * (skin.points @ sun + edge) + 0.8 * rng.uniform(*reach)))

    return texture


def ends(colour: str, bottom: float, top: float) -> Texture:
    """Paint both ends, each over that share of the length."""

    def texture(skin: Surface, rng: Generator) -> None:
        ragged = skin.rise + 0.015 * noise(skin.points, 9, rng)
        skin.paint(colour, step(2.5 - 2.5 * ragged / bottom) + step(2.5 - 2.5 * (1 - ragged) / top))

    return texture


def dents(depth: Range, frequency: float) -> Texture:
    """Make the skin uneven: pores of an orange, dents of a pear."""

    def texture(skin: Surface, rng: Generator) -> None:
        skin.height += rng.uniform(*depth) * noise(skin.points, frequency, rng)

    return texture


def lozenges(skin: Surface, rng: Generator) -> None:
    """Lay a pineapple's eyes along two families of spirals, each with a dry thorn in its middle."""
    spirals, rows = rng.integers(7, 10), rng.uniform(5, 6.5)
    left, right = (spirals * skin.turn / (2 * np.pi) + sign * rows * skin.rise for sign in (-1, 1))
    # how far off the middle of its eye each point is along either family, 1 at the edge
    off_left, off_right = (np.abs(place - np.round(place)) * 2 for place in (left, right))
    edge, middle = np.maximum(off_left, off_right), np.hypot(off_left, off_right)
    skin.height += 0.07 * step(1.9 * (1 - edge)) - 0.03 * step(1 - 3 * middle)
    skin.paint("#6f5a1c", 0.8 * step(3.5 * edge - 2.6))
    skin.paint("#7a4a1f", 0.9 * step(1.3 - 2.6 * middle) * step(0.9 + noise(skin.points, 25, rng)))


def drupelets(skin: Surface, rng: Generator) -> None:
    """Cover a raspberry with beads on a Fibonacci spiral."""
    count = int(rng.integers(70, 110))
    seed = np.arange(count)
    polar, turn = np.arccos((2 * seed + 1) / count - 1), seed * np.pi * (3 - np.sqrt(5)) + rng.normal(0, 0.08, count)
    ring, y = np.sin(np.pi * skin.rise), -np.cos(np.pi * skin.rise)
    bead = np.zeros(skin.height.shape)
    for p, t in zip(polar, turn, strict=True):  # one at a time: all at once would need a hundred grids
        near = np.sin(p) * ring * np.cos(skin.turn - t) + np.cos(p) * y  # cosine of the angle to this bead
        np.maximum(bead, 1 - (1 - near) * count / 3.7, out=bead)
    skin.height += 0.17 * np.sqrt(bead)
    skin.paint("#4a0614", 0.75 * step(1 - 2.2 * bead))


def stem(colour: str, length: Range, width: float) -> Parts:
    """Set a short bent stalk into the top."""

    def parts(skin: Surface, rng: Generator) -> Iterator[Mesh]:
        size = rng.uniform(*length) / 2
        stalk = sweep(TWIG, width=width / size, blunt=0.35, taper=-0.25, bend=rng.uniform(0.1, 0.9))
        stalk.paint(colour, np.ones(stalk.gloss.shape))
        patches("#2d2010", 12, (0.3, 0.5), 0.6)(stalk, rng)
        foot = skin.points[-1].mean(axis=0) + np.array([0, 0.8 * size, 0])
        yield stalk.mesh().moved(rotation(1, rng.uniform(0, 360)) @ rotation(2, rng.uniform(-20, 20)), size, foot)

    return parts


def crown(skin: Surface, rng: Generator) -> Iterator[Mesh]:
    """Put a pineapple's tuft of leaves on the top, the outer ones lower."""
    foot = skin.points[-1].mean(axis=0)
    for leaf in range(26):
        lean, size = 4 + 2.1 * leaf + rng.uniform(-5, 5), (0.75 - 0.013 * leaf) * rng.uniform(0.8, 1.15)
        blade = sweep(TWIG, width=0.17, taper=0.45, flat=0.22, bend=0.5 + 0.02 * leaf)
        blade.paint("#3f6b35", np.ones(blade.gloss.shape))
        blade.paint("#8aa06a", 0.9 * step(0.9 - 2.4 * blade.rise + 0 * blade.turn))
        patches("#1f3d24", 5, (0.3, 0.6), 0.6, streak=5)(blade, rng)
        upright = blade.mesh().moved(rotation(1, 180), size, np.array([0, 0.9 * size, 0]))
        yield upright.moved(rotation(1, 137.5 * leaf) @ rotation(2, -lean), 1, foot)


class Kind(NamedTuple):
    """What the fruits of one class have in common."""

    shape: dict[str, Range]  # arguments of sweep
    ripening: tuple[str, ...]  # colours of the skin from unripe to ripe
    gloss: Range
    size: Range  # diameter over the photo's side
    textures: tuple[Texture, ...]
    parts: tuple[Parts, ...] = ()
    lying: Range = (0, 0)  # degrees the axis is turned in the picture
    tilt: Range = (-15, 35)  # degrees the top leans to the camera


KINDS = {
    "Apple": Kind(
        shape={
            "width": (0.95, 1.25),
            "taper": (-0.14, 0),
            "blunt": (0.8, 1),
            "bottom": (-0.2, -0.1),
            "top": (-0.4, -0.2),
        },
        ripening=("#8fae3a", "#d8bb4a", "#c8502f", "#8e1622", "#5a1024"),
        gloss=(0.2, 0.8),
        size=(0.62, 0.95),
        tilt=(-40, 60),
        textures=(
            blush("#a3182a", (-1, 0.6)),
            patches("#e6cf7a", 16, (0.2, 0.42), 0.5, streak=7),
            patches("#f0dfa8", 30, (0, 0.1), 0.6),
            ends("#6d6a2a", 0.02, 0.07),
        ),
        parts=(stem("#5b4324", (0.05, 0.5), 0.035),),
    ),
    "Apricot": Kind(
        shape={"width": (0.88, 1.1), "seam": (0.02, 0.09), "bottom": (-0.02, 0.06), "top": (-0.16, -0.04)},
        ripening=("#cdb951", "#eda943", "#e88a30", "#dc6a30"),
        gloss=(-0.5, 0.2),
        size=(0.55, 0.92),
        tilt=(-40, 60),
        textures=(
            blush("#c4402a", (-1.1, 0.3)),
            patches("#f6c46a", 1.5, (0.2, 0.6), 0.25),
            patches("#a8402a", 28, (0, 0.12), 0.5),
            ends("#7a5a22", 0.01, 0.025),
        ),
    ),
    "Banana": Kind(
        shape={
            "width": (0.22, 0.32),
            "blunt": (0.5, 0.65),
            "ribs": (0.03, 0.07),
            "bend": (0.6, 1.7),
            "top": (0.2, 0.4),
        },
        ripening=("#86a83c", "#e8cf4a", "#e3b32c", "#b07a2a"),
        gloss=(0, 0.3),
        size=(0.75, 0.96),
        lying=(-180, 180),
        tilt=(-60, 60),
        textures=(
            patches("#5c3a18", 11, (0.05, 0.42), 0.8, streak=2),
            patches("#a9b548", 1.5, (0, 0.5), 0.5),
            ends("#3b2a16", 0.04, 0.06),
        ),
    ),
    "Kiwi": Kind(
        shape={"width": (0.7, 0.95), "blunt": (0.78, 0.95), "bottom": (-0.03, 0.1), "top": (-0.06, 0.04)},
        ripening=("#97803f", "#8c6437", "#6a4524"),
        gloss=(-0.7, -0.3),
        size=(0.6, 0.92),
        lying=(-90, 90),
        tilt=(-50, 60),
        textures=(
            patches("#4a3219", 2, (0.2, 0.6), 0.2),
            patches("#46301a", 50, (0.3, 0.5), 0.45, streak=6),
            patches("#b98d58", 60, (0.2, 0.4), 0.4, streak=6),
            dents((0.004, 0.008), 40),
            ends("#35220f", 0.015, 0.03),
        ),
    ),
    "Lemon": Kind(
        shape={"width": (0.7, 1), "blunt": (0.95, 1.1), "bottom": (0, 0.2), "top": (-0.02, 0.1)},
        ripening=("#7d9f36", "#d6cf3f", "#f0c52c", "#efad2c"),
        gloss=(0.1, 0.45),
        size=(0.58, 0.93),
        lying=(-90, 90),
        tilt=(-60, 60),
        textures=(
            dents((0.002, 0.007), 26),
            dents((0.02, 0.04), 2.5),
            patches("#8fa63c", 2, (0, 0.5), 0.5),
            patches("#b98a2a", 14, (0, 0.12), 0.5),
            ends("#7f8a3a", 0.012, 0.025),
        ),
    ),
    "Orange": Kind(
        shape={"width": (0.9, 1.12), "bottom": (-0.08, 0.05), "top": (-0.1, 0.1)},
        ripening=("#d2b238", "#efae2e", "#ee8f24", "#dd6418"),
        gloss=(0, 0.5),
        size=(0.58, 0.95),
        tilt=(-50, 60),
        textures=(
            dents((0.001, 0.007), 24),
            patches("#f7bb55", 4, (0.1, 0.4), 0.4),
            patches("#9db03c", 2, (0, 0.3), 0.4),
            patches("#c4562a", 2, (0, 0.4), 0.4),
            ends("#5d6a2a", 0.012, 0.03),
        ),
    ),
    "Pear": Kind(
        shape={"width": (0.72, 0.95), "neck": (0.1, 0.6), "taper": (0, 0.12), "bottom": (-0.1, 0), "top": (0, 0.1)},
        ripening=("#82a040", "#cfc04c", "#d9a63c", "#9a6c34"),
        gloss=(-0.2, 0.35),
        size=(0.65, 0.95),
        lying=(-60, 60),
        tilt=(-60, 60),
        textures=(
            dents((0.01, 0.035), 2.5),
            blush("#b0452c", (-1.2, 0)),
            patches("#7a5a26", 24, (0.05, 0.4), 0.6),
            ends("#6a5426", 0.02, 0.05),
        ),
        parts=(stem("#4f3b20", (0.06, 0.5), 0.04),),
    ),
    "Pineapple": Kind(
        shape={"width": (0.62, 0.8), "blunt": (0.5, 0.65), "taper": (-0.03, 0.1)},
        ripening=("#6f7f35", "#b98f2e", "#d39a2f"),
        gloss=(0, 0.2),
        size=(0.84, 0.96),
        lying=(-30, 30),
        tilt=(-15, 40),
        textures=(patches("#7f8a3a", 3, (0.1, 0.5), 0.6), lozenges),
        parts=(crown,),
    ),
    "Plum": Kind(
        shape={"width": (0.78, 1.08), "seam": (0.02, 0.08), "bottom": (-0.03, 0.05), "top": (-0.16, -0.04)},
        ripening=("#c0602f", "#b0382f", "#8a1c3a", "#5a1a3c", "#2c2148"),
        gloss=(-0.2, 0.5),
        size=(0.55, 0.9),
        lying=(-60, 60),
        tilt=(-40, 60),
        textures=(
            blush("#6a1430", (-0.9, 0.4)),
            patches("#8c86ae", 1.5, (0.1, 0.6), 0.4),
            patches("#d8b08a", 30, (0, 0.1), 0.5),
            ends("#4a3a22", 0.01, 0.025),
        ),
    ),
    "Raspberry": Kind(
        shape={"width": (0.72, 0.95), "taper": (-0.3, -0.1), "blunt": (0.75, 0.95), "top": (-0.3, -0.15)},
        ripening=("#d8705a", "#c8203a", "#8a0f30", "#4a0c28"),
        gloss=(0.2, 0.6),
        size=(0.5, 0.85),
        lying=(-180, 180),
        tilt=(-60, 60),
        textures=(patches("#e8788a", 3, (0.1, 0.4), 0.4), drupelets),
    ),
}


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


def photograph(fruit: Mesh, kind: Kind, size: float, rng: Generator) -> Image.Image:
    """Return one view of a fruit that takes up `size` of the photo."""
    lying, tilt, spin = (rng.uniform(*degrees) for degrees in (kind.lying, kind.tilt, (-40, 40)))
    turn = rotation(2, lying) @ rotation(0, tilt) @ rotation(1, spin)
    front = np.flatnonzero(fruit.normals @ turn[2] > 0)
    side = SIDE * OVERSAMPLE
    x, y, z = turn @ fruit.points[front].T * size * rng.uniform(0.95, 1.03)
    column, row = (((axis + 1) / 2 * side).astype(np.int32) for axis in (x, -y))
    nearest = np.argsort(((z + 1) * 32767).astype(np.uint16), kind="stable")  # 16 bits: numpy has a radix sort for them
    canvas = np.full((side, side), -1)
    canvas[row[nearest], column[nearest]] = front[nearest]  # of the points in a pixel the last stays
    left, right = np.roll(canvas, 1, axis=1), np.roll(canvas, -1, axis=1)
    canvas = np.where((canvas < 0) & (left >= 0) & (right >= 0), left, canvas)  # close pinholes between points
    seen = canvas >= 0
    view = Mesh(*(array[canvas[seen]] for array in fruit)).moved(turn)
    picture = np.ones((side, side, 3))
    picture[seen] = shade(view, rng)
    photo = picture.reshape(SIDE, OVERSAMPLE, SIDE, OVERSAMPLE, 3).mean(axis=(1, 3))
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
    default = Path(__file__).parent / "sample"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="where to draw (default: %(default)s)")
    folder: Path = parser.parse_args().folder
    size = sum(draw(name, folder) for name in KINDS)
    sys.stdout.write(f"{len(KINDS) * FRUITS * VIEWS} photos, {size} bytes in {folder}\n")


if __name__ == "__main__":
    main()
