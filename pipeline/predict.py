"""Projects and predicts the images of each file of features in one task, and tallies the hits among the test images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline import results, tasks
from pipeline.discriminant import softmax
from pipeline.reduce import Reduction
from pipeline.report_sample import ReportSample
from pipeline.split import Splitter

if TYPE_CHECKING:  # a client of Spark Connect has neither
    from pyspark import Broadcast, SparkContext

BINS = 15  # of the probabilities, in the reliability picture
TASKS_A_SLOT = 4
CHUNK_ROWS = 256  # in float64 at a time: they stay in the processor's cache


@dataclass(frozen=True)
class Classifier:
    """A softmax of linear functions of the components: `coefficients` (c, k), `intercepts` (c,), float64.

    `labels` are all classes in the order of label_index; the first c are those that can be predicted.
    """

    labels: Sequence[str]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def probabilities(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The classes' probabilities (n, c) of components (n, k)."""
        odds = np.empty((len(rows), len(self.coefficients)))
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            np.matmul(rows[chunk].astype(np.float64), self.coefficients.T, out=odds[chunk])
        return softmax(odds + self.intercepts)


@dataclass
class Tally:
    """What became of images; `bins` are the test images by the probability of what was predicted, from 0 to 1.

    Attributes:
        sides: images by class and side.
        predicted: test images by true and predicted class.
        log_loss: sum of -log of the true class's probability over the test images, natural.
        images: (BINS,) test images.
        hits: (BINS,) those rightly predicted.
        sureness: (BINS,) sum of the probabilities.
    """

    sides: Counter[tuple[int, str]] = field(default_factory=Counter)
    predicted: Counter[tuple[int, int]] = field(default_factory=Counter)
    log_loss: float = 0.0
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    hits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    sureness: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def count(self, true: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
        """Take in test images: classes (n,) and probabilities (n, c)."""
        predicted, right = probabilities.argmax(axis=1), np.zeros(len(true))
        can_be = true < probabilities.shape[1]
        right[can_be] = probabilities[can_be, true[can_be]]
        sure = probabilities.max(axis=1, initial=0)
        # A class that was not trained on has probability 0, whose logarithm no average survives.
        self.log_loss -= float(np.log(np.maximum(right, np.finfo(np.float64).eps)).sum())
        self.predicted.update(zip(true.tolist(), predicted.tolist(), strict=True))
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.images += np.bincount(bins, minlength=BINS)
        self.hits += np.bincount(bins[predicted == true], minlength=BINS)
        self.sureness += np.bincount(bins, weights=sure, minlength=BINS)

    def add(self, other: Tally) -> None:
        """Take in what another task counted."""
        self.sides.update(other.sides)
        self.predicted.update(other.predicted)
        self.log_loss += other.log_loss
        self.images += other.images
        self.hits += other.hits
        self.sureness += other.sureness


@dataclass(frozen=True)
class Outcome:
    """What the tasks tell of the images that they predict: as much as it takes to score, and to show some."""

    tally: Tally
    sample: ReportSample

    @classmethod
    def of(cls, images: int) -> Outcome:
        """None yet of so many images."""
        return cls(Tally(), ReportSample.of(images))

    def add(self, other: Outcome) -> None:
        """Take in another task's."""
        self.tally.add(other.tally)
        self.sample.add(other.sample)


@dataclass(frozen=True)
class Places:
    """Locations of the tables that are written; without predictions None."""

    reduced: str
    predictions: str | None


def project(
    context: SparkContext,
    files: Sequence[str],
    reduction: Reduction,
    classifier: Classifier | None,
    *,
    splitter: Splitter,
    places: Places,
    images: int,
    slots: int,
) -> Outcome:
    """Write the reduced images and their predictions: for every file of features one of the same name in each.

    Args:
        context: of the cluster.
        files: URIs of feature files, one at least.
        reduction: fitted scaler and PCA.
        classifier: or None, which predicts null.
        splitter: says which images train.
        places: where the tables go.
        images: in all files.
        slots: task slots of the cluster.
    """
    fitted = context.broadcast((reduction, classifier))
    work = partial(_project, fitted=fitted, splitter=splitter, places=places, images=images)
    return _total(tasks.over(context, files, work, tasks=TASKS_A_SLOT * slots), images=images)


def predict(
    context: SparkContext, classifier: Classifier, *, reduced: str, predictions: str, images: int, slots: int
) -> Outcome:
    """Write the predictions of so many images, which are reduced already."""
    files = [f"{reduced}/{name}" for name in results.parquet_files(reduced)]
    work = partial(_predict, classifier=context.broadcast(classifier), predictions=predictions, images=images)
    return _total(tasks.over(context, files, work, tasks=TASKS_A_SLOT * slots), images=images)


def _project(
    _: int,
    files: list[str],
    *,
    fitted: Broadcast[tuple[Reduction, Classifier | None]],
    splitter: Splitter,
    places: Places,
    images: int,
) -> Outcome:
    reduction, classifier = fitted.value
    outcome = Outcome.of(images)
    for file in files:
        table = results.read_table(file, ["path", "label", "label_index", "features"])
        reduced, classes = project_table(table, reduction, splitter), table["label_index"].to_numpy()
        name = file.rpartition("/")[2]
        results.write_table(f"{places.reduced}/{name}", reduced)
        if places.predictions:
            predicted = predict_table(outcome, classifier, reduced, classes=classes)
            results.write_table(f"{places.predictions}/{name}", predicted)
    return outcome


def project_table(features: pa.Table, reduction: Reduction, splitter: Splitter) -> pa.Table:
    """The images of a table of FEATURES_SCHEMA, reduced: REDUCED_SCHEMA."""
    sides = splitter.sides(features["path"].to_pylist(), features["label"].to_pylist())
    rows = reduction.project(results.matrix(features["features"])).astype(np.float32)
    places = features.select(["path", "label"]).append_column("split", pa.array(sides, pa.string()))
    return places.append_column(results.REDUCED_SCHEMA.field("pca"), results.vectors(rows))


def _predict(_: int, files: list[str], *, classifier: Broadcast[Classifier], predictions: str, images: int) -> Outcome:
    outcome, labels = Outcome.of(images), pa.array(classifier.value.labels, pa.string())
    for file in files:
        table = results.read_table(file)
        classes = pc.index_in(table["label"], labels).to_numpy()
        predicted = predict_table(outcome, classifier.value, table, classes=classes)
        results.write_table(f"{predictions}/{file.rpartition('/')[2]}", predicted)
    return outcome


def predict_table(
    outcome: Outcome, classifier: Classifier | None, reduced: pa.Table, *, classes: NDArray[np.int32]
) -> pa.Table:
    """The predictions (PREDICTIONS_SCHEMA) of images of REDUCED_SCHEMA, of which the outcome takes what it needs.

    Args:
        outcome: grows.
        classifier: or None, which predicts null.
        reduced: (n,) images.
        classes: (n,) label_index.
    """
    rows, sides = results.matrix(reduced["pca"]), reduced["split"].to_pylist()
    outcome.tally.sides.update(zip(classes.tolist(), sides, strict=True))
    if classifier is None:
        columns = [pa.nulls(len(rows), pa.string()), pa.nulls(len(rows), pa.float64())]
    else:
        probabilities = classifier.probabilities(rows)
        tested = np.array([side == "test" for side in sides])
        outcome.tally.count(classes[tested], probabilities[tested])
        labels = pa.array(classifier.labels, pa.string())
        columns = [labels.take(pa.array(probabilities.argmax(axis=1))), pa.array(probabilities.max(axis=1))]
    predictions = pa.table([*reduced.drop_columns(["pca"]).columns, *columns], schema=results.PREDICTIONS_SCHEMA)
    outcome.sample.draw(predictions, rows)
    return predictions


def _total(outcomes: Iterable[Outcome], *, images: int) -> Outcome:
    total = Outcome.of(images)
    for outcome in outcomes:
        total.add(outcome)
    return total
