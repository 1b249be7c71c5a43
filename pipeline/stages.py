"""The stages of a run in their order: prepare, extract, analyse, publish."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pyspark import SparkContext

from pipeline import (
    accounting,
    analysis,
    feature_cache,
    features,
    imports,
    interrupt,
    lease,
    listing,
    patience,
    plots,
    progress,
    publication,
    results,
    run_record,
    store,
)
from pipeline.accounting import Rejections
from pipeline.analysis import FeatureSet
from pipeline.features import Model
from pipeline.images import ListingSummary
from pipeline.names import escape
from pipeline.publication import Standing
from pipeline.settings import Settings, UsageError, check_components
from pipeline.shards import SPAN_B
from pipeline.split import Splitter
from pipeline.summary import unchanged

log = logging.getLogger("pipeline")

# A task is large enough that starting it is nothing, and small enough that one hears of it. The first ones of a slot
# are this share of its images, the last ones as few as TASK_IMAGES begins with, so that all slots end together.
TASKS_A_SLOT = 16
TASK_IMAGES = (32, 1024)
TASK_B = 64 * 2**20  # half a minute of a core, if these are photographs of many megapixels
PACKED_TASK_IMAGES = 128  # small members of an archive: a task of them is one request at least


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that owns its output.

    Attributes:
        name: its own, eight hexadecimal digits.
        started: when.
        settings: what it was asked to do.
        model: the file that it runs.
        standing: what the output held when the run began.
        confirm: raises unless the output is still this run's.
        seconds: by stage; each is entered when it ends.
    """

    name: str
    started: datetime
    settings: Settings
    model: Model
    standing: Standing
    confirm: Callable[[], None]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def workspace(self) -> str:
        """Where it prepares all but its features."""
        return results.workspace(self.settings.output, self.name)

    @property
    def prepared(self) -> str:
        """Where it prepares its features."""
        return f"{results.staging(self.settings.output)}/{results.FEATURES}"

    @property
    def rejected(self) -> str:
        """Where it writes what gave no features."""
        return f"{self.workspace}/{results.REJECTED}"

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Enter how long the body took."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.monotonic() - started, 3)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What is listed, and the cluster to work on it.

    Attributes:
        context: of the cluster, its workers with the model built.
        summary: of the listing.
        splitter: has learnt all that is listed.
        key: what the results depend on.
    """

    context: SparkContext
    summary: ListingSummary
    splitter: Splitter
    key: Mapping[str, Any]

    @property
    def slots(self) -> int:
        """Task slots of the cluster."""
        return self.context.defaultParallelism

    @property
    def labels(self) -> list[str]:
        """The classes, in the order of label_index."""
        return sorted(self.summary.labels)


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The features of a run.

    Attributes:
        files: URI and size in bytes of each file.
        counts: of the images.
        rejections: those without features.
    """

    files: Mapping[str, int]
    counts: Mapping[str, int]
    rejections: Rejections


def run(settings: Settings) -> dict[str, Any]:
    """All stages; returns the record that run.json holds.

    Raises:
        UsageError, ModelError: the settings cannot be met.
        RunError: the run failed.
        STORE_ERRORS, PySparkException, Py4JError: storage or Spark failed.
    """
    started, name = datetime.now(UTC), secrets.token_hex(4)
    interrupt.install_handlers()
    patience.first_contact()
    with own(settings, _open_model(settings), name=name, started=started) as run:
        prepared = prepare(run)
        if prepared is None:
            assert run.standing.run is not None  # noqa: S101 - which is why nothing is to be done
            return unchanged(run.standing.run)
        extracted = extract(run, prepared)
        record = analyse(run, prepared, extracted)
        return publish(run, prepared, extracted, record=record)


