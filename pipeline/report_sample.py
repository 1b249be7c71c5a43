"""What the report shows of single images: the tasks that predict them draw it, the same whatever their number and size.

Every image draws a lot from its path. What a task returns does not grow with its images.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

POINTS = 3000
EXAMPLES = 24
SPARE = 1.2  # of the points, so many are drawn: 3,600 lots in a row that fall short of 3,000 are never seen


@dataclass(frozen=True, order=True, kw_only=True)
class Candidate:
    """An image that may be an example; the lowest become it.

    Attributes:
        is_trained: whether it is a training image: the others come first.
        is_right: whether it is rightly predicted: mistakes come first.
        lot: in [0, 1).
        path, label, split: of the image.
        prediction, probability: what the classifier said, or None without one.
    """

    is_trained: bool
    is_right: bool
    lot: float
    path: str
    label: str = field(compare=False)
    split: str = field(compare=False)
    prediction: str | None = field(compare=False)
    probability: float | None = field(compare=False)


@dataclass
class ReportSample:
    """Points of the map, and candidates for the examples.

    Attributes:
        share: of the images, whose points are drawn.
        points: (n, 1 or 2) first components, float32.
        labels: of the points.
        lots: (n,) of the points.
        candidates: at most EXAMPLES.
    """

    share: float
    points: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    labels: Sequence[str] = ()
    lots: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    candidates: Sequence[Candidate] = ()

    @classmethod
    def of(cls, images: int) -> ReportSample:
        """None yet of so many images."""
        return cls(min(1.0, SPARE * POINTS / max(images, 1)))

    def draw(self, predictions: pa.Table, components: NDArray[np.float32]) -> None:
        """Take in images: their predictions (PREDICTIONS_SCHEMA) and (n, k) components."""
        lots = np.array([_lot(path) for path in predictions["path"].to_pylist()])
        chosen = lots < self.share
        columns = {name: np.array(predictions[name].to_pylist(), object) for name in ("label", "split", "prediction")}
        is_trained, is_right = columns["split"] == "train", columns["prediction"] == columns["label"]
        first = np.lexsort((lots, is_right, is_trained))[:EXAMPLES]
        rows = predictions.take(first).to_pylist()
        candidates = [
            Candidate(is_trained=bool(is_trained[place]), is_right=bool(is_right[place]), lot=float(lots[place]), **row)
            for place, row in zip(first, rows, strict=True)
        ]
        labels = columns["label"][chosen].tolist()
        self.add(ReportSample(self.share, components[chosen, :2], labels, lots[chosen], candidates))

    def add(self, other: ReportSample) -> None:
        """Take in what another task drew."""
        parts = [part.points for part in (self, other) if len(part.lots)]
        self.points = np.concatenate(parts) if parts else self.points
        self.labels = [*self.labels, *other.labels]
        self.lots = np.concatenate([self.lots, other.lots])
        self.candidates = heapq.nsmallest(EXAMPLES, [*self.candidates, *other.candidates])

    def drawn(self) -> tuple[NDArray[np.float64], list[str]]:
        """The POINTS with the lowest lots, in their order, which mixes the classes; and their labels."""
        order = np.argsort(self.lots, kind="stable")[:POINTS]
        return self.points[order].astype(np.float64), [self.labels[place] for place in order]


def _lot(path: str) -> float:
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "big") / 2**64
