"""One self-contained HTML page about a run: counts, principal components, classifier, examples, rejected images, time.

The page itself stands in `report.html` beside this file.
"""

from __future__ import annotations

import base64
import importlib.resources
import math
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import plots, report_classifier
from pipeline.accounting import Rejection
from pipeline.confusion import Confusion
from pipeline.markup import (
    LISTED_CLASSES,
    NAMED_CLASSES,
    escaped,
    format_count,
    format_percent,
    format_seconds,
    html_code,
    html_figure,
    html_table,
    printable,
    shortened,
)


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
class Content:
    """What the report shows.

    Attributes:
        run: what run.json holds.
        ratios: share of the variance of every component, not only of those kept.
        components: how many are kept.
        scree: the plot of `ratios`, as SVG.
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
    scree: str
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
    reasons = (
        (html_code(setting.key), html_code(setting.value), escaped(setting.reason)) for setting in content.settings
    )
    page = importlib.resources.files("pipeline").joinpath("report.html").read_text(encoding="utf-8")
    return string.Template(page).substitute(
        source=escaped(settings.get("input", "unknown input")),
        run=escaped(run.get("run", "")),
        started=escaped(run.get("started", "")),
        date=escaped(run.get("started", "")).replace("T", " ").replace("+00:00", " UTC"),
        model=escaped(model.get("name", "unknown model")),
        features=format_count(len(content.ratios)),
        cluster=escaped(cluster.get("master", "unknown cluster")),
        slots=format_count(cluster.get("slots")),
        tiles=_tiles(content),
        scree=_scree(content),
        map=_map(content),
        key=_key(content),
        classifier=report_classifier.section(content.metrics, content.labels, content.confusion),
        examples="".join(map(_example, content.examples)) or "<p>There are none.</p>",
        rejected=_rejected(content),
        time=_time(seconds),
        spark=html_table(("Setting", "Value", "Reason"), reasons) if content.settings else "<p>None is explained.</p>",
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
    tested = f"{format_count(metrics.get('test_images'))} test images"
    score = tested if metrics.get("macro_f1") is None else f"macro F1 {metrics['macro_f1']:.3f}, {tested}"
    rate = round(extracted / seconds) if extracted and seconds else None
    tiles = (
        (
            "Images",
            listed,
            f"{format_count(extracted)} extracted, {format_count(counts.get('known', 0))} already known",
        ),
        ("Classes", len(content.labels), f"{format_count(metrics.get('train_images'))} training images"),
        ("Rejected", rejected, f"{format_percent(rejected / max(listed, 1))} of the images"),
        ("Components", content.components, f"{format_percent(kept)} of the variance"),
        ("Accuracy", format_percent(metrics.get("accuracy")), score),
        ("Images per second", rate, f"extraction, {format_seconds(seconds)}"),
    )
    return "\n".join(
        f"<div><dt>{name}</dt><dd><strong>{format_count(value)}</strong><small>{note}</small></dd></div>"
        for name, value, note in tiles
    )


def _scree(content: Content) -> str:
    kept, count = content.components, len(content.ratios)
    share, rest = math.fsum(content.ratios[:kept]), math.fsum(content.ratios[kept:])
    caption = (
        f"Kept (blue): {format_count(kept)} of {format_count(count)} components, "
        f"{format_percent(share)} of the variance."
    )
    if kept < count:
        caption += f" The rest holds {format_percent(rest)}."
    return html_figure(content.scree, caption)


def _map(content: Content) -> str:
    points = np.asarray(content.points, dtype=np.float64)
    if not points.size:
        return "<p>There are no images to map.</p>"
    numbers = {label: number for number, label in enumerate(content.labels)}
    named = len(content.labels) <= NAMED_CLASSES
    svg = plots.scatter(
        points,
        np.array([numbers[label] for label in content.point_labels]),
        names=[shortened(printable(label)) if named else str(number + 1) for label, number in numbers.items()],
        ratios=content.ratios,
    )
    where = "two components, at equal scale."
    if len(numbers) <= plots.MOST_NAMES:
        names = "Names" if named else "Class numbers, listed below,"
        where += f" {names} stand at the medians of their classes."
    if points.shape[1] == 1:
        where = "component, a row for each class; the height within a row means nothing."
    return html_figure(svg, f"{format_count(len(points))} images on the first {where}")


def _key(content: Content) -> str:
    """What every colour, shape and number of the map stands for."""
    sampled, items = Counter(content.point_labels), []
    for number, label in enumerate(content.labels[:LISTED_CLASSES]):
        colour, shape = plots.look(number)
        words = f"{number + 1} {escaped(label)} <small>{format_count(sampled[label])}</small>"
        items.append(f'<li title="{escaped(label)}"><span style="color:{colour}">{shape}</span> {words}</li>')
    if len(content.labels) > LISTED_CLASSES:
        items.append(f"<li>and {format_count(len(content.labels) - LISTED_CLASSES)} more</li>")
    return "".join(items)


def _example(example: Example) -> str:
    """One photograph; a sign and words say what the frame's colour says."""
    if example.predicted is None:
        kind, verdict = "unknown", escaped(example.label)
    elif example.predicted == example.label:
        kind, verdict = "right", f"✓ {escaped(example.label)}"
    else:
        kind, verdict = "wrong", f"✗ {escaped(example.predicted)}"
    truth = f"in truth {escaped(example.label)}<br>" if kind == "wrong" else ""
    sure = "" if example.probability is None else f"{format_percent(example.probability)} sure, "
    return (
        f'<figure class="{kind}"><img alt="Photograph of {escaped(example.label)}" '
        f'src="data:image/jpeg;base64,{base64.b64encode(example.thumbnail).decode()}">'
        f"<figcaption><strong>{verdict}</strong>{truth}{sure}{escaped(example.split)}<br>"
        f"{html_code(example.path)}</figcaption></figure>"
    )


