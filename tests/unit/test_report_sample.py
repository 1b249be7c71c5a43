"""What the report shows of single images does not depend on who predicted which of them."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import results
from pipeline.report_sample import EXAMPLES, POINTS, ReportSample


def predictions(count, *, classifier=True):
    """Of images that are right but for every tenth, and train but for every fifth."""
    rows = [
        {
            "path": f"{number % 3}/{number}.jpg",
            "label": f"{number % 3}",
            "split": "train" if number % 5 else "test",
            "prediction": ("?" if number % 10 == 0 else f"{number % 3}") if classifier else None,
            "probability": 0.5 if classifier else None,
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=results.PREDICTIONS_SCHEMA)


def draw(table, *, tasks, components=3):
    """As so many tasks do, whose samples come together in their order."""
    rows = np.arange(table.num_rows * components, dtype=np.float32).reshape(-1, components)
    total = ReportSample.of(table.num_rows)
    for places in np.array_split(np.arange(table.num_rows), tasks):
        part = ReportSample.of(table.num_rows)
        part.draw(table.take(places), rows[places])
        total.add(part)
    return total


@pytest.mark.parametrize("count", [7, POINTS - 1, 40_000])
def test_points_are_of_all_images_or_as_many_as_fit_and_the_same_by_any_tasks(count):
    table = predictions(count)
    points, labels = draw(table, tasks=1).drawn()
    assert points.shape == (min(count, POINTS), 2)
    others, other_labels = draw(table, tasks=5).drawn()
    np.testing.assert_array_equal(points, others)
    assert labels == other_labels
    numbers = (points[:, 0] / 3).astype(int)
    np.testing.assert_array_equal(points[:, 1], points[:, 0] + 1)
    assert labels == [f"{number % 3}" for number in numbers]
    assert len(set(numbers)) == len(numbers)


def test_what_a_task_sends_does_not_grow_with_its_images():
    assert len(draw(predictions(40_000), tasks=1).lots) < 1.5 * POINTS


def test_one_component_is_enough():
    points, _ = draw(predictions(50), tasks=2, components=1).drawn()
    assert points.shape == (50, 1)


@pytest.mark.parametrize("tasks", [1, 4])
def test_examples_are_mistakes_then_other_test_images_then_those_that_trained(tasks):
    some = draw(predictions(100), tasks=tasks).candidates
    assert [one.split for one in some] == ["test"] * 20 + ["train"] * 4
    assert [one.prediction == one.label for one in some] == [False] * 10 + [True] * 14
    many = draw(predictions(1000), tasks=tasks).candidates
    assert len(many) == EXAMPLES
    assert {(one.split, one.prediction, one.probability) for one in many} == {("test", "?", 0.5)}


def test_examples_without_a_classifier_are_test_images():
    some = draw(predictions(200, classifier=False), tasks=3).candidates
    assert {(one.split, one.prediction, one.probability) for one in some} == {("test", None, None)}


def test_nothing_is_drawn_of_nothing():
    points, labels = ReportSample.of(0).drawn()
    assert (len(points), labels) == (0, [])
