"""The classifier of the reduced images, out of the sums of the features, and how good a classifier is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import discriminant
from pipeline.confusion import Confusion
from pipeline.discriminant import ClassSums, Sample
from pipeline.predict import Classifier, Tally
from pipeline.reduce import Reduction
from pipeline.sums import Sums

DENSE_CLASSES = 200  # 40,000 cells, a quarter of a megabyte in metrics.json


@dataclass(frozen=True)
class Bin:
    """Test images that were predicted with a probability in (`low`, `high`].

    Attributes:
        images: how many.
        sureness: their mean probability.
        accuracy: share that was rightly predicted.
    """

    low: float
    high: float
    images: int
    sureness: float
    accuracy: float


@dataclass(frozen=True)
class Scores:
    """How the classifier does on the test images.

    Attributes:
        labels: all classes.
        confusion: of the test images; None without a classifier.
        train_images: number of images that it was fitted on.
        test_images: number of the others.
        notes: what a reader must know before trusting the numbers.
        classifier: its kind and what was chosen for it, or None.
        log_loss: mean of -log of the true class's probability over the test images, or None without any.
        reliability: the test images by the probability of what was predicted; empty without any.
    """

    labels: Sequence[str]
    confusion: Confusion | None
    train_images: int
    test_images: int
    notes: Sequence[str]
    classifier: Mapping[str, Any] | None = None
    log_loss: float | None = None
    reliability: Sequence[Bin] = ()

    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds. Macro F1 is over the classes that were tested or predicted, as in scikit-learn.

        `cells` has the confusion's non-zero cells, by the classes' numbers in `labels`; `confusion`, for whoever reads
        it as a matrix, is null above DENSE_CLASSES: it grows with their square.

        The expected calibration error is the mean distance between probability and accuracy of the bins, by images
        (Guo et al., "On calibration of modern neural networks", 2017).
        """
        confusion = self.confusion
        measured: dict[str, Any] = {"accuracy": None, "macro_f1": None, "per_class": [], "confusion": None}
        measured["cells"] = None
        if confusion is not None and confusion.total:
            scores, support = confusion.scores(), confusion.support
            measured["accuracy"] = float(confusion.hits.sum() / confusion.total)
            measured["macro_f1"] = float(scores["f1"][support + confusion.predicted_counts > 0].mean())
            measured["cells"] = confusion.cells()
            if confusion.classes <= DENSE_CLASSES:
                measured["confusion"] = confusion.matrix().tolist()
            measured["per_class"] = [
                {"label": label, **{name: float(of[number]) for name, of in scores.items()}, "support": int(images)}
                for number, (label, images) in enumerate(zip(self.labels, support, strict=True))
            ]
        errors = [of.images / self.test_images * abs(of.sureness - of.accuracy) for of in self.reliability]
        return {
            "classifier": self.classifier,
            **measured,
            "log_loss": self.log_loss,
            "expected_calibration_error": math.fsum(errors) if errors else None,
            "reliability": [vars(of) for of in self.reliability],
            "train_images": self.train_images,
            "test_images": self.test_images,
            "labels": list(self.labels),
            "notes": list(self.notes),
        }


def score(tally: Tally, labels: Sequence[str], chosen: Mapping[str, Any] | None) -> Scores:
    """The scores of what was counted; `chosen` is None where there is no classifier."""
    train, test = ([tally.sides[number, side] for number in range(len(labels))] for side in ("train", "test"))
    notes = [
        f"{label}: {trained} training and {tested} test images"
        for label, trained, tested in zip(labels, train, test, strict=True)
        if not trained or not tested
    ]
    tested_images, confusion, log_loss = sum(test), None, None
    if chosen is None:
        trained_labels = ", ".join(label for label, trained in zip(labels, train, strict=True) if trained) or "none"
        notes.insert(0, f"no classifier: it needs training images of two classes, and there is {trained_labels}")
    else:
        confusion = Confusion.of(len(labels), ((*pair, images) for pair, images in tally.predicted.items()))
        if tested_images:
            log_loss = tally.log_loss / tested_images
        else:
            notes.insert(0, "no accuracy: no image is left to test on; add images or a Test folder")
    return Scores(
        labels=labels,
        confusion=confusion,
        train_images=sum(train),
        test_images=tested_images,
        notes=notes,
        classifier=chosen,
        log_loss=log_loss,
        reliability=_reliability(tally),
    )


def _reliability(tally: Tally) -> list[Bin]:
    count = len(tally.images)
    return [
        Bin(number / count, (number + 1) / count, int(images), float(sureness / images), float(hits / images))
        for number, (images, sureness, hits) in enumerate(zip(tally.images, tally.sureness, tally.hits, strict=True))
        if images
    ]


@dataclass(frozen=True)
class Fitted:
    """A classifier, and its kind and what was chosen for it."""

    classifier: Classifier
    chosen: Mapping[str, Any]


def fit_discriminant(sums: Sums, reduction: Reduction, labels: Sequence[str]) -> Fitted:
    """Linear discriminant analysis of the components: everything in it is a linear map of the sums of the features."""
    classes, matrix = sums.classes, reduction.matrix
    counts, means = np.zeros(len(labels), np.int64), np.zeros((len(labels), matrix.shape[1]))
    counts[classes.index] = classes.counts
    means[classes.index] = (classes.means - reduction.mean) @ matrix
    between = means[classes.index] - (sums.train.mean - reduction.mean) @ matrix
    within = matrix.T @ sums.train.scatter @ matrix - (between.T * classes.counts) @ between
    rows = reduction.project(sums.drawn.rows).astype(np.float64)
    fitted = discriminant.fit(ClassSums(counts, means, within), Sample(rows, sums.drawn.classes, sums.drawn.lots))
    chosen = {"kind": "lda", "shrinkage": fitted.shrinkage, "temperature": fitted.temperature}
    return Fitted(Classifier(labels, fitted.coefficients, fitted.intercepts), chosen)
