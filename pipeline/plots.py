"""The report's plots, each as SVG text that takes its colours from the page it stands in.

matplotlib draws axes, curves and points. The names of classes are laid over it as SVG text of our own: they may be in a
script that matplotlib's font lacks, and they are escaped here.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Petroff's ten colours, told apart with any colour vision; the shape is the second cue. Ten and seven have no common
# divisor: seventy classes have a look of their own.
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
SHAPES = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖"}
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)  # blue and vermilion of Okabe and Ito
WIDTH = 420  # of a plot in the SVG's own unit, in which its text is 11 high: still legible on a telephone
LEFT, EDGE = 0.14, 0.97  # of the axes, as shares of the width
MOST_NAMES = 300  # in a map: it has no room for more
TOP, BOTTOM = 12, 42  # heights above and below the axes

# matplotlib knows colours only, not the page's variables: each of these stands in for one.
THEME = {"#010101": "var(--ink)", "#020202": "var(--soft)", "#030303": "var(--line)", "#040404": "var(--accent)"}
INK, SOFT, LINE, ACCENT = THEME
STYLE: dict[Any, object] = {
    "font.size": 11,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "svg.fonttype": "none",
}


def import_library() -> None:
    """Import matplotlib, which takes a third of a second: for a thread that nobody waits for."""
    import matplotlib.backends.backend_svg  # noqa: PLC0415
    import matplotlib.figure  # noqa: F401, PLC0415


def look(number: int) -> tuple[str, str]:
    """Colour and character of a class's points."""
    return COLOURS[number % len(COLOURS)], list(SHAPES.values())[number % len(SHAPES)]


def shade(share: float, *, right: bool) -> str:
    """CSS colour of a cell of the confusion matrix, for the share of its true class."""
    red, green, blue = RIGHT if right else WRONG
    return f"rgb({red} {green} {blue} / {_opacity(share):.2f})"


