"""The stages of a run in their order, and the counts that must add up."""

from __future__ import annotations

import itertools
import logging
import math
import platform
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from pipeline import features, images, interrupt, known, progress, results, store
from pipeline.features import Model
from pipeline.images import Census, Listed
from pipeline.settings import RunError, Settings, UsageError, check_components
from pipeline.split import Splitter
from pipeline.summary import unchanged

if TYPE_CHECKING:
    from pipeline.exhibits import Rejections

log = logging.getLogger("pipeline")

LISTING_ROWS = 50_000
# A task is small enough that the last ones end together, and large enough that starting it is nothing.
TASKS_A_SLOT = 32
TASK_IMAGES = (32, 1024)
# The modules that make the features of one image: a change of theirs makes new ones.
EXTRACTION = ("decoding.py", "loading.py", "features.py", "runtime.py")


def run(settings: Settings) -> dict[str, Any]:
    """All stages; returns the record that run.json holds.

    Raises:
        UsageError, ModelError: the settings cannot be met.
        RunError: the run failed.
        StoreError, PySparkException, Py4JError: storage or Spark failed.
    """
    started, seconds = datetime.now(UTC), dict[str, float]()
    interrupt.hear()
    output, staging = settings.output, results.staging(settings.output)
    model = _open_model(settings)
    starter = ThreadPoolExecutor(1)
    with _timed(seconds, "list"):
        _prepare_output(output)
        last: dict[str, Any] | None = store.read_json(f"{output}/{results.RUN}")
        splitter, census = Splitter(settings.seed), Census()
        listing = _begin_list(settings, census)
        # Spark starts while the listing runs, unless the results of the last run may well stand without it.
        session = None if last else starter.submit(_start_spark, model)
        _list(listing, settings, splitter)
    listed = census.labels.total()
    check_components(settings.components, images=listed, features=model.features)
    asked = _asked(settings, model=model, census=census)
    if last and _stands(last, settings, asked=asked, listed=listed):
        results.discard(output)
        log.info("nothing new in %s: the results of run %s stand", settings.input, last["run"])
        return unchanged(last)

    with _timed(seconds, "start Spark"):
        session = session or starter.submit(_start_spark, model)
        # Spark ML brings pandas and SciPy: half a second that Spark's start hides, and a run with nothing new saves.
        from pipeline import analysis, exhibits  # noqa: PLC0415

        spark = session.result()
        slots = spark.sparkContext.defaultParallelism
    labels = sorted(census.labels)
    name = secrets.token_hex(4)
    prefix = f"{asked['extraction'][:16]}-{name}-"
    with _timed(seconds, "find known"):
        found = known.find(spark, output, labels, key=asked["extraction"][:16], prefix=prefix)
    with _timed(seconds, "extract"):
        todo = listed - found.count
        _extract(spark, found.todo, settings, model=model, labels=labels, prefix=prefix, todo=todo, slots=slots)
        results.drop_features(output, found.replaced)
    files = _feature_files(output, found.published)
    rejections = exhibits.read_rejections(f"{staging}/{results.REJECTED}")
    counts = _count(census, features=results.count_rows(files), known_images=found.count, rejections=rejections)
    _check_rejected(settings, counts=counts, rejections=rejections)
    with _timed(seconds, "reduce"):
        reduction = analysis.reduce_features(spark, files, settings, splitter=splitter, slots=slots)
    with _timed(seconds, "classify"):
        kept = reduction.components.shape[1]
        scores = analysis.classify_images(
            spark, labels, staging=staging, images=counts["extracted"] + counts["known"], components=kept
        )
    metrics = scores.metrics()
    record: dict[str, Any] = {
        "run": name,
        "started": started.isoformat(timespec="seconds"),
        "asked": asked,
        "settings": {flag: getattr(settings, flag) for flag in ("input", "output", "components", "variance", "seed")}
        | {"max_rejected": settings.rejected_limit(listed)},
        "counts": counts,
        "skipped_names": dict(census.skipped),
        "classes": len(labels),
        "components": kept,
        "variance_kept": float(reduction.ratios[:kept].sum()),
        **{figure: metrics[figure] for figure in ("accuracy", "macro_f1", "test_images", "notes")},
        "seconds": seconds,
        "model": {"name": model.uri.rpartition("/")[2], "sha256": model.sha256, "features": model.features},
        "versions": _versions(spark),
        "cluster": {"master": spark.sparkContext.master, "slots": slots},
    }
    with _timed(seconds, "report"):
        analysis.write_report(spark, settings, record=record, scores=scores, reduction=reduction, rejections=rejections)
    with _timed(seconds, "publish"):
        published = results.publish(output, record, kept=found.published)
        _sweep(spark, staging)
    return published


