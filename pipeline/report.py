"""One self-contained HTML page about a run: counts, principal components, classifier, examples, rejected images, time.

The page itself stands in `report.html` beside this file.
"""

from __future__ import annotations

import base64
import html
import importlib.resources
import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import plots
from pipeline.confusion import Confusion

NAMED_CLASSES = 20  # up to here the map names its classes and the confusion matrix is a table; above, numbers
CONFUSED_PAIRS = 15
LISTED_CLASSES, LISTED_NOTES = 300, 50  # more would bury the rest of the page; metrics.json has them all
PICTURED_CELLS = 400  # of the confusion's picture, along an edge


@dataclass(frozen=True, kw_only=True)
class Example:
    """One photograph with what the classifier said.

    Attributes:
        thumbnail: JPEG of at most 100x100 pixels.
        path: relative to the input.
        label: the true class.
        predicted: class that the classifier chose, or None without a classifier.
        probability: of the predicted class.
        split: `train` or `test`.
    """

    thumbnail: bytes
    path: str
    label: str
    predicted: str | None
    probability: float | None
    split: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One Spark setting and why it is so."""

    key: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """One image that gave no features; `stage` is where it failed."""

    path: str
    size: int
    stage: str
    error: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the page tells.

    Attributes:
        run: what run.json holds.
        ratios: share of the variance of every component, not only of those kept.
        components: how many are kept.
        points: (n, 1 or 2), first principal components of a sample of the images.
        point_labels: class of every point.
        labels: all classes, sorted.
        confusion: of the test images, or None without a classifier.
        metrics: what metrics.json holds.
        examples: photographs in the order to be shown.
        rejected: some of the rejected images; their number is in `run`.
        settings: Spark's settings.
    """

    run: Mapping[str, Any]
    ratios: Sequence[float]
    components: int
    points: NDArray[np.float64]
    point_labels: Sequence[str]
    labels: Sequence[str]
    confusion: Confusion | None
    metrics: Mapping[str, Any]
    examples: Sequence[Example]
    rejected: Sequence[Rejection]
    settings: Sequence[Setting]


def render(content: Content) -> str:
    """The whole page."""
    run = content.run
    settings, model, cluster, seconds, versions = (
        run.get(part) or {} for part in ("settings", "model", "cluster", "seconds", "versions")
    )
    reasons = ((_code(setting.key), _code(setting.value), _text(setting.reason)) for setting in content.settings)
    page = importlib.resources.files("pipeline").joinpath("report.html").read_text(encoding="utf-8")
    return string.Template(page).substitute(
        source=_text(settings.get("input", "unknown input")),
        run=_text(run.get("run", "")),
        started=_text(run.get("started", "")),
        date=_text(run.get("started", "")).replace("T", " ").replace("+00:00", " UTC"),
        model=_text(model.get("name", "unknown model")),
        features=_count(len(content.ratios)),
        cluster=_text(cluster.get("master", "unknown cluster")),
        slots=_count(cluster.get("slots")),
        tiles=_tiles(content),
        scree=_scree(content),
        map=_map(content),
        key=_key(content),
        classifier=_classifier(content),
        examples="".join(map(_example, content.examples)) or "<p>There are none.</p>",
        rejected=_rejected(content),
        time=_time(seconds),
        spark=_table(("Setting", "Value", "Reason"), reasons) if content.settings else "<p>None is explained.</p>",
        asked=_facts(settings),
        versions=_facts(versions),
        machine=_facts({**{f"model {fact}": value for fact, value in model.items()}, **cluster}),
    )


def _tiles(content: Content) -> str:
    """The numbers that one looks for first."""
    counts, metrics = content.run.get("counts") or {}, content.metrics
    listed, extracted, rejected = (counts.get(part, 0) for part in ("listed", "extracted", "rejected"))
    seconds = (content.run.get("seconds") or {}).get("extract", 0)
    kept = content.run.get("variance_kept", math.fsum(content.ratios[: content.components]))
    tested = f"{_count(metrics.get('test_images'))} test images"
    score = tested if metrics.get("macro_f1") is None else f"macro F1 {metrics['macro_f1']:.3f}, {tested}"
    rate = round(extracted / seconds) if extracted and seconds else None
    tiles = (
        ("Images", listed, f"{_count(extracted)} extracted, {_count(counts.get('known', 0))} already known"),
        ("Classes", len(content.labels), f"{_count(metrics.get('train_images'))} training images"),
        ("Rejected", rejected, f"{_percent(rejected / max(listed, 1))} of the images"),
        ("Components", content.components, f"{_percent(kept)} of the variance"),
        ("Accuracy", _percent(metrics.get("accuracy")), score),
        ("Images per second", rate, f"extraction, {_seconds(seconds)}"),
    )
    return "\n".join(
        f"<div><dt>{name}</dt><dd><strong>{_count(value)}</strong><small>{note}</small></dd></div>"
        for name, value, note in tiles
    )


