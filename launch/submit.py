"""Submits the job: one spark-submit argument list, run where the target says."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from launch import java
from launch.package import Package
from launch.targets import Setting
from pipeline.settings import REASON, Settings

STOP_S = 15.0


def arguments(package: Package, settings: Settings, conf: Iterable[Setting], *, jars: Sequence[Path] = ()) -> list[str]:
    """What follows `spark-submit`, on every target."""
    args = ["--name", "emrlab", "--py-files", str(package.archive)]
    if jars:
        args += ["--jars", ",".join(map(str, jars))]
    return [*args, *conf_arguments(conf), str(package.main), *settings.to_args()]


def conf_arguments(conf: Iterable[Setting]) -> list[str]:
    """The settings and, for the report, their reasons."""
    pairs = [
        pair for setting in conf for pair in ((setting.key, setting.value), (REASON + setting.key, setting.reason))
    ]
    return [arg for key, value in pairs for arg in ("--conf", f"{key}={value}")]


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
    # Ctrl-C reaches every process of the terminal. The JVM is started deaf to it: it would fall from under the job,
    # which ends its tasks through it and says what it kept.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, env=java.environment()) as job:
        signal.signal(signal.SIGINT, heard)
        try:
            return job.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                job.wait(timeout=STOP_S)
            job.kill()
            return 130