def _open_model(settings: Settings) -> Model:
    try:
        return features.inspect(settings.model)
    except store.StoreError as error:
        raise UsageError(f"--model {settings.model}: {store.explain(error)}") from error


def _prepare_output(output: str) -> None:
    try:
        results.begin(output)
    except store.StoreError as error:
        raise UsageError(f"--output {output} cannot be written: {store.explain(error)}") from error


def _begin_list(settings: Settings, census: Census) -> Iterator[Listed]:
    """The listing, its first image already come: a wrong --input is said before Spark is started."""
    if not images.exists(settings.input):
        raise UsageError(f"--input {settings.input}: no such folder; correct the path")
    listing = _listed(settings, census)
    first = next(listing, None)
    if first is None:
        found = (
            f"{census.skipped_total} other files, like {next(iter(census.skipped))}" if census.skipped else "nothing"
        )
        raise UsageError(
            f"--input {settings.input} holds no image but {found}; "
            f"it wants class folders of {', '.join(images.SUFFIXES)}"
        )
    return itertools.chain([first], listing)


def _listed(settings: Settings, census: Census) -> Iterator[Listed]:
    try:
        yield from images.list_images(settings.input, census)
    except store.StoreError as error:
        raise UsageError(f"--input {settings.input}: {store.explain(error)}") from error


def _list(listing: Iterator[Listed], settings: Settings, splitter: Splitter) -> None:
    """Stream the listing into parquet files of the run in preparation."""
    target = results.listing(settings.output)
    for number in itertools.count():
        rows = [vars(image) for image in itertools.islice(listing, LISTING_ROWS)]
        if not rows:
            break
        for row in rows:
            splitter.learn(row["path"], row["label"])
        results.write_table(f"{target}/{number:05d}.parquet", pa.Table.from_pylist(rows, schema=results.LISTING_SCHEMA))


def _asked(settings: Settings, *, model: Model, census: Census) -> dict[str, Any]:
    """What the results depend on. `extraction` is what the features of one image depend on."""
    sources = {
        name.name: name.read_bytes()
        for name in package_files("pipeline").iterdir()
        if name.name.endswith((".py", ".html"))
    }
    package = sha256(b"".join(sources[name] for name in sorted(sources)))
    extraction = sha256(model.sha256.encode() + b"".join(sources[name] for name in EXTRACTION))
    return {
        "input": settings.input,
        "listing": f"{census.fingerprint:032x}",
        "listed": census.labels.total(),
        "extraction": extraction.hexdigest(),
        "package": package.hexdigest(),
        "components": settings.components,
        "variance": settings.variance,
        "seed": settings.seed,
    }


def _stands(last: dict[str, Any], settings: Settings, *, asked: dict[str, Any], listed: int) -> bool:
    """Whether the last run is complete and the same would come out again."""
    counts = last["counts"]
    return (
        last["asked"] == asked
        and results.is_intact(settings.output, last)
        and not counts["unreachable"]
        and counts["rejected"] <= settings.rejected_limit(listed)
    )


def _start_spark(model: Model) -> SparkSession:
    """A session whose Python workers have the model built."""
    spark = SparkSession.builder.getOrCreate()
    features.warm_up(spark, model)
    return spark


