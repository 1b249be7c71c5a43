"""The confusion of the classes, without the cells that are zero."""

import json

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.classify import Scores
from pipeline.confusion import Confusion


def make(classes: int, *, images: int = 400) -> tuple[Confusion, np.ndarray, np.ndarray]:
    random = np.random.default_rng(classes)
    true = random.integers(0, classes, images)
    said = np.where(random.random(images) < 0.6, true, random.integers(0, classes, images))
    pairs, counts = np.unique(np.stack([true, said]), axis=1, return_counts=True)
    cells = [(int(t), int(s), int(n)) for t, s, n in zip(*pairs, counts, strict=True)]
    return Confusion.of(classes, reversed(cells)), true, said


def test_the_numbers_are_scikit_learns() -> None:
    confusion, true, said = make(30)
    dense = confusion_matrix(true, said, labels=range(30))
    assert (confusion.matrix() == dense).all()
    precision, recall, f1, support = precision_recall_fscore_support(true, said, labels=range(30), zero_division=0)
    for name, wanted in (("precision", precision), ("recall", recall), ("f1", f1)):
        np.testing.assert_allclose(confusion.scores()[name], wanted)
    assert (confusion.support == support).all()
    assert confusion.total == 400
    np.testing.assert_allclose(
        confusion.share, (dense / np.maximum(support, 1)[:, None])[confusion.true, confusion.predicted]
    )


def test_neighbours_count_together_in_a_smaller_matrix() -> None:
    confusion, _, _ = make(30)
    blocks = confusion.matrix(edge=7)  # five classes a block
    assert blocks.shape == (6, 6)
    assert (blocks == confusion.matrix().reshape(6, 5, 6, 5).sum(axis=(1, 3))).all()
    assert confusion.matrix(edge=100).shape == (30, 30)


def written(classes: int) -> dict[str, int]:
    """Bytes of each part of metrics.json."""
    confusion, _, _ = make(classes, images=10 * classes)
    labels = [f"Class {number}" for number in range(classes)]
    metrics = Scores(labels, confusion, train_images=1, test_images=10 * classes, notes=[]).metrics()
    return {name: len(json.dumps(value)) for name, value in metrics.items()}


def test_metrics_grow_with_the_classes_not_with_their_square() -> None:
    small, large = written(1000), written(4000)
    assert sum(large.values()) < 5 * sum(small.values())
    assert large["confusion"] == len("null")
    assert written(150)["confusion"] > 150**2, "who reads a matrix finds one, of as many classes as it is cheap for"


def test_nothing_tested() -> None:
    metrics = Scores(["a", "b"], Confusion.of(2, []), train_images=4, test_images=0, notes=[]).metrics()
    assert (metrics["accuracy"], metrics["confusion"], metrics["cells"]) == (None, None, None)
