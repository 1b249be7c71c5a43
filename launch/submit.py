"""Submits the job: one spark-submit argument list, run where the target says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from base import compose, paths
from base.spark_conf import Setting
from launch import docker_lab, driver, java, signal_relay
from launch.package import Package
from pipeline import signals
from pipeline.settings import REASON

GATEWAY = "pyspark-shell"  # in the place of the job's main: a JVM that waits for Python to come
RELAY = Path(signal_relay.__file__).read_text()
STOP_S = 15.0
# For the driver, which shares this machine's cores with the workers; see java.environment.
ONE_THREAD = "OPENBLAS_NUM_THREADS=1"
REMARK = b"WARNING: Using incubator modules"  # Java's on every start of Spark 4.1; nobody can do anything about it


def arguments(
    archive: Path | str,
    main: Path | str,
    *,
    job_args: Sequence[str],
    conf: Iterable[Setting],
    jars: Sequence[Path] = (),
) -> list[str]:
    """What follows `spark-submit`, on every target: `archive` is the zipped package, `main` takes `job_args`."""
    args = ["--name", "emrlab", "--py-files", str(archive)]
    if jars:
        args += ["--jars", ",".join(map(str, jars))]
    return [*args, *conf_arguments(conf), str(main), *job_args]


def conf_arguments(conf: Iterable[Setting]) -> list[str]:
    """The settings and, for the report, their reasons."""
    pairs = [
        pair for setting in conf for pair in ((setting.key, setting.value), (REASON + setting.key, setting.reason))
    ]
    return [arg for key, value in pairs for arg in ("--conf", f"{key}={value}")]


@dataclass(frozen=True)
class Command:
    """A command and the environment that it is run in."""

    words: Sequence[str]
    environment: Mapping[str, str]


def local(
    package: Package,
    *,
    job_args: Sequence[str],
    conf: Sequence[Setting],
    cache: Path,
    jars: Sequence[Path] = (),
    verbose: bool = False,
) -> Command:
    """What runs the job on this machine's own Spark, with the same arguments as spark-submit elsewhere.

    Args:
        package: the job.
        job_args: for its main.
        conf: Spark's settings.
        cache: where the archive of Java's classes may lie.
        jars: for Spark's class path.
        verbose: Spark's messages, too.

    Raises:
        JavaError: there is no Java that Spark runs on.
    """
    memory = next(setting.value for setting in conf if setting.key == "spark.driver.memory")
    archive = java.archive_path(cache)
    jvm = java.command(
        arguments(package.archive, GATEWAY, job_args=[], conf=conf, jars=jars),
        memory=memory,
        archive=archive if archive.exists() else None,
        verbose=verbose,
    )
    environment = java.environment()
    path = [str(package.archive), *filter(None, [environment.get("PYTHONPATH")])]
    # -P: this package's modules are none of the job's.
    return Command(
        [sys.executable, "-P", driver.__file__, str(package.main), *job_args],
        environment | {driver.COMMAND: json.dumps(jvm), "PYTHONPATH": os.pathsep.join(path)},
    )


def run_local(command: Command) -> int:
    """Run the job as `local` has it and wait for its end. Returns its exit code.

    Ctrl-C, SIGTERM and SIGHUP end it, a second Ctrl-C at once: 130, 143, 129. However else this process ends, the job
    ends too: the relay's stdin does.
    """
    # -I and -S: what it needs is the standard library, and it is there 20 ms earlier.
    return _run([sys.executable, "-I", "-S", "-c", RELAY, *command.words], env=command.environment)


def run_lab(args: Sequence[str]) -> int:
    """Run the job on the lab's master and wait for its end; how it ends, and what is returned, as of `run_local`."""
    relayed = ["env", ONE_THREAD, "python3", "-c", RELAY, "spark-submit", *args]
    return _run(compose.exec_command(docker_lab.MASTER, relayed), cwd=paths.LAB, stderr=subprocess.PIPE)


def _run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None, stderr: int | None = None
) -> int:
    with subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stderr=stderr,
        bufsize=0,
        start_new_session=True,  # the terminal's Ctrl-C would end Docker's client alone, and here the job at once
    ) as job:
        Thread(target=_copy_errors, args=(job,), daemon=True).start()
        try:
            return job.wait()
        except KeyboardInterrupt as stopped:
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                _send(job, signal.SIGINT)
                job.wait(timeout=STOP_S)
            _send(job, signal.SIGKILL)
            return signals.exit_code(stopped)


def _copy_errors(job: subprocess.Popen[bytes]) -> None:
    for line in job.stderr or ():
        if not line.startswith(REMARK):
            sys.stderr.write(line.decode(errors="replace"))
            sys.stderr.flush()


def _send(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert job.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(BrokenPipeError):  # it has ended
        job.stdin.write(f"{number.name}\n".encode())
