"""Linear discriminant analysis from sums: counts, means and the within-class scatter of the training images.

The pooled covariance S is shrunk towards a multiple of the identity, (1 - a) S + a tr(S)/k I (Friedman, "Regularized
discriminant analysis", 1989). Among some shrinkages and all temperatures those are taken under which training images
that are left out get the least log loss. What is left out is a fruit with all its views, for views of one fruit tell
each other; means and covariance without it follow in closed form. All classes are equally likely beforehand: divided by
a temperature of ten, as is usual here, the evidence of an image would be drowned by unequal numbers of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
NEWTON_STEPS = 20
EPS = float(np.finfo(np.float64).eps)
CHUNK_VALUES = 2**22  # of the arrays that are worked on at a time, 32 MiB each


@dataclass(frozen=True)
class ClassSums:
    """The training images by class, float64: `counts` (c,), `means` (c, k), `scatter` (k, k) about the means, pooled.

    The mean of a class without images is not looked at.
    """

    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    scatter: NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Training images that shrinkage and temperature are tried on; they are in the sums, too.

    Attributes:
        rows: (m, k).
        classes: (m,) the class of each.
        groups: (m,) its fruit: any number that images of a class share which are to be left out together.
    """

    rows: NDArray[np.float64]
    classes: NDArray[np.int64]
    groups: NDArray[np.float64]


@dataclass(frozen=True)
class Discriminant:
    """A softmax of linear functions of k components.

    Attributes:
        coefficients: (c, k).
        intercepts: (c,); -inf for a class without training images: it has probability 0.
        shrinkage: what was chosen.
        temperature: what the log likelihoods were divided by.
    """

    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    shrinkage: float
    temperature: float


def fit(sums: ClassSums, sample: Sample) -> Discriminant:
    """The classifier of all images in the sums, of which two classes have some.

    Where there is nothing to try on, as where every class has one image, the identity makes half of the covariance.
    """
    present = np.flatnonzero(sums.counts)
    number = np.full(len(sums.counts), -1)
    number[present] = np.arange(len(present))
    counts = sums.counts[present]
    centre = counts @ sums.means[present] / counts.sum()
    space = _diagonal(counts, sums.means[present] - centre, sums.scatter)
    tried = _usable(Sample((sample.rows - centre) @ space.turn, number[sample.classes], sample.groups), counts)
    best = _Choice(loss=np.inf, shrinkage=0.5, sharpness=1.0)
    for shrinkage in SHRINKAGES if len(tried.rows) else ():
        held_out = _left_out(space, tried, shrinkage)
        best = min(
            best, _calibrate(held_out, shrinkage=shrinkage, start=best.sharpness), key=lambda choice: choice.loss
        )
    weights = space.means * (space.precisions(best.shrinkage) * best.sharpness)
    coefficients, intercepts = np.zeros(sums.means.shape), np.full(len(sums.counts), -np.inf)
    coefficients[present] = weights @ space.turn.T
    intercepts[present] = -np.sum(weights * space.means, axis=1) / 2 - coefficients[present] @ centre
    return Discriminant(coefficients, intercepts, best.shrinkage, 1 / best.sharpness)


@dataclass(frozen=True)
class _Space:
    """The components turned so that the pooled covariance is diagonal, and the c classes that have images.

    Attributes:
        turn: (k, k), a column an axis.
        variances: (k,) along the axes.
        means: (c, k) of the classes, about the mean of all images.
        counts: (c,).
        freedom: what the scatter was divided by.
    """

    turn: NDArray[np.float64]
    variances: NDArray[np.float64]
    means: NDArray[np.float64]
    counts: NDArray[np.int64]
    freedom: int

    def precisions(self, shrinkage: float) -> NDArray[np.float64]:
        """One over each shrunk variance, (k,)."""
        scale = self.variances.mean() or 1.0  # without any variance, where no scale is better than another
        return 1 / ((1 - shrinkage) * self.variances + shrinkage * scale)


@dataclass(frozen=True)
class _HeldOut:
    """Of m images left out: log likelihoods (m, c) but for a term in common, true classes (m,)."""

    likelihoods: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    loss: float
    shrinkage: float
    sharpness: float


def _diagonal(counts: NDArray[np.int64], means: NDArray[np.float64], scatter: NDArray[np.float64]) -> _Space:
    freedom = max(int(counts.sum()) - len(counts), 1)
    variances, turn = np.linalg.eigh(scatter / freedom)
    return _Space(turn, np.clip(variances, 0, None), means @ turn, counts, freedom)


