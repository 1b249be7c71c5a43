"""One pass over the features: all that scaler, PCA and linear discriminant are worked out from, and what is kept of it.

Sums are additive: a task adds up its blocks, the driver the tasks, and a run what the last one kept and what is new.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from hashlib import sha256
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import results, store, tasks
from pipeline.split import Splitter

if TYPE_CHECKING:  # a client of Spark Connect has none
    from pyspark import SparkContext

BLOCK_ROWS = 4096  # a block of 4,096 x 1,280 float64 is 42 MB; fewer rows make the d x d merge dominate
# Images that are drawn to try the classifier on, and fewer where they would have too many classes to be told from.
DRAWN_IMAGES = 2048
DRAWN_SCORES = 2**21
SOURCES = ("sums.py", "split.py")  # the modules that make the sums of a file: kept ones were made by the same


@dataclass(frozen=True)
class Moments:
    """Partial sums of `count` rows, float64: `mean` (d,) and `scatter` (d, d), the sum of (x - mean)(x - mean)^T."""

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True)
class Classes:
    """Training images of s classes: `index` (s,) label_index, rising, `counts` (s,) and `means` (s, d) float64."""

    index: NDArray[np.int64]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Training images drawn by lot, all views of a fruit or none.

    Attributes:
        lots: (m,) what the fruit of each drew, in [0, 1): its name, too.
        classes: (m,) label_index.
        rows: (m, d) features, float32.
    """

    lots: NDArray[np.float64]
    classes: NDArray[np.int64]
    rows: NDArray[np.float32]

    def below(self, share: float) -> Drawn:
        """Those whose lots are below `share`."""
        chosen = self.lots < share
        return Drawn(self.lots[chosen], self.classes[chosen], self.rows[chosen])


@dataclass(frozen=True)
class Sums:
    """What one pass gives: moments of training and test images, the classes of the training images, some of these."""

    train: Moments
    test: Moments
    classes: Classes
    drawn: Drawn

    @property
    def all(self) -> Moments:
        """The moments of training and test images together."""
        return merge(self.train, self.test)


def moments(rows: NDArray[np.float64]) -> Moments:
    """The moments of one block, in two passes: the mean first, so that nothing large is subtracted from the like."""
    width = rows.shape[1]
    if not len(rows):
        return Moments(0, np.zeros(width), np.zeros((width, width)))
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def merge(left: Moments, right: Moments) -> Moments:
    """The moments of both: Chan, Golub, LeVeque, "Algorithms for computing the sample variance" (1983), eq. 2.1."""
    if not left.count or not right.count:
        return left if left.count else right
    count = left.count + right.count
    shift = right.mean - left.mean
    scatter = left.scatter + right.scatter
    scatter += np.outer(shift, shift * (left.count * right.count / count))
    return Moments(count, left.mean + shift * (right.count / count), scatter)


def block(rows: NDArray[np.float32], classes: NDArray[np.int64], lots: NDArray[np.float64], *, share: float) -> Sums:
    """The sums of one block.

    Args:
        rows: (n, d) features.
        classes: (n,) label_index.
        lots: (n,) what the fruit of each drew, nan for a test image.
        share: of the training images, those whose lots are below are drawn.
    """
    training = ~np.isnan(lots)
    train, test = (moments(rows[side].astype(np.float64)) for side in (training, ~training))
    chosen = lots < share
    own = classes[training]
    index, counts = np.unique(own, return_counts=True)
    means = np.zeros((len(index), rows.shape[1]))
    if len(index):
        centred = rows[training] - train.mean
        members = np.split(np.argsort(own, kind="stable"), np.cumsum(counts)[:-1])
        # Class by class: NumPy's reduceat takes five times as long along the first axis.
        means = np.array([centred[places].sum(axis=0) for places in members]) / counts[:, None] + train.mean
    return Sums(train, test, Classes(index, counts, means), Drawn(lots[chosen], classes[chosen], rows[chosen]))


def add(left: Sums, right: Sums) -> Sums:
    """The sums of the images of both."""
    drawn = (np.concatenate([getattr(side.drawn, part) for side in (left, right)]) for part in vars(left.drawn))
    return Sums(
        merge(left.train, right.train),
        merge(left.test, right.test),
        _add_classes(left.classes, right.classes),
        Drawn(*drawn),
    )


def _add_classes(left: Classes, right: Classes) -> Classes:
    index = np.union1d(left.index, right.index)
    counts, means = np.zeros(len(index), np.int64), np.zeros((len(index), left.means.shape[1]))
    for side in (left, right):
        place = np.searchsorted(index, side.index)
        counts[place] += side.counts
        means[place] += (side.means - means[place]) * (side.counts / counts[place])[:, None]
    return Classes(index, counts, means)