def _extract(
    spark: SparkSession,
    rows: DataFrame,
    settings: Settings,
    *,
    model: Model,
    labels: list[str],
    prefix: str,
    todo: int,
    slots: int,
) -> None:
    """Features of the images in `rows` to the run in preparation, the rejected ones beside them."""
    staging, context = results.staging(settings.output), spark.sparkContext
    rejected = f"{staging}/{results.REJECTED}"
    if not todo:
        results.write_table(f"{rejected}/none.parquet", results.REJECTED_SCHEMA.empty_table())
        return
    size = min(max(todo // (slots * TASKS_A_SLOT), TASK_IMAGES[0]), TASK_IMAGES[1])
    task = features.Extraction(
        source=settings.input,
        target=f"{staging}/{results.FEATURES}",
        prefix=prefix,
        model=model,
        labels=tuple(labels),
        done=context.accumulator(0),
        failed=context.accumulator(0),
    )
    with progress.shown(task.done, task.failed, total=todo, live=settings.live):
        rows.repartition(math.ceil(todo / size)).mapInArrow(
            partial(features.extract, task=task), results.spark_schema(results.REJECTED_SCHEMA)
        ).write.mode("overwrite").parquet(store.spark_path(rejected))


def _feature_files(output: str, published: Sequence[str]) -> list[str]:
    prepared = f"{results.staging(output)}/{results.FEATURES}"
    kept = [f"{output}/{results.FEATURES}/{name}" for name in published]
    return kept + [f"{prepared}/{name}" for name in results.parquet_files(prepared)]


def _count(census: Census, *, features: int, known_images: int, rejections: Rejections) -> dict[str, int]:
    """Nothing is lost: every listed image has features or a reason. Counted in what was written, not as reported."""
    listed = census.labels.total()
    if listed != features + rejections.total:
        raise RunError(
            f"{listed} images were listed, but {features} have features and {rejections.total} are rejected; run again"
        )
    return {
        "listed": listed,
        "extracted": features - known_images,
        "known": known_images,
        "rejected": rejections.total,
        "unreachable": rejections.unreachable,
        "skipped": census.skipped_total,
    }


def _check_rejected(settings: Settings, *, counts: dict[str, int], rejections: Rejections) -> None:
    limit = settings.rejected_limit(counts["listed"])
    if not counts["rejected"]:
        return
    first = rejections.first[0]
    which = f"first {first.path}: {first.message}; all stand in {results.staging(settings.output)}/{results.REJECTED}"
    if counts["rejected"] == counts["listed"]:
        message = f"--input {settings.input}: none of {counts['listed']} images gives features, {which}"
        # What could not be fetched may be there the next time: that is no mistake of the user.
        raise RunError(f"{message}; run again") if counts["unreachable"] else UsageError(message)
    if counts["rejected"] > limit:
        raise RunError(
            f"{counts['rejected']} of {counts['listed']} images are rejected, over the limit of {limit} "
            f"(--max-rejected), {which}, the features of the others are kept for the next run"
        )


def _sweep(spark: SparkSession, staging: str) -> None:
    """Remove the empty objects that stand for folders on S3: only Hadoop, which made them, can name them."""
    jvm = spark._jvm
    folder = jvm.org.apache.hadoop.fs.Path(store.spark_path(staging))  # type: ignore[union-attr]
    folder.getFileSystem(spark._jsc.hadoopConfiguration()).delete(folder, True)


def _versions(spark: SparkSession) -> dict[str, str]:
    java = spark._jvm.java.lang.System.getProperty("java.version")  # type: ignore[union-attr]
    libraries = ("ai-edge-litert", "numpy", "obstore", "pillow", "pyarrow")
    return {"spark": spark.version, "java": java, "python": platform.python_version()} | {
        name: version(name) for name in libraries
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        seconds[stage] = round(time.monotonic() - started, 3)
