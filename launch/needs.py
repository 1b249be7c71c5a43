"""What a job needs besides itself, Python packages and jars, on each target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from base.paths import CACHE
from base.releases import Release
from launch.dependencies import layer, lock, maven, wheels
from launch.dependencies.lock import Platform
from launch.dependencies.wheels import Wheelhouse
from launch.job import Job


@dataclass(frozen=True, kw_only=True)
class Packages:
    """A job's Python packages, worked out for where it runs.

    Attributes:
        text: the lock; `name==version` with hashes.
        index_options: lines that say where they are found.
        target: where they are to run.
    """

    text: str
    index_options: str
    target: Platform

    def names(self) -> list[str]:
        """Each with its version."""
        return [f"{name} {version}" for name, version in lock.pins(self.text).items()]

    def unpacked(self) -> Path:
        """A folder with all of them; errors as of `wheels.unpack`."""
        return wheels.unpack(self.text, self.target, cache=CACHE, index_options=self.index_options)

    def python_in_lab(self) -> str:
        """The Python of the lab's nodes that has these packages and no more, as on EMR; errors as of `layer.bring`."""
        return layer.bring(self.unpacked())

    def wheelhouse(self) -> Wheelhouse:
        """A tar of their wheels; errors as of `wheels.build`."""
        return wheels.build(self.text, self.target, cache=CACHE, index_options=self.index_options)


def packages(job: Job, target: Platform) -> Packages | None:
    """What the job's requirements come to; None where it has none, or Spark's own alone.

    Raises:
        RequirementsError: they cannot be met.
        FetchError: no index answers.
    """
    if not job.requirements:
        return None
    text = lock.resolve(job.requirements, target, cache=CACHE)
    return Packages(text=text, index_options=lock.index_options(job.requirements), target=target) if text else None


def of_nodes(release: Release, machine: str) -> Platform:
    """Nodes of a release with this processor."""
    return Platform(machine=machine, python=release.python, spark=release.spark)


def with_jars(job: Job, release: Release) -> Job:
    """The job with the jars of its Maven packages among its own.

    Raises:
        PackagesError: one cannot be had as it is written.
        FetchError: Maven Central does not answer.
    """
    found = tuple(maven.jars(job.packages, release, cache=CACHE))
    return replace(job, jars=(*job.jars, *found)) if found else job