def share_drawn(images: int, classes: int) -> float:
    """The share of a set's training images that is drawn."""
    target = min(DRAWN_IMAGES, max(DRAWN_SCORES // max(classes, 1), DRAWN_IMAGES // 8))
    return min(1.0, target / max(images, 1))


def of_files(
    context: SparkContext, files: Sequence[str], *, splitter: Splitter, share: float, target: str, slots: int
) -> Sums:
    """The sums of all features in `files`, merged on the driver one after the other.

    A task leaves its sums as one object: d x d numbers take ten times as long through the JVM as through the store.

    Args:
        context: of the cluster.
        files: URIs of feature files, one at least.
        splitter: says which images train, and draws their lots.
        share: of the training images, to be drawn.
        target: location for the partial sums; nobody needs them afterwards.
        slots: as many tasks as there are task slots: what a task sends does not grow with its images.
    """
    tasks.over(context, files, partial(_add_files, splitter=splitter, share=share, target=target), tasks=slots)
    return functools.reduce(
        add, (unpack(store.read(f"{target}/{number}"))[0] for number in range(min(slots, len(files))))
    )


def _add_files(number: int, files: list[str], *, splitter: Splitter, share: float, target: str) -> None:
    sums = functools.reduce(add, (block(*rows, share=share) for rows in _blocks(files, splitter)))
    store.write(f"{target}/{number}", pack(sums))


_Rows = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]


def _blocks(files: Sequence[str], splitter: Splitter) -> Iterator[_Rows]:
    """Features, classes and lots of many small files in blocks of at least BLOCK_ROWS rows, the last one excepted."""
    waiting: list[_Rows] = []
    for file in files:
        waiting.append(rows_of(results.read_table(file, ["path", "label", "label_index", "features"]), splitter))
        if sum(len(lots) for *_, lots in waiting) >= BLOCK_ROWS:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def rows_of(table: pa.Table, splitter: Splitter) -> _Rows:
    """Features, classes and lots of a table of FEATURES_SCHEMA: the first three arguments of `block`."""
    places = zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True)
    lots = np.array([splitter.lot(path, label) for path, label in places])
    return results.matrix(table["features"]), table["label_index"].to_numpy().astype(np.int64), lots


def _together(blocks: Sequence[_Rows]) -> _Rows:
    rows, classes, lots = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return rows, classes, lots


def pack(sums: Sums, about: str = "") -> memoryview:
    """As an .npz file of numpy, whose arrays are named `train_scatter` and so on, and `about` a text."""
    arrays = {f"{part}_{name}": value for part, record in vars(sums).items() for name, value in vars(record).items()}
    sink = io.BytesIO()
    np.savez(sink, about=np.array(about), **arrays)
    return sink.getbuffer()


def unpack(content: bytes) -> tuple[Sums, str]:
    """What `pack` packed, and the text.

    Raises:
        ValueError, KeyError, EOFError, BadZipFile: it is no such file.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:

        def of(part: str, kind: type[Any]) -> Any:
            values = (arrays[f"{part}_{field.name}"] for field in fields(kind))
            return kind(*(array if array.ndim else int(array) for array in values))

        sums = Sums(of("train", Moments), of("test", Moments), of("classes", Classes), of("drawn", Drawn))
        return sums, str(arrays["about"])


@dataclass(frozen=True)
class Kept:
    """What a run kept for the next.

    Attributes:
        sums: of all its images.
        files: the names of its files of features.
        rules: of the splitter, for every class.
        share: of the training images, that was drawn.
        made_by: what the code was that made them.
    """

    sums: Sums
    files: Sequence[str]
    rules: Mapping[str, str]
    share: float
    made_by: str

    def holds(self, files: Iterable[str], splitter: Splitter) -> bool:
        """Whether all of it is of these files, and every image is on the side that it was on."""
        return (
            self.made_by == _made_by()
            and set(files).issuperset(self.files)
            and all(splitter.rule(label) == rule for label, rule in self.rules.items())
        )


def keep(kept: Kept, uri: str) -> None:
    """Write it, unless the features themselves are smaller: then the next run reads those.

    Raises:
        STORE_ERRORS: it cannot be written.
    """
    about = {name: value for name, value in vars(kept).items() if name != "sums"}
    content = pack(kept.sums, json.dumps(about))
    images, width = kept.sums.train.count + kept.sums.test.count, len(kept.sums.train.mean)
    if len(content) < images * width * np.dtype(np.float32).itemsize:
        store.write(uri, content)


def read_kept(uri: str) -> Kept | None:
    """What `keep` wrote, or None where there is nothing that can be read.

    Raises:
        STORE_ERRORS: the store does not answer.
    """
    try:
        sums, about = unpack(store.read(uri))
        return Kept(sums, **json.loads(about))
    except (FileNotFoundError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def measure(
    context: SparkContext,
    files: Sequence[str],
    *,
    splitter: Splitter,
    labels: Sequence[str],
    images: int,
    kept: str,
    target: str,
    slots: int,
) -> Kept:
    """The sums of all features in `files`: what the last run kept, where it holds, and what is new.

    Args:
        context: of the cluster.
        files: URIs of feature files, one at least.
        splitter: says which images train, and draws their lots.
        labels: the classes, in the order of label_index.
        images: in all files, about.
        kept: URI of what the last run kept.
        target: location for the partial sums; nobody needs them afterwards.
        slots: task slots of the cluster.
    """
    names = {_name(file): file for file in files}
    share = share_drawn(images, len(labels))
    last = read_kept(kept)
    parts = []
    if last and last.holds(names, splitter):
        share = min(share, last.share)
        parts.append(replace(last.sums, drawn=last.sums.drawn.below(share)))
        for name in last.files:
            del names[name]
    if names:
        fresh = list(names.values())
        parts.append(of_files(context, fresh, splitter=splitter, share=share, target=target, slots=slots))
    rules = {label: splitter.rule(label) for label in labels}
    return Kept(functools.reduce(add, parts), [*map(_name, files)], rules, share, _made_by())


def _name(uri: str) -> str:
    return uri.rpartition("/")[2]


def _made_by() -> str:
    folder = package_files("pipeline")
    return sha256(b"".join(folder.joinpath(name).read_bytes() for name in SOURCES)).hexdigest()