def _rejected(content: Content) -> str:
    counts, skipped = content.run.get("counts") or {}, content.run.get("skipped_names") or {}
    total, shown = counts.get("rejected", len(content.rejected)), len(content.rejected)
    names = ", ".join(f"{escaped(name)} ({format_count(number)})" for name, number in skipped.items())
    others = f"<p>Skipped, because their names are not those of images: {names}.</p>" if names else ""
    if not total:
        return f"<p>None: each of the {format_count(counts.get('listed'))} images gave its features.</p>{others}"
    rows = (
        (
            html_code(one.path),
            format_count(one.size),
            escaped(one.stage),
            html_code(one.error),
            escaped(one.message),
        )
        for one in content.rejected
    )
    table = html_table(("Path", "Bytes", "Stage", "Error", "Message"), rows, numbers=(1,))
    first = f" The first {format_count(shown)} are shown." if shown < total else ""
    listed = format_count(counts.get("listed"))
    return f"<p>{format_count(total)} of {listed} images gave no features.{first}</p>{table}{others}"


def _time(seconds: Mapping[str, float]) -> str:
    longest, total = max(seconds.values(), default=0), math.fsum(seconds.values())
    rows = (
        (
            escaped(stage),
            f'<i style="width:{100 * spent / (longest or 1):.1f}%"></i>',
            format_seconds(spent),
            format_percent(spent / (total or 1)),
        )
        for stage, spent in seconds.items()
    )
    table = html_table(("Stage", "Relative length", "Time", "Share"), rows, numbers=(2, 3), kind="bars")
    return f"<p>{format_seconds(total)} until this page was made.</p>{table}"


def _facts(facts: Mapping[str, object]) -> str:
    rows = ((escaped(name), "–" if value is None else html_code(value)) for name, value in facts.items())
    return html_table(("Name", "Value"), rows)