def _usable(sample: Sample, counts: NDArray[np.int64]) -> Sample:
    """Only images whose class is still there without their group; where there are none, every image on its own."""
    # By class: archives that all number their images from 0 have fruits of one name in several.
    fruits = np.unique(sample.groups, return_inverse=True)[1]
    groups = (fruits * len(counts) + sample.classes).astype(np.float64)
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    left = counts[sample.classes] > sizes[place]
    if not left.any():
        groups, left = np.arange(len(groups), dtype=np.float64), counts[sample.classes] > 1
    return Sample(sample.rows[left], sample.classes[left], groups[left])


def _left_out(space: _Space, tried: Sample, shrinkage: float) -> _HeldOut:
    """What the classifier without an image's group says of it.

    Without the group's g rows Y, about the mean m of their class of n, the scatter W is W - Y'(I + 11'/(n - g))Y, and
    m is m - Y'1/(n - g). The inverse of the shrunk covariance follows by Woodbury's identity from a g x g matrix. The
    identity's part, and what W is divided by, are left as they are: they hardly change.
    """
    precisions = space.precisions(shrinkage)
    weights = space.means * precisions
    norms, products = np.sum(weights * space.means, axis=1), tried.rows @ weights.T
    likelihoods = np.empty_like(products)
    known, place = np.unique(tried.classes, return_inverse=True)
    among_means = space.means[known] @ weights.T
    for members in _batches(tried.groups, len(norms)):
        first = members[:, 0]
        own, each = tried.classes[first], np.arange(len(members))
        count, rest = space.counts[own], space.counts[own] - members.shape[1]
        y = tried.rows[members] - space.means[own][:, None]
        inner = (y * precisions) @ y.transpose(0, 2, 1)  # Y P Y', P the inverse with the group
        to_means = products[members] - among_means[place[first]][:, None]  # Y P m_j
        to_rows = inner + to_means[each, :, own][:, :, None]  # Y P x_i
        at = (each, slice(None), own)
        shift = inner.sum(axis=2) / rest[:, None]
        norm = np.repeat(norms[None], len(members), axis=0)  # m_j' P m_j
        norm[each, own] += (shift.sum(axis=1) - 2 * to_means[at].sum(axis=1)) / rest
        direct = products[members]  # x_i' P m_j
        direct[at] -= to_rows.sum(axis=1) / rest[:, None]
        to_means[at] -= shift
        small = (np.eye(members.shape[1]) - 1 / count[:, None, None]) * (space.freedom / (1 - shrinkage)) - inner
        solved = np.linalg.solve(small, to_means)
        norm += np.sum(to_means * solved, axis=1)
        likelihoods[members] = direct + to_rows.transpose(0, 2, 1) @ solved - norm[:, None] / 2
    return _HeldOut(likelihoods, tried.classes)


def _batches(groups: NDArray[np.float64], classes: int) -> Iterator[NDArray[np.int64]]:
    """The places of the images of groups of one size, (b, g), as many as are worked on at a time."""
    order = np.argsort(groups, kind="stable")
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    for size in np.unique(sizes):
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        yield from np.array_split(members, math.ceil(members.size * max(classes, size) / CHUNK_VALUES))


def _calibrate(held_out: _HeldOut, *, shrinkage: float, start: float) -> _Choice:
    """The factor of the log likelihoods that gives the least log loss: convex, by Newton's method.

    The true class counts a little less than 1 and the others a little more than 0 (Platt, "Probabilistic outputs for
    support vector machines", 1999): otherwise images that are all told rightly would ask for endless sharpness.
    """
    images, classes = held_out.likelihoods.shape
    doubt = 1 / (images + 2)
    gains = held_out.likelihoods - held_out.likelihoods[np.arange(images), held_out.classes][:, None]
    target = doubt * gains.sum(axis=1).mean() / (classes - 1)
    sharpness = start
    for _ in range(NEWTON_STEPS):
        chances = softmax(sharpness * gains)
        means = np.sum(chances * gains, axis=1)
        slope = means.mean() - target
        curve = np.mean(np.sum(chances * gains**2, axis=1) - means**2)
        last, sharpness = sharpness, float(np.clip(sharpness - slope / max(curve, EPS), sharpness / 8, sharpness * 8))
        if abs(sharpness - last) < 1e-3 * last:
            break
    right = softmax(sharpness * gains)[np.arange(images), held_out.classes]
    return _Choice(loss=float(-np.log(np.maximum(right, EPS)).mean()), shrinkage=shrinkage, sharpness=sharpness)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of log odds (n, c), row by row; -inf has probability 0."""
    odds: NDArray[np.float64] = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds
