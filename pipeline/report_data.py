"""What the report shows of a run: examples, a sample of the points, the rejected, the settings and their reasons."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image as Pillow
from pyspark import SparkContext

from pipeline import decoding, loading, results, store
from pipeline.accounting import Rejections
from pipeline.classify import Scores
from pipeline.images import ImageRef
from pipeline.names import shard_of
from pipeline.redaction import redacted
from pipeline.reduce import Reduction
from pipeline.report import Content, Example, Setting
from pipeline.report_sample import Candidate, ReportSample
from pipeline.settings import REASON, Settings
from pipeline.shards import ReplacedError

THUMBNAIL = 100
FETCHERS = 8


def gather(
    context: SparkContext,
    settings: Settings,
    *,
    work: str,
    record: Mapping[str, Any],
    scores: Scores,
    sample: ReportSample,
    scree: str,
    reduction: Reduction,
    rejections: Rejections,
) -> Content:
    """All that the report needs, a few thousand rows however many images there are."""
    points, point_labels = sample.drawn()
    return Content(
        run=record,
        ratios=reduction.ratios.tolist(),
        scree=scree,
        components=reduction.components.shape[1],
        points=points,
        point_labels=point_labels,
        labels=list(scores.labels),
        confusion=scores.confusion,
        metrics={**scores.metrics(), "notes": record["notes"]},
        examples=_examples(sample.candidates, settings.input, work=work),
        rejected=list(rejections.first),
        settings=_settings(context),
    )


def _examples(candidates: Sequence[Candidate], source: str, *, work: str) -> list[Example]:
    """Test images, mistakes first; training images only where there is nothing to test."""
    listed = _listed({candidate.path for candidate in candidates if shard_of(candidate.path)}, work=work)
    with ThreadPoolExecutor(FETCHERS) as pool:
        examples = pool.map(lambda candidate: _example(candidate, source, listed=listed), candidates)
        return [example for example in examples if example]


def _example(candidate: Candidate, source: str, *, listed: Mapping[str, ImageRef]) -> Example | None:
    path = candidate.path
    try:
        image = listed[path] if shard_of(path) else ImageRef(path, 0, "", candidate.label)
        rgb = decoding.decode(loading.fetch_image(image, source)[0], size=THUMBNAIL)
    except (*store.MissingOrDenied, ReplacedError, decoding.UndecodableError):
        return None  # it has gone or changed since its features were made; the report does without it
    sink = io.BytesIO()
    Pillow.fromarray(rgb).save(sink, "JPEG", quality=80)
    return Example(
        thumbnail=sink.getvalue(),
        path=path,
        label=candidate.label,
        predicted=candidate.prediction,
        probability=candidate.probability,
        split=candidate.split,
    )


def _listed(members: Collection[str], *, work: str) -> dict[str, ImageRef]:
    """The members of archives as they are listed, with their places in these: a block of the listing at a time."""
    listed, paths, location = dict[str, ImageRef](), pa.array(sorted(members), pa.string()), results.listing(work)
    for name in results.parquet_files(location) if members else ():
        table = results.read_table(f"{location}/{name}")
        rows = table.filter(pc.is_in(table["path"], value_set=paths)).to_pylist()
        listed |= {row["path"]: ImageRef(**row) for row in rows}
    return listed


def _settings(context: SparkContext) -> list[Setting]:
    conf = dict(context.getConf().getAll())
    reasons = {key.removeprefix(REASON): reason for key, reason in conf.items() if key.startswith(REASON)}
    return [
        Setting(key=key, value=redacted(key, conf.get(key, "")), reason=reason)
        for key, reason in sorted(reasons.items())
    ]