def _scree(content: Content) -> str:
    kept, count = content.components, len(content.ratios)
    share, rest = math.fsum(content.ratios[:kept]), math.fsum(content.ratios[kept:])
    caption = f"Kept (blue): {_count(kept)} of {_count(count)} components, {_percent(share)} of the variance."
    if kept < count:
        caption += f" The rest holds {_percent(rest)}."
    return _figure(plots.scree(content.ratios, kept), caption)


def _map(content: Content) -> str:
    points = np.asarray(content.points, dtype=np.float64)
    if not points.size:
        return "<p>There are no images to map.</p>"
    numbers = {label: number for number, label in enumerate(content.labels)}
    named = len(content.labels) <= NAMED_CLASSES
    svg = plots.scatter(
        points,
        np.array([numbers[label] for label in content.point_labels]),
        names=[_short(_clean(label)) if named else str(number + 1) for label, number in numbers.items()],
        ratios=content.ratios,
    )
    where = "two components, at equal scale."
    if len(numbers) <= plots.MOST_NAMES:
        names = "Names" if named else "Class numbers, listed below,"
        where += f" {names} stand at the medians of their classes."
    if points.shape[1] == 1:
        where = "component, a row for each class; the height within a row means nothing."
    return _figure(svg, f"{_count(len(points))} images on the first {where}")


def _key(content: Content) -> str:
    """What every colour, shape and number of the map stands for."""
    sampled, items = Counter(content.point_labels), []
    for number, label in enumerate(content.labels[:LISTED_CLASSES]):
        colour, shape = plots.look(number)
        words = f"{number + 1} {_text(label)} <small>{_count(sampled[label])}</small>"
        items.append(f'<li title="{_text(label)}"><span style="color:{colour}">{shape}</span> {words}</li>')
    if len(content.labels) > LISTED_CLASSES:
        items.append(f"<li>and {_count(len(content.labels) - LISTED_CLASSES)} more</li>")
    return "".join(items)


def _classifier(content: Content) -> str:
    """Score, confusion matrix, what is confused most and every class's score; or why there is none."""
    metrics, labels, confusion = content.metrics, content.labels, content.confusion
    notes = _notes(metrics.get("notes", ()))
    if confusion is None or not confusion.total:
        return f"<p><strong>There is no {'score' if confusion is not None else 'classifier'}.</strong></p>{notes}"
    support, tested, hits = confusion.support, confusion.total, int(confusion.hits.sum())
    weakest = sorted(metrics.get("per_class", ()), key=lambda of: (of["f1"], of["label"]))
    scores = (
        (_text(of["label"]), *(_percent(of[score]) for score in ("precision", "recall", "f1")), _count(of["support"]))
        for of in weakest[:LISTED_CLASSES]
    )
    which = "Every class" if len(weakest) <= LISTED_CLASSES else f"The {LISTED_CLASSES} weakest classes"
    return (
        f"<p>{_kind(metrics)} of the components, fitted on {_count(metrics.get('train_images'))} training images. "
        f"Of {_count(tested)} test images it names {_count(hits)} rightly, {_percent(hits / tested)}; always naming "
        f"the most frequent class would reach {_percent(support.max() / tested)}.</p>{notes}<h3>Confusion matrix</h3>"
        + (_matrix(confusion, labels) if len(labels) <= NAMED_CLASSES else _picture(confusion))
        + f'<div class="pair"><div><h3>Most confused</h3>{_pairs(confusion, labels)}</div>'
        f"<div><h3>{which}, weakest first</h3>"
        f"{_table(('Class', 'Precision', 'Recall', 'F1', 'Images'), scores, numbers=(1, 2, 3, 4))}</div></div>"
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
        f"{_percent(metrics['expected_calibration_error'])}. A dot is the mean of the test images in a bar; above the "
        "diagonal the classifier is righter than it says, below it is surer than it should be."
    )
    return f"<h3>Are the probabilities right?</h3>{_figure(plots.reliability(bins), caption)}"


def _notes(notes: Sequence[str]) -> str:
    items = [f"<li>{_text(note)}</li>" for note in notes[:LISTED_NOTES]]
    if len(notes) > LISTED_NOTES:
        items.append(f"<li>and {_count(len(notes) - LISTED_NOTES)} more, in metrics.json and run.json</li>")
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
    return _figure(plots.confusion(share, classes=confusion.classes), words) + _scale()


def _pairs(confusion: Confusion, labels: Sequence[str]) -> str:
    wrong, share = np.where(confusion.true == confusion.said, 0, confusion.images), confusion.share
    most = [int(cell) for cell in np.argsort(-wrong, kind="stable")[:CONFUSED_PAIRS] if wrong[cell]]
    rows = [
        (_text(labels[confusion.true[cell]]), _text(labels[confusion.said[cell]]),
         _count(confusion.images[cell]), _percent(share[cell]))
        for cell in most
    ]  # fmt: skip
    head = ("True class", "Predicted", "Images", "Of the class")
    return _table(head, rows, numbers=(2, 3)) if rows else "<p>No test image is confused.</p>"


