"""What the fruits of each class have in common: shapes, colours, textures, stems and leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator

from data.meshes import Mesh, Surface, noise, rotation, step, sweep

TWIG = (110, 36)  # rows and columns of a stem or a leaf

Range: TypeAlias = tuple[float, float]  # a fruit's own value is drawn from it
Texture: TypeAlias = Callable[[Surface, Generator], None]
Parts: TypeAlias = Callable[[Surface, Generator], Iterator[Mesh]]


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
