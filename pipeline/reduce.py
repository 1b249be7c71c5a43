"""Sums of the features -> standard scaler and principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.settings import UsageError, check_components
from pipeline.sums import Moments

NOTHING = 1e-30  # an entry of a component, whose length is 1
CHUNK_ROWS = 512  # what is projected at a time stays in the processor's cache


@dataclass(frozen=True)
class Reduction:
    """The fitted scaler and PCA, float64.

    Attributes:
        mean: (d,) of the features.
        deviation: (d,) sample standard deviation, with n - 1, as Spark's scaler has it.
        components: (d, k), orthonormal columns, the largest entry of each positive.
        ratios: (d,) share of the variance of each of all d components, falling.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    components: NDArray[np.float64]
    ratios: NDArray[np.float64]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Scaler and components in one, (d, k): (x - mean) @ matrix. A constant feature counts as 0, as in Spark's."""
        return self.components * _inverse(self.deviation)[:, None]

    def project(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Scale (n, d) features in float64 and project them to (n, k) in their own precision."""
        inverse, components = _inverse(self.deviation), self.components.astype(rows.dtype)
        # Features that hardly vary leave some: below its normal numbers the processor takes many times as long.
        components[np.abs(components) < NOTHING] = 0
        reduced = np.empty((len(rows), components.shape[1]), rows.dtype)
        # Used again for every chunk: new ones would take the system longer to hand out than the arithmetic.
        centred = np.empty((min(len(rows), CHUNK_ROWS), rows.shape[1]))
        scaled = np.empty_like(centred, rows.dtype)
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = rows[start : start + CHUNK_ROWS]
            count = len(chunk)
            np.subtract(chunk, self.mean, out=centred[:count])
            np.multiply(centred[:count], inverse, out=scaled[:count], casting="same_kind")
            np.matmul(scaled[:count], components, out=reduced[start : start + count])
        return reduced


def fit(sums: Moments, *, components: int | None, variance: float) -> Reduction:
    """Scaler and PCA of the correlation matrix, equal to Spark ML's StandardScaler(withMean=True) and PCA.

    Args:
        sums: of all images.
        components: k, or None.
        variance: where `components` is None, the smallest k that keeps this share.

    Raises:
        UsageError: fewer than two images, no feature that varies, or k > min(n, d).
    """
    if sums.count < 2:
        raise UsageError(f"--input has {sums.count} image with features: a deviation needs two; add images")
    check_components(components, images=sums.count, features=len(sums.mean))
    deviation = np.sqrt(np.diag(sums.scatter) / (sums.count - 1))
    # Rounding gives a constant a deviation of its own, which scaling would blow up to 1: this bound on it, from Chan,
    # Golub, LeVeque, is scikit-learn's too.
    deviation[deviation <= sums.count * np.finfo(np.float64).eps * np.abs(sums.mean)] = 0
    scale = _inverse(deviation)
    values, vectors = np.linalg.eigh(sums.scatter * np.outer(scale, scale))
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    if not values.sum() > 0:
        raise UsageError("--input: all images have the same features, so no component explains anything; add others")
    ratios = values / values.sum()
    limit = min(sums.count, len(sums.mean))
    kept = components or min(int(np.searchsorted(np.cumsum(ratios), variance - 1e-12)) + 1, limit)
    chosen = vectors[:, :kept]
    # An eigenvector's sign is free; fix it as scikit-learn's svd_flip does, so that every machine gives the same.
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(kept)])
    return Reduction(sums.mean, deviation, chosen * signs, ratios)


def _inverse(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