@contextmanager
def own(settings: Settings, model: Model, *, name: str, started: datetime) -> Iterator[Run]:
    """Refuse an output that is not a run's, before anything is written; own it, and make it ready.

    Raises:
        UsageError: the output cannot be written, or holds what no run wrote.
        RunError: another run owns it.
    """
    output = settings.output
    with ExitStack() as stack:
        try:
            # What an owner is about to do there is no reason to refuse it: the refusal is to name it, or what it left.
            if not lease.is_claimed(output):
                publication.examine(output)
            confirm = stack.enter_context(lease.hold(output, name))
            standing = publication.begin(output, confirm=confirm)
        except store.STORE_ERRORS as error:
            raise UsageError(f"--output {output} cannot be written: {store.explain(error)}") from error
        yield Run(name=name, started=started, settings=settings, model=model, standing=standing, confirm=confirm)


def prepare(run: Run) -> Prepared | None:
    """List the input and start Spark; None where the results of the last run are those of this one."""
    settings, last, starter = run.settings, run.standing.run, ThreadPoolExecutor(1)
    with run.timed("list"):
        splitter, summary = Splitter(settings.seed), ListingSummary()
        images = listing.begin(settings.input, summary)
        # Spark starts while the listing runs, unless the results of the last run may well stand without it.
        starting = None if last else starter.submit(_start_spark, run.model)
        listing.write(images, results.listing(run.workspace), splitter)
    check_components(settings.components, images=summary.listed, features=run.model.features)
    key = run_record.run_key(settings, model=run.model, summary=summary)
    if last and run.standing.is_intact() and run_record.is_current(last, settings, key=key, listed=summary.listed):
        run.confirm()
        publication.discard(settings.output)
        log.info("nothing new in %s: the results of run %s stand", escape(settings.input), last["run"])
        return None
    with run.timed("start Spark"):
        starting = starting or starter.submit(_start_spark, run.model)
        plots.import_library()  # Java starts Spark on one core; later the workers have all of them
        context = starting.result()
    return Prepared(context=context, summary=summary, splitter=splitter, key=key)


def extract(run: Run, prepared: Prepared) -> Extracted:
    """Features of the images that have none yet."""
    settings, summary, published = run.settings, prepared.summary, run.standing.features()
    key = prepared.key["extraction"][:16]
    prefix = f"{key}-{run.name}-"
    with run.timed("find known"):
        run.confirm()
        cached = feature_cache.look_up(
            settings.output,
            prepared.labels,
            listing=results.listing(run.workspace),
            unknown=results.unknown(run.workspace),
            published=published,
            key=key,
            prefix=prefix,
        )
    with run.timed("extract"):
        _extract_new(run, prepared, cached.todo, count=summary.listed - cached.count, prefix=prefix)
        run.confirm()
        store.delete(run.prepared, cached.replaced)
    files = feature_cache.feature_files(settings.output, cached, published=published, prefix=prefix)
    rejections = accounting.read_rejections(run.rejected)
    counts = accounting.count_images(
        summary, features=results.count_rows(list(files)), known_images=cached.count, rejections=rejections
    )
    accounting.check_rejected(settings, counts=counts, rejections=rejections, rejected=run.rejected)
    return Extracted(files=files, counts=counts, rejections=rejections)


def analyse(run: Run, prepared: Prepared, extracted: Extracted) -> dict[str, Any]:
    """Components, classifier and report of the features, to the workspace; returns the record of the run."""
    context, settings, work = prepared.context, run.settings, run.workspace
    with run.timed("reduce"):
        data = FeatureSet(
            files=list(extracted.files),
            images=extracted.counts["extracted"] + extracted.counts["known"],
            labels=prepared.labels,
            splitter=prepared.splitter,
            slots=prepared.slots,
        )
        measured, reduction = analysis.reduce_features(context, data, settings, work=work)
    with run.timed("classify"):
        classified = analysis.classify_images(
            context, data, settings, work=work, measured=measured, reduction=reduction
        )
    kept, metrics = reduction.components.shape[1], classified.scores.metrics()
    record: dict[str, Any] = {
        "run": run.name,
        "started": run.started.isoformat(timespec="seconds"),
        "asked": prepared.key,
        "settings": run_record.describe_settings(settings, listed=prepared.summary.listed),
        "counts": extracted.counts,
        "skipped_names": dict(prepared.summary.skipped),
        "classes": len(data.labels),
        "components": kept,
        "variance_kept": float(reduction.ratios[:kept].sum()),
        **{figure: metrics[figure] for figure in run_record.FIGURES},
        "notes": [*metrics["notes"], *prepared.summary.notes()],
        "seconds": run.seconds,
        "model": run_record.describe_model(run.model),
        "versions": run_record.versions(context),
        "cluster": {"master": context.master, "slots": prepared.slots},
    }
    with run.timed("report"):
        analysis.write_report(
            context, settings, work=work, record=record, classified=classified, reduction=reduction,
            rejections=extracted.rejections,
        )  # fmt: skip
    return record


