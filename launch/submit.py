"""Submits the job: one spark-submit argument list, run where the target says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread

from launch import attend, cluster, java
from launch.targets import Setting
from pipeline.settings import REASON, Settings

STOP_S = 15.0
# For the driver, which shares this machine's cores with the workers; see java.environment.
ONE_THREAD = "OPENBLAS_NUM_THREADS=1"
REMARK = b"WARNING: Using incubator modules"  # Java's on every start of Spark 4.1; nobody can do anything about it


def arguments(
    archive: Path | str, main: Path | str, *, settings: Settings, conf: Iterable[Setting], jars: Sequence[Path] = ()
) -> list[str]:
    """What follows `spark-submit`, on every target: `archive` is the zipped package, `main` starts it."""
    args = ["--name", "emrlab", "--py-files", str(archive)]
    if jars:
        args += ["--jars", ",".join(map(str, jars))]
    return [*args, *conf_arguments(conf), str(main), *settings.to_args()]


def conf_arguments(conf: Iterable[Setting]) -> list[str]:
    """The settings and, for the report, their reasons."""
    pairs = [
        pair for setting in conf for pair in ((setting.key, setting.value), (REASON + setting.key, setting.reason))
    ]
    return [arg for key, value in pairs for arg in ("--conf", f"{key}={value}")]


def run_local(args: Sequence[str], conf: Iterable[Setting], *, cache: Path, verbose: bool) -> int:
    """Run the job on this machine's own Spark and wait for its end; Ctrl-C ends it. Returns its exit code.

    Raises:
        JavaError: there is no Java that Spark runs on.
    """
    memory = next(setting.value for setting in conf if setting.key == "spark.driver.memory")
    archive = java.archive_path(cache)
    command = java.command(args, memory=memory, archive=archive if archive.exists() else None, verbose=verbose)
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


def run_lab(args: Sequence[str]) -> int:
    """Run the job on the lab's master and wait for its end. Returns its exit code.

    Ctrl-C ends it, a second one at once. However else this process ends, the job there ends too: its stdin does.
    """
    attended = ["env", ONE_THREAD, "python3", "-c", Path(attend.__file__).read_text(), "spark-submit", *args]
    with subprocess.Popen(
        cluster.exec_command(cluster.MASTER, attended),
        cwd=cluster.ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # the terminal's Ctrl-C would end Docker's client alone
    ) as job:
        Thread(target=_copy_errors, args=(job,), daemon=True).start()
        try:
            return job.wait()
        except KeyboardInterrupt:
            with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
                _send(job, signal.SIGINT)
                job.wait(timeout=STOP_S)
            _send(job, signal.SIGKILL)
            return 130


def _copy_errors(job: subprocess.Popen[bytes]) -> None:
    for line in job.stderr or ():
        if not line.startswith(REMARK):
            sys.stderr.write(line.decode(errors="replace"))
            sys.stderr.flush()


def _send(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert job.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(BrokenPipeError):  # it has ended
        job.stdin.write(f"{number.name}\n".encode())
