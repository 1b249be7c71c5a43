"""What a job is, wherever it runs: what is shipped of it, what it is told, what it reads and writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from base.spark_conf import Setting

_NAME = re.compile(r"\{([A-Za-z][A-Za-z0-9_-]*)\}")


@dataclass(frozen=True, kw_only=True)
class Output:
    """A place that a job writes.

    Attributes:
        location: an absolute folder of this machine, which far from it stands for a place in the bucket, or an s3://
            prefix.
        fetched: the names below it that come back to this machine; None: all.
        page: of these, the one that a person opens; None: the folder.
    """

    location: str
    fetched: tuple[str, ...] | None = None
    page: str | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that is made on this machine for a run, like a model.

    Attributes:
        name: of the file, for a plan, which makes nothing.
        folder: below artifacts/ in the bucket.
        make: makes it, or finds it in the cache.
    """

    name: str
    folder: str
    make: Callable[[], Path]


@dataclass(frozen=True, kw_only=True)
class ImageWork:
    """What a job's estimate rests on, where it extracts features.

    Attributes:
        input: name of the input that holds the photographs.
        model: a name of `model.NAMES`, or a .keras file.
        image_size: edge in pixels that images are brought to.
    """

    input: str
    model: str
    image_size: int


def _nothing() -> None:
    """Finds nothing wrong."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job. In `args` and `env` a `{name}` of `inputs`, `outputs` or `made` stands for its place on the target.

    Attributes:
        name: for Spark's pages and for messages.
        entry: the .py or .jar to start.
        main_class: of a .jar; None: what its manifest says.
        modules: packages (folders) and modules (.py) that it imports.
        files: that `SparkFiles.get` finds by their names, on the driver and in tasks.
        jars: for Spark's class path.
        requirements: pip's file of the Python packages that it imports, or None.
        packages: Maven's coordinates, group:artifact:version.
        args: its command line.
        env: variables of the driver and of tasks.
        secrets: names of variables of this machine, for the driver alone.
        inputs: what it reads, by name: as `Output.location`.
        outputs: what it writes, by name.
        made: files that a run makes first, by name.
        settings: of Spark, that the job wants on every target.
        release, instance_type: that it is for; None: whatever there is.
        declared_in: the file that declares it, for messages; None: the command line's flags do, by the same names.
        check: the job's own look at its places, before anything is sent.
        work: what its estimate rests on; None: the minutes that who runs it gives.
        record: name of the file below its output that a run writes last, as `pipeline.summary` reads it; None: what a
            run came to stands in its stdout.
        verbose: Spark's own messages are wanted.
        live: one line of progress is redrawn, for a terminal.
    """

    name: str
    entry: Path
    main_class: str | None = None
    modules: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    jars: tuple[Path, ...] = ()
    requirements: Path | None = None
    packages: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    release: str | None = None
    instance_type: str | None = None
    declared_in: str | None = None
    check: Callable[[], None] = _nothing
    work: ImageWork | None = None
    record: str | None = None
    verbose: bool = False
    live: bool = False

    @property
    def is_own(self) -> bool:
        """Whether a file of the user's declares it: then what goes is listed, and why it ended is told for it."""
        return self.declared_in is not None

    def words(self, kind: str, name: str) -> str:
        """How a message names one of its `kind` (inputs, outputs): by its flag, or by its key in the file."""
        return f"{self.declared_in}: {kind}.{name}" if self.declared_in else f"--{name}"

    def locations(self) -> list[str]:
        """All that it reads and writes, as it was declared."""
        return [*self.inputs.values(), *(output.location for output in self.outputs.values())]

    def asked(self, conf_overrides: Mapping[str, str]) -> dict[str, str]:
        """What the job and, before it, who runs it ask of Spark."""
        return {setting.key: setting.value for setting in self.settings} | dict(conf_overrides)

    def filled(self, places: Mapping[str, str]) -> Filled:
        """Arguments and variables with the `places` of its names on a target."""
        return Filled(
            args=tuple(_fill(arg, places) for arg in self.args),
            env={name: _fill(value, places) for name, value in self.env.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A job's command line and variables, as they are on a target."""

    args: tuple[str, ...]
    env: Mapping[str, str]


def is_remote(location: str) -> bool:
    """Whether it is in S3 already."""
    return location.startswith("s3://")


def executor_settings(env: Mapping[str, str]) -> tuple[Setting, ...]:
    """What gives a job's variables to its tasks."""
    return tuple(
        Setting(f"spark.executorEnv.{name}", value, "a variable of the job, in tasks too")
        for name, value in env.items()
    )


def _fill(text: str, places: Mapping[str, str]) -> str:
    """Other braces stay as they are: arguments may be JSON."""
    return _NAME.sub(lambda found: places.get(found[1], found[0]), text)
