"""The stages of a run in their order, and the counts that must add up."""

from __future__ import annotations

import itertools
import logging
import math
import platform
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from pipeline import (
    features,
    images,
    interrupt,
    known,
    lease,
    patience,
    progress,
    provenance,
    publication,
    results,
    store,
)
from pipeline.features import Model
from pipeline.images import Census, Listed
from pipeline.known import Known
from pipeline.publication import Standing
from pipeline.settings import RunError, Settings, UsageError, check_components
from pipeline.split import Splitter
from pipeline.summary import unchanged, words

if TYPE_CHECKING:
    from pipeline.exhibits import Rejections

log = logging.getLogger("pipeline")

LISTING_ROWS = 50_000
# A task is small enough that the last ones end together, and large enough that starting it is nothing.
TASKS_A_SLOT = 32
TASK_IMAGES = (32, 1024)
# The modules that make the features of one image: a change of theirs makes new ones.
EXTRACTION = ("decoding.py", "limits.py", "loading.py", "features.py", "runtime.py")
# What of the settings and of the metrics the record repeats.
SETTINGS = ("input", "output", "components", "variance", "classifier", "seed")
FIGURES = ("accuracy", "macro_f1", "log_loss", "expected_calibration_error", "test_images")


def run(settings: Settings) -> dict[str, Any]:
    """All stages; returns the record that run.json holds.

    Raises:
        UsageError, ModelError: the settings cannot be met.
        RunError: the run failed.
        StoreError, PySparkException, Py4JError: storage or Spark failed.
    """
    started, name = datetime.now(UTC), secrets.token_hex(4)
    interrupt.hear()
    patience.first_contact()
    model = _open_model(settings)
    with ExitStack() as held:
        confirm, standing = _take(settings.output, name, held)
        return _run(settings, name, model=model, standing=standing, confirm=confirm, started=started)


def _run(
    settings: Settings,
    name: str,
    *,
    model: Model,
    standing: Standing,
    confirm: Callable[[], None],
    started: datetime,
) -> dict[str, Any]:
    """The stages of the run `name`, which owns the output."""
    output, work, seconds = settings.output, results.workspace(settings.output, name), dict[str, float]()
    starter, last = ThreadPoolExecutor(1), standing.run
    with _timed(seconds, "list"):
        splitter, census = Splitter(settings.seed), Census()
        listing = _begin_list(settings, census)
        # Spark starts while the listing runs, unless the results of the last run may well stand without it.
        session = None if last else starter.submit(_start_spark, model)
        _list(listing, results.listing(work), splitter)
    listed = census.listed
    check_components(settings.components, images=listed, features=model.features)
    asked = _asked(settings, model=model, census=census)
    if last and standing.is_intact() and _stands(last, settings, asked=asked, listed=listed):
        confirm()
        publication.discard(output)
        log.info("nothing new in %s: the results of run %s stand", settings.input, last["run"])
        return unchanged(last)

    with _timed(seconds, "start Spark"):
        session = session or starter.submit(_start_spark, model)
        # Spark ML brings pandas and SciPy: half a second that Spark's start hides, and a run with nothing new saves.
        from pipeline import analysis, exhibits  # noqa: PLC0415

        spark = session.result()
        slots = spark.sparkContext.defaultParallelism
    labels = sorted(census.labels)
    key = asked["extraction"][:16]
    prefix = f"{key}-{name}-"
    with _timed(seconds, "find known"):
        confirm()
        found = known.find(
            spark,
            output,
            labels,
            listing=results.listing(work),
            published=standing.features(),
            key=key,
            prefix=prefix,
        )
    with _timed(seconds, "extract"):
        todo = listed - found.count
        _extract(
            spark, found.todo, settings, work=work, model=model, labels=labels, prefix=prefix, todo=todo, slots=slots
        )
        confirm()
        store.delete(f"{results.staging(output)}/{results.FEATURES}", found.replaced)
    counted = _feature_files(output, found, published=standing.features(), prefix=prefix)
    files = list(counted)
    rejections = exhibits.read_rejections(f"{work}/{results.REJECTED}")
    counts = _count(census, features=results.count_rows(files), known_images=found.count, rejections=rejections)
    _check_rejected(settings, counts=counts, rejections=rejections, where=f"{work}/{results.REJECTED}")
    with _timed(seconds, "reduce"):
        images_there = counts["extracted"] + counts["known"]
        data = analysis.Data(files=files, images=images_there, labels=labels, splitter=splitter, slots=slots)
        sums, reduction = analysis.reduce_features(spark, data, settings, work=work)
    with _timed(seconds, "classify"):
        scores = analysis.classify_images(spark, data, settings, work=work, found=sums, reduction=reduction)
    kept, metrics = reduction.components.shape[1], scores.metrics()
    record: dict[str, Any] = {
        "run": name,
        "started": started.isoformat(timespec="seconds"),
        "asked": asked,
        "settings": {flag: getattr(settings, flag) for flag in SETTINGS}
        | {"max_rejected": settings.rejected_limit(listed)},
        "counts": counts,
        "skipped_names": dict(census.skipped),
        "classes": len(labels),
        "components": kept,
        "variance_kept": float(reduction.ratios[:kept].sum()),
        **{figure: metrics[figure] for figure in FIGURES},
        "notes": [*metrics["notes"], *census.notes()],
        "seconds": seconds,
        "model": {"name": model.uri.rpartition("/")[2], "sha256": model.sha256, "features": model.features},
        "versions": _versions(spark),
        "cluster": {"master": spark.sparkContext.master, "slots": slots},
    }
    with _timed(seconds, "report"):
        analysis.write_report(
            spark, settings, work=work, record=record, scores=scores, reduction=reduction, rejections=rejections
        )
    with _timed(seconds, "publish"):
        sizes = {file.rpartition("/")[2]: size for file, size in counted.items()}
        published = publication.publish(output, record, features=sizes, confirm=confirm)
        _sweep(spark, results.staging(output))
    return published


