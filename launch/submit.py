"""Submits the job: one spark-submit argument list, run where the target says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from launch import java
from launch.package import Package
from launch.targets import REASON, Setting
from pipeline.settings import Settings

STOP_S = 15.0


def arguments(package: Package, settings: Settings, conf: Iterable[Setting], *, jars: Sequence[Path] = ()) -> list[str]:
    """What follows `spark-submit`, on every target."""
    args = ["--name", "emrlab", "--py-files", str(package.archive)]
    if jars:
        args += ["--jars", ",".join(map(str, jars))]
    for setting in conf:
        args += ["--conf", f"{setting.key}={setting.value}", "--conf", f"{REASON}{setting.key}={setting.reason}"]
    return [*args, str(package.main), *settings.to_args()]


def run_local(
    package: Package, settings: Settings, conf: Sequence[Setting], *, jars: Sequence[Path] = (), cache: Path
) -> int:
    """Run the job on this machine's own Spark and wait for its end; Ctrl-C ends it. Returns its exit code.

    Raises:
        JavaError: there is no Java that Spark runs on.
    """
    memory = next(setting.value for setting in conf if setting.key == "spark.driver.memory")
    archive = java.archive_path(cache)
    command = java.command(
        arguments(package, settings, conf, jars=jars),
        memory=memory,
        archive=archive if archive.exists() else None,
        verbose=settings.verbose,
    )
    with subprocess.Popen(command, env=java.environment()) as job:
        try:
            return job.wait()
        except KeyboardInterrupt:
            # The terminal has sent the signal to the job as well: wait for it to say what it kept.
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                job.wait(timeout=STOP_S)
            job.kill()
            return 130
