"""Surfaces swept round an axis, and clouds of points made of them: the geometry that fruits are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]  # 32 bits would draw other bytes on another processor


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
