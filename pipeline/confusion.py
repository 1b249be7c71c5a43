"""Which class the test images of each class were taken for: the pairs that occur, not their square."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """The cells of the matrix that are not zero, by true and then by predicted class.

    Attributes:
        classes: how many there are.
        true, predicted: (n,), numbers of the classes.
        images: (n,), how many test images of the class `true` are taken for `predicted`.
    """

    classes: int
    true: Integers
    predicted: Integers
    images: Integers

    @staticmethod
    def of(classes: int, cells: Iterable[tuple[int, int, int]]) -> Confusion:
        """Out of (true, predicted, images) in any order."""
        table = np.array(sorted(cell for cell in cells if cell[2]), dtype=np.int64).reshape(-1, 3)
        return Confusion(classes, table[:, 0], table[:, 1], table[:, 2])

    @property
    def total(self) -> int:
        """How many test images there are."""
        return int(self.images.sum())

    @property
    def hits(self) -> Integers:
        """(classes,) images that are named rightly."""
        return self._sum(self.true, np.where(self.true == self.predicted, self.images, 0))

    @property
    def support(self) -> Integers:
        """(classes,) images of each class."""
        return self._sum(self.true, self.images)

    @property
    def predicted_counts(self) -> Integers:
        """(classes,) images that are taken for each class."""
        return self._sum(self.predicted, self.images)

    @property
    def share(self) -> NDArray[np.float64]:
        """(n,) `images` as a share of their true class."""
        return self.images / np.maximum(self.support, 1)[self.true]

    def matrix(self, *, edge: int | None = None) -> Integers:
        """(edge, edge) dense, rows true, columns predicted; with fewer rows than classes, neighbours count together."""
        size = min(edge or self.classes, self.classes)
        width = -(-self.classes // max(size, 1))
        size = -(-self.classes // max(width, 1))
        dense = np.zeros((size, size), np.int64)
        np.add.at(dense, (self.true // max(width, 1), self.predicted // max(width, 1)), self.images)
        return dense

    def scores(self) -> dict[str, NDArray[np.float64]]:
        """(classes,) precision, recall and F1."""
        hits, true, predicted = self.hits, self.support, self.predicted_counts
        return {
            "precision": hits / np.maximum(predicted, 1),
            "recall": hits / np.maximum(true, 1),
            "f1": 2 * hits / np.maximum(true + predicted, 1),
        }

    def cells(self) -> dict[str, Any]:
        """The cells as metrics.json has them: a list for each column."""
        return {"true": self.true.tolist(), "predicted": self.predicted.tolist(), "images": self.images.tolist()}

    def _sum(self, classes: Integers, images: Integers) -> Integers:
        sums = np.zeros(self.classes, np.int64)
        np.add.at(sums, classes, images)
        return sums