def _open_model(settings: Settings) -> Model:
    try:
        return features.inspect(settings.model)
    except store.StoreError as error:
        raise UsageError(f"--model {settings.model}: {store.explain(error)}") from error


def _take(output: str, name: str, held: ExitStack) -> tuple[Callable[[], None], Standing]:
    """Refuse an output that is not a run's, before anything is written; own it, and make it ready."""
    try:
        # What an owner is about to do there is no reason to refuse it: who that is will be said, or what it left.
        if not lease.is_claimed(output):
            publication.examine(output)
        confirm = held.enter_context(lease.hold(output, name))
        return confirm, publication.begin(output, confirm=confirm)
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


def _list(listing: Iterator[Listed], target: str, splitter: Splitter) -> None:
    """Stream the listing into parquet files at `target`."""
    for number in itertools.count():
        rows = [vars(image) for image in itertools.islice(listing, LISTING_ROWS)]
        if not rows:
            break
        for row in rows:
            if row["error"] is None:
                splitter.learn(row["path"], row["label"])
        results.write_table(f"{target}/{number:05d}.parquet", pa.Table.from_pylist(rows, schema=results.LISTING_SCHEMA))


def _asked(settings: Settings, *, model: Model, census: Census) -> dict[str, Any]:
    """What the results depend on. `extraction` is what the features of one image depend on."""
    modules = [file for file in package_files("pipeline").iterdir() if file.name.endswith((".py", ".html"))]
    package = sha256(b"".join(file.read_bytes() for file in sorted(modules, key=lambda file: file.name)))
    return {
        "input": settings.input,
        "listing": f"{census.fingerprint:032x}",
        "listed": census.listed,
        "extraction": provenance.extraction_key(model.sha256, model.software, EXTRACTION),
        "package": package.hexdigest(),
        "components": settings.components,
        "variance": settings.variance,
        "classifier": settings.classifier,
        "seed": settings.seed,
    }


def _stands(last: dict[str, Any], settings: Settings, *, asked: dict[str, Any], listed: int) -> bool:
    """Whether the same would come out again as of the last run, which is complete. Not if its record cannot be told:
    another version wrote it, or somebody changed it."""
    try:
        is_told = bool(words(unchanged(last))) and isinstance(last["settings"]["output"], str)
        counts = last["counts"]
        return (
            is_told
            and last["asked"] == asked
            and not counts["unreachable"]
            and counts["rejected"] <= settings.rejected_limit(listed)
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return False


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
    work: str,
    model: Model,
    labels: list[str],
    prefix: str,
    todo: int,
    slots: int,
) -> None:
    """Features of the images in `rows` to the run in preparation, the rejected ones to its workspace."""
    context, rejected = spark.sparkContext, f"{work}/{results.REJECTED}"
    if not todo:
        results.write_table(f"{rejected}/none.parquet", results.REJECTED_SCHEMA.empty_table())
        return
    size = min(max(todo // (slots * TASKS_A_SLOT), TASK_IMAGES[0]), TASK_IMAGES[1])
    task = features.Extraction(
        source=settings.input,
        target=f"{results.staging(settings.output)}/{results.FEATURES}",
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


def _feature_files(output: str, found: Known, *, published: Mapping[str, int], prefix: str) -> dict[str, int]:
    """URI and size in bytes of the files of this run: those found to hold and its own, not what else comes there."""
    prepared, left = f"{results.staging(output)}/{results.FEATURES}", set(found.prepared)
    kept = {f"{output}/{results.FEATURES}/{name}": published[name] for name in found.published}
    return kept | {
        f"{prepared}/{name}": size
        for name, size in sorted(store.sizes(prepared))
        if name in left or name.startswith(prefix)
    }


def _count(census: Census, *, features: int, known_images: int, rejections: Rejections) -> dict[str, int]:
    """Nothing is lost: every listed image has features or a reason. Counted in what was written, not as reported."""
    listed = census.listed
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


def _check_rejected(settings: Settings, *, counts: dict[str, int], rejections: Rejections, where: str) -> None:
    limit = settings.rejected_limit(counts["listed"])
    if not counts["rejected"]:
        return
    first = rejections.first[0]
    which = f"first {first.path}: {first.message}; all stand in {where}"
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
    system = folder.getFileSystem(spark._jsc.hadoopConfiguration())
    for entry in system.listStatus(folder):
        if entry.getPath().getName() != publication.OWNER:
            system.delete(entry.getPath(), True)


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