def _matrix(confusion: Confusion, labels: Sequence[str]) -> str:
    """The confusion matrix as a table, shaded."""
    dense = confusion.matrix()
    share = dense / np.maximum(confusion.support, 1)[:, None]
    head = "".join(f'<th scope="col" title="{_text(name)}"><span>{_text(name)}</span></th>' for name in labels)
    rows = []
    for true, name in enumerate(labels):
        cells = [f'<th scope="row" title="{_text(name)}">{_text(name)}</th>']
        for said, images in enumerate(dense[true]):
            part = share[true, said]
            deep = ' class="deep"' if part > 0.6 else ""
            paint = f'<td{deep} style="background:{plots.shade(part, right=true == said)}">{_count(images)}</td>'
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


def _example(example: Example) -> str:
    """One photograph; a sign and words say what the frame's colour says."""
    if example.predicted is None:
        kind, verdict = "unknown", _text(example.label)
    elif example.predicted == example.label:
        kind, verdict = "right", f"✓ {_text(example.label)}"
    else:
        kind, verdict = "wrong", f"✗ {_text(example.predicted)}"
    truth = f"in truth {_text(example.label)}<br>" if kind == "wrong" else ""
    sure = "" if example.probability is None else f"{_percent(example.probability)} sure, "
    return (
        f'<figure class="{kind}"><img alt="Photograph of {_text(example.label)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(example.thumbnail).decode()}">'
        f"<figcaption><strong>{verdict}</strong>{truth}{sure}{_text(example.split)}<br>"
        f"{_code(example.path)}</figcaption></figure>"
    )


def _rejected(content: Content) -> str:
    counts, skipped = content.run.get("counts") or {}, content.run.get("skipped_names") or {}
    total, shown = counts.get("rejected", len(content.rejected)), len(content.rejected)
    names = ", ".join(f"{_text(name)} ({_count(number)})" for name, number in skipped.items())
    others = f"<p>Skipped, because their names are not those of images: {names}.</p>" if names else ""
    if not total:
        return f"<p>None: each of the {_count(counts.get('listed'))} images gave its features.</p>{others}"
    rows = (
        (_code(one.path), _count(one.size), _text(one.stage), _code(one.error), _text(one.message))
        for one in content.rejected
    )
    table = _table(("Path", "Bytes", "Stage", "Error", "Message"), rows, numbers=(1,))
    first = f" The first {_count(shown)} are shown." if shown < total else ""
    return f"<p>{_count(total)} of {_count(counts.get('listed'))} images gave no features.{first}</p>{table}{others}"


def _time(seconds: Mapping[str, float]) -> str:
    longest, total = max(seconds.values(), default=0), math.fsum(seconds.values())
    rows = (
        (
            _text(stage),
            f'<i style="width:{100 * spent / (longest or 1):.1f}%"></i>',
            _seconds(spent),
            _percent(spent / (total or 1)),
        )
        for stage, spent in seconds.items()
    )
    table = _table(("Stage", "Relative length", "Time", "Share"), rows, numbers=(2, 3), kind="bars")
    return f"<p>{_seconds(total)} until this page was made.</p>{table}"


def _facts(facts: Mapping[str, object]) -> str:
    said = ((_text(name), "–" if value is None else _code(value)) for name, value in facts.items())
    return _table(("Name", "Value"), said)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), kind: str = "") -> str:
    """A table in a box of its own to scroll in. The cells are HTML."""
    kinds = ["number" if column in numbers else "text" for column in range(len(head))]
    top = "".join(f'<th scope="col" class="{of}">{cell}</th>' for of, cell in zip(kinds, head, strict=True))
    lines = ("".join(f'<td class="{of}">{cell}</td>' for of, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    table = f'<table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="box" tabindex="0">{table}</div>'


def _figure(svg: str, caption: str) -> str:
    described = svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    return f"<figure>{described}<figcaption>{caption}</figcaption></figure>"


def _code(value: object) -> str:
    """A path, a setting or a class of errors as HTML, which may break where a part of it ends."""
    return f"<code>{re.sub('(?<=[/.])|(?<=[a-z])(?=[A-Z])', '<wbr>', _text(value))}</code>"


def _text(value: object) -> str:
    """Any value as HTML text."""
    return html.escape(_clean(value))


def _clean(value: object) -> str:
    """Any value as text; what no page may hold, or what turns the reading direction, as Python writes it."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]",
        lambda bad: ascii(bad.group())[1:-1],
        str(value),
    )


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def _count(value: object) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int | np.integer) else str(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


def _seconds(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}\u00a0s"