def scree(ratios: Sequence[float], kept: int) -> str:
    """The variance of every component, and the sum up to it; `kept` is marked."""
    each = 100 * np.nan_to_num(np.asarray(ratios, dtype=np.float64))
    total, count, logarithmic = np.cumsum(each), each.size, each.size > 50
    with _figure("scree", height=370, left=0.17) as figure:  # its labels have two lines
        upper, lower = figure.subplots(2, 1, sharex=True)
        upper.plot(np.arange(1, count + 1), total, color=ACCENT, linewidth=1.8, marker="" if logarithmic else ".")
        upper.set(ylim=(0, 104), ylabel="Sum so far\n(% of the variance)")
        # One outline instead of a thousand bars: a fraction of the time and of the page.
        edges = np.arange(count + 1) + 0.5
        lower.stairs(each, edges, fill=True, color=SOFT)
        lower.stairs(each[:kept], edges[: kept + 1], fill=True, color=ACCENT)
        lower.set(ylabel="Each component\n(% of the variance)", xlabel="Component", ylim=(0, None))
        figure.align_ylabels()
        if logarithmic:
            lower.set_xscale("log")
            lower.xaxis.set_major_formatter("{x:,.0f}")
            lower.tick_params(which="minor", length=0, labelbottom=False)
        else:
            lower.locator_params(axis="x", integer=True)
        lower.set_xlim(0.5, count + 0.5)
        for axes in (upper, lower):
            axes.axvline(kept, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        place = math.log(kept) / math.log(count) if logarithmic else kept / count
        shift, side = (-6, "right") if place > 0.5 else (6, "left")
        words = f"k = {kept:,}: {total[kept - 1]:.1f} %"
        upper.annotate(words, (kept, 6), xytext=(shift, 0), textcoords="offset points", horizontalalignment=side)
        return _svg(figure)


def scatter(
    points: NDArray[np.float64], classes: NDArray[np.int64], *, names: Sequence[str], ratios: Sequence[float]
) -> str:
    """The images on two components or, where there is only one, on it with a row for each class.

    Args:
        points: (n, 1 or 2).
        classes: number of each point's class.
        names: of the classes, as they are to stand in the map.
        ratios: share of the variance of the components.
    """
    flat = points.shape[1] == 1
    longest, size = max(map(len, names)), _size(names)
    # Rows of more names than can be written are as high as the points need.
    height = max(300, 60 + 1.3 * size * min(len(names), MOST_NAMES)) if flat else 370
    left = max(LEFT, (20 + 6.5 * longest) / WIDTH) if flat else LEFT
    with _figure("map", height=height, left=left) as figure:
        axes = figure.subplots()
        axes.set_xlabel(f"Component 1 ({100 * ratios[0]:.1f} % of the variance)")
        if flat:
            # The golden ratio spreads any number of images evenly over the row of their class.
            x, y = points[:, 0], classes + 0.7 * (np.arange(len(points)) * 0.618034 % 1 - 0.5)
            ticks = range(len(names)) if len(names) <= MOST_NAMES else ()
            axes.set(ylim=(len(names) - 0.4, -0.6), yticks=ticks, yticklabels=[""] * len(ticks))
        else:
            x, y = points.T
            axes.set_ylabel(f"Component 2 ({100 * ratios[1]:.1f} % of the variance)")
            axes.set_aspect("equal", adjustable="datalim")
        colours = np.array(COLOURS)[classes % len(COLOURS)]
        for number, shape in enumerate(SHAPES):
            mine = classes % len(SHAPES) == number
            # The grey edge keeps light colours visible on white and dark ones on black. A picture, not 3,000 shapes.
            axes.scatter(
                x[mine], y[mine], 16, c=colours[mine], marker=shape, alpha=0.8, edgecolors="#7f7f7f", linewidths=0.3,
                rasterized=True,
            )  # fmt: skip
        axes.apply_aspect()  # settles where the data lie in the plot, which the names must know
        if flat:
            written = names if len(names) <= MOST_NAMES else []
            rows = height - axes.transData.transform([(0, number) for number in range(len(names))])[:, 1]
            over = "".join(
                _name(name, WIDTH * left - 8, y, size=size, anchor="end")
                for name, y in zip(written, rows, strict=False)
            )
        else:
            seen = np.unique(classes) if len(names) <= MOST_NAMES else np.array([], dtype=np.int64)
            medians = [np.median(points[classes == number], axis=0) for number in seen]
            centres = axes.transData.transform(np.reshape(medians, (-1, 2)))
            over = _names([names[number] for number in seen], centres * (1, -1) + (0, height), height=height)
        return _svg(figure, over=over)


def confusion(share: NDArray[np.float64], *, classes: int) -> str:
    """The confusion matrix of many classes, a pixel for a cell of `share`; classes are numbered from 1."""
    count = len(share)
    pixels = np.zeros((count, count, 4))
    pixels[..., :3] = np.where(np.eye(count, dtype=bool)[..., None], RIGHT, WRONG)
    pixels[..., :3] /= 255
    pixels[..., 3] = _opacity(share)
    with _figure("confusion", height=405) as figure:
        axes = figure.subplots()
        axes.spines[:].set_visible(True)
        axes.imshow(pixels, interpolation="none", extent=(0.5, classes + 0.5, classes + 0.5, 0.5))
        axes.set(xlabel="Predicted class (number)", ylabel="True class (number)")
        return _svg(figure)


def reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """How often what was predicted is right, by how probable it was called; on the diagonal it is as sure as right.

    Args:
        bins: with `low`, `high`, `images`, `sureness` and `accuracy`, as in metrics.json.
    """
    low, high, images, sure, right = (
        np.array([of[name] for of in bins]) for name in ("low", "high", "images", "sureness", "accuracy")
    )
    with _figure("reliability", height=405) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot((0, 1), (0, 1), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        upper.bar(low, right, high - low, align="edge", color=ACCENT, alpha=0.35, edgecolor=ACCENT, linewidth=0.6)
        upper.plot(sure, right, color=ACCENT, linewidth=0, marker="o", markersize=5)
        upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="Rightly predicted (share)")
        lower.bar(low, images, high - low, align="edge", color=SOFT)
        lower.set(ylim=(0, None), ylabel="Images", xlabel="Probability of the predicted class")
        lower.locator_params(axis="y", nbins=3, integer=True)
        figure.align_ylabels()
        return _svg(figure)


def _opacity(share: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The cube root, so that one confused image in a hundred is seen."""
    return np.cbrt(np.asarray(share, dtype=np.float64))


def _names(names: Sequence[str], centres: NDArray[np.float64], *, height: float) -> str:
    """Names at their centres, moved outward on a spiral until none covers another; a moved one gets a line home."""
    size = _size(names)
    steps = np.arange(3000)
    spiral = 2 * np.sqrt(steps)[:, None] * np.stack([np.cos(2.4 * steps), np.sin(2.4 * steps)], axis=1)
    boxes = np.array([(0.6 * size * len(name) + 2, size + 0.2) for name in names])
    placed = np.empty((0, 2))
    for number, (centre, box) in enumerate(zip(centres, boxes, strict=True)):
        low, high = (WIDTH * LEFT, TOP) + box / 2, (WIDTH * EDGE, height - BOTTOM) - box / 2
        for turn in np.split(spiral, 60):  # most find their place near home
            at = np.clip(centre + turn, low, high)
            free = (np.abs(at[:, None] - placed) >= (boxes[:number] + box) / 2).any(axis=2).all(axis=1)
            if free.any():
                break
        else:
            at, free = np.clip(centre, low, high)[None], np.array([True])
        placed = np.vstack([placed, at[free.argmax()]])
    lines = "".join(
        f"M{x:.1f} {y:.1f}L{across:.1f} {down:.1f}"
        for (x, y), (across, down) in zip(centres, placed, strict=True)
        if math.hypot(across - x, down - y) > size
    )
    texts = (_name(name, x, y, size=size) for name, (x, y) in zip(names, placed, strict=True))
    return f'<path class="lead" d="{lines}"/>' + "".join(texts)


def _size(names: Sequence[str]) -> float:
    """Height of the names in a plot: smaller where there are many."""
    return 11 if len(names) <= 40 else 8


def _name(name: str, x: float, y: float, *, size: float, anchor: str = "middle") -> str:
    place = f'x="{x:.1f}" y="{y + 0.35 * size:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text class="name" {place}>{html.escape(name)}</text>'


@contextmanager
def _figure(name: str, *, height: float, left: float = LEFT) -> Iterator[Figure]:
    """An empty figure, to be drawn and saved within; a point of matplotlib is a unit of the SVG."""
    # A run with nothing to draw does without.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({**STYLE, "svg.hashsalt": name}):  # no two plots of a page share an id
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        figure.subplots_adjust(left=left, right=EDGE, top=1 - TOP / height, bottom=BOTTOM / height, hspace=0.14)
        yield figure


def _svg(figure: Figure, *, over: str = "") -> str:
    """The figure as an element of a page, with `over` laid on it; the same bytes for the same figure."""
    out = io.BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # dpi is that of the points: a plot 540 pixels wide is still sharp on a screen of twice the density.
    figure.savefig(out, format="svg", transparent=True, dpi=170, metadata=nothing)
    svg = out.getvalue().decode()
    svg = svg[svg.index("<svg") :].replace("</svg>", f"{over}</svg>")
    # matplotlib numbers its groups from 1 in every figure, and its style would hold for the whole page.
    svg = re.sub(r'<style type="text/css">.*?</style>| id="[\w.]+_\d+"', "", svg, flags=re.DOTALL)
    return re.sub("|".join(THEME), lambda colour: THEME[colour.group()], svg)
