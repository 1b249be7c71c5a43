"""The report's section on the classifier: score, confusion matrix, what is confused most, and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import plots
from pipeline.confusion import Confusion
from pipeline.markup import (
    LISTED_CLASSES,
    NAMED_CLASSES,
    escaped,
    format_count,
    format_percent,
    html_figure,
    html_table,
)

CONFUSED_PAIRS = 15
LISTED_NOTES = 50  # more would bury the rest of the page; metrics.json has them all
PICTURED_CELLS = 400  # of the confusion's picture, along an edge


def section(metrics: Mapping[str, Any], labels: Sequence[str], confusion: Confusion | None) -> str:
    """Score, confusion matrix, what is confused most and every class's score; or why there is none."""
    notes = _notes(metrics.get("notes", ()))
    if confusion is None or not confusion.total:
        return f"<p><strong>There is no {'score' if confusion is not None else 'classifier'}.</strong></p>{notes}"
    support, tested, hits = confusion.support, confusion.total, int(confusion.hits.sum())
    weakest = sorted(metrics.get("per_class", ()), key=lambda of: (of["f1"], of["label"]))
    scores = (
        (
            escaped(of["label"]),
            *(format_percent(of[score]) for score in ("precision", "recall", "f1")),
            format_count(of["support"]),
        )
        for of in weakest[:LISTED_CLASSES]
    )
    which = "Every class" if len(weakest) <= LISTED_CLASSES else f"The {LISTED_CLASSES} weakest classes"
    return (
        f"<p>{_kind(metrics)} of the components, fitted on {format_count(metrics.get('train_images'))} training "
        f"images. Of {format_count(tested)} test images it names {format_count(hits)} rightly, "
        f"{format_percent(hits / tested)}; always naming the most frequent class would reach "
        f"{format_percent(support.max() / tested)}.</p>{notes}<h3>Confusion matrix</h3>"
        + (_matrix(confusion, labels) if len(labels) <= NAMED_CLASSES else _picture(confusion))
        + f'<div class="pair"><div><h3>Most confused</h3>{_pairs(confusion, labels)}</div>'
        f"<div><h3>{which}, weakest first</h3>"
        f"{html_table(('Class', 'Precision', 'Recall', 'F1', 'Images'), scores, numbers=(1, 2, 3, 4))}</div></div>"
        f"{_reliability(metrics)}"
    )


def _kind(metrics: Mapping[str, Any]) -> str:
    """The classifier in words."""
    chosen = metrics.get("classifier") or {}
    if chosen.get("kind") != "lda":
        return "Logistic regression"
    return (
        f"Linear discriminant analysis (covariance shrunk by {chosen['shrinkage']}, "
        f"temperature {chosen['temperature']:.2f})"
    )


def _reliability(metrics: Mapping[str, Any]) -> str:
    """The picture of how sure and how right the classifier is, and both measures of it."""
    if not (bins := metrics.get("reliability")):
        return ""
    caption = (
        f"Log loss {metrics['log_loss']:.3f}, expected calibration error "
        f"{format_percent(metrics['expected_calibration_error'])}. A dot is the mean of the test images in a bar; "
        "above the diagonal the classifier is righter than it says, below it is surer than it should be."
    )
    return f"<h3>Are the probabilities right?</h3>{html_figure(plots.reliability(bins), caption)}"


def _notes(notes: Sequence[str]) -> str:
    items = [f"<li>{escaped(note)}</li>" for note in notes[:LISTED_NOTES]]
    if len(notes) > LISTED_NOTES:
        items.append(f"<li>and {format_count(len(notes) - LISTED_NOTES)} more, in metrics.json and run.json</li>")
    return f'<ul class="notes">{"".join(items)}</ul>' if items else ""


def _picture(confusion: Confusion) -> str:
    """A cell of the matrix is a pixel or, of many classes, one of those that share it."""
    blocks = confusion.matrix(edge=PICTURED_CELLS)
    together = -(-confusion.classes // len(blocks))
    words = "Classes by their numbers in the list above; a row is the test images of one class."
    if together > 1:
        words = (
            f"Classes by their numbers, in the order of labels.json; a row is the test images of {together} classes."
        )
    share = blocks / np.maximum(blocks.sum(axis=1), 1)[:, None]
    return html_figure(plots.confusion(share, classes=confusion.classes), words) + _scale()


def _pairs(confusion: Confusion, labels: Sequence[str]) -> str:
    wrong, share = np.where(confusion.true == confusion.predicted, 0, confusion.images), confusion.share
    most = [int(cell) for cell in np.argsort(-wrong, kind="stable")[:CONFUSED_PAIRS] if wrong[cell]]
    rows = [
        (escaped(labels[confusion.true[cell]]), escaped(labels[confusion.predicted[cell]]),
         format_count(confusion.images[cell]), format_percent(share[cell]))
        for cell in most
    ]  # fmt: skip
    head = ("True class", "Predicted", "Images", "Of the class")
    return html_table(head, rows, numbers=(2, 3)) if rows else "<p>No test image is confused.</p>"


def _matrix(confusion: Confusion, labels: Sequence[str]) -> str:
    """The confusion matrix as a table, shaded."""
    dense = confusion.matrix()
    share = dense / np.maximum(confusion.support, 1)[:, None]
    head = "".join(f'<th scope="col" title="{escaped(name)}"><span>{escaped(name)}</span></th>' for name in labels)
    rows = []
    for true, name in enumerate(labels):
        cells = [f'<th scope="row" title="{escaped(name)}">{escaped(name)}</th>']
        for predicted, images in enumerate(dense[true]):
            part = share[true, predicted]
            deep = ' class="deep"' if part > 0.6 else ""
            paint = (
                f'<td{deep} style="background:{plots.shade(part, right=true == predicted)}">{format_count(images)}</td>'
            )
            cells.append(paint if images else "<td></td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    corner = '<td class="soft">true ↓ predicted →</td>'
    table = f"<thead><tr>{corner}{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="box narrow" tabindex="0"><table class="matrix">{table}</table></div>{_scale()}'


def _scale() -> str:
    """What the shades of the confusion matrix mean."""
    kinds = (("right", (0.1, 0.5, 1.0)), ("wrong", (0.01, 0.1, 0.5)))
    parts = []
    for name, shares in kinds:
        steps = (
            f'<i style="background:{plots.shade(s, right=name == "right")}"></i> {100 * s:.0f}\u00a0%' for s in shares
        )
        parts.append(f"<span>{name} {' '.join(steps)}</span>")
    return f'<p class="scale soft"><span>Share of the true class:</span> {" ".join(parts)}</p>'