def publish(run: Run, prepared: Prepared, extracted: Extracted, *, record: dict[str, Any]) -> dict[str, Any]:
    """Put what is prepared in the place of the last run's results; returns the record with its files."""
    output = run.settings.output
    with run.timed("publish"):
        sizes = {file.rpartition("/")[2]: size for file, size in extracted.files.items()}
        published = publication.publish(output, record, features=sizes, confirm=run.confirm)
        if output.startswith("s3://"):  # a folder has none, and Java takes a while to say so
            _delete_markers(prepared.context, results.staging(output))
    return published


def _open_model(settings: Settings) -> Model:
    try:
        return features.inspect(settings.model)
    except store.STORE_ERRORS as error:
        raise UsageError(f"--model {settings.model}: {store.explain(error)}") from error


def _start_spark(model: Model) -> SparkContext:
    """A context whose Python workers have the model built."""
    imports.keep_tests_from_pyspark()
    context = SparkContext.getOrCreate()
    features.warm_up(context, model)
    return context


def _extract_new(run: Run, prepared: Prepared, todo: Sequence[str], *, count: int, prefix: str) -> None:
    """Features of the `count` images that the files `todo` list to the run in preparation, the rejected ones to its
    workspace.

    Tasks of the RDD, not of a table: to plan the first query, and to compile what runs it, takes Java three seconds.
    """
    results.write_table(f"{run.rejected}/none.parquet", results.REJECTED_SCHEMA.empty_table())
    if not count:
        return
    context = prepared.context
    fewest = _fewest(prepared.summary)
    most = max(min(count // (prepared.slots * TASKS_A_SLOT), _most(prepared.summary)), fewest)
    task = features.Extraction(
        source=run.settings.input,
        target=run.prepared,
        rejected=run.rejected,
        prefix=prefix,
        model=run.model,
        labels=tuple(prepared.labels),
        done=context.accumulator(0),
        failed=context.accumulator(0),
    )
    parts = listing.cut(todo, most=most, fewest=fewest, slots=prepared.slots)
    with progress.shown(task.done, task.failed, total=count, live=run.settings.live):
        written = set(
            context.parallelize(parts, len(parts))
            .mapPartitionsWithIndex(partial(features.extract, task=task))
            .collect()
        )
    features.discard_leftovers(task, parts=len(parts), written=written)


def _most(summary: ListingSummary) -> int:
    """Images of a task, at most."""
    return min(TASK_IMAGES[1], TASK_B * summary.labels.total() // max(summary.readable_b, 1))


def _fewest(summary: ListingSummary) -> int:
    """Images of a task, at least: of small ones in an archive, more, as far as one request fetches them."""
    in_a_span = SPAN_B * summary.packed // max(summary.packed_b, 1)
    return max(TASK_IMAGES[0], min(PACKED_TASK_IMAGES, in_a_span))


def _delete_markers(context: SparkContext, staging: str) -> None:
    """Remove the empty objects that stand for folders on S3: only Hadoop, which made them, can name them."""
    jvm = context._jvm
    folder = jvm.org.apache.hadoop.fs.Path(store.spark_path(staging))  # type: ignore[union-attr]
    system = folder.getFileSystem(context._jsc.hadoopConfiguration())
    for entry in system.listStatus(folder):
        if entry.getPath().getName() != publication.OWNER:
            system.delete(entry.getPath(), True)
