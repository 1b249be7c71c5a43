"""Submits the job: one spark-submit argument list, run where the target says."""

from __future__ import annotations

import codecs
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO, TextIO

from base import command_line, compose, paths
from base.spark_conf import Setting
from launch import docker_lab, driver, java, signal_relay
from launch.package import Package
from pipeline import signals
from pipeline.settings import REASON

GATEWAY = "pyspark-shell"  # in the place of the job's main: a JVM that waits for Python to come
RELAY = Path(signal_relay.__file__).read_text()
STOP_S = 15.0
TAIL_BYTES, BLOCK_BYTES = 2**16, 2**16
# For the driver, which shares this machine's cores with the workers; see java.environment.
ONE_THREAD = "OPENBLAS_NUM_THREADS=1"
REMARK = b"WARNING: Using incubator modules"  # Java's on every start of Spark 4.1; nobody can do anything about it


def arguments(
    main: Path | str,
    *,
    job_args: Sequence[str],
    conf: Iterable[Setting],
    name: str = "emrlab",
    archive: Path | str | None = None,
    jars: Sequence[Path | str] = (),
    files: Sequence[Path | str] = (),
    main_class: str | None = None,
) -> list[str]:
    """What follows `spark-submit`, on every target: `main` takes `job_args`; the rest is as of `Job`."""
    args = ["--name", name]
    if archive:
        args += ["--py-files", str(archive)]
    if jars:
        args += ["--jars", ",".join(map(str, jars))]
    if main_class:
        args += ["--class", main_class]
    # --files brings YARN's files to the tasks alone; by the setting SparkFiles.get finds them on the driver, too.
    named = [Setting("spark.files", ",".join(map(str, files)), "files of the job, for SparkFiles.get")] if files else []
    return [*args, *conf_arguments([*conf, *named]), str(main), *job_args]


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
    """What runs the image pipeline on this machine's own Spark, its Python and its JVM started beside each other.

    Args:
        package: the job, a Python program.
        job_args: for its main.
        conf: Spark's settings.
        cache: where the archive of Java's classes may lie.
        jars: for Spark's class path.
        verbose: Spark's messages, too.

    Raises:
        JavaError: there is no Java that Spark runs on.
    """
    args = arguments(GATEWAY, archive=package.archive, job_args=[], conf=conf, jars=jars)
    jvm = java.driver_command(args, conf=conf, cache=cache, verbose=verbose)
    environment = java.environment(conf)
    path = [*filter(None, [str(package.archive or ""), environment.get("PYTHONPATH")])]
    # -P: this package's modules are none of the job's.
    return Command(
        [sys.executable, "-P", driver.__file__, str(package.main), *job_args],
        environment | {driver.COMMAND: json.dumps(jvm), "PYTHONPATH": os.pathsep.join(path)},
    )


def local_by_spark(
    args: Sequence[str],
    *,
    conf: Sequence[Setting],
    cache: Path,
    env: Mapping[str, str],
    packages: Path | None = None,
    verbose: bool = False,
) -> Command:
    """What runs a job on this machine's own Spark as spark-submit does it: a jar, or any Python program.

    Args:
        args: as `arguments` makes them.
        conf: Spark's settings, once more.
        cache: where the archive of Java's classes may lie.
        env: variables of the job.
        packages: folder of the Python packages that it asks for, which come before this machine's.
        verbose: Spark's messages, too.

    Raises:
        JavaError: there is no Java that Spark runs on.
    """
    environment = java.environment(conf)
    own = environment.get("PYTHONPATH", "").split(os.pathsep)
    # This package's modules are none of the job's.
    path = [str(packages or ""), *(each for each in own if each and Path(each) != paths.ROOT)]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    return Command(java.driver_command(args, conf=conf, cache=cache, verbose=verbose), environment | dict(env))


def run_local(command: Command, *, tail: Tail | None = None) -> int:
    """Run the job as `local` has it and wait for its end. Returns its exit code.

    Ctrl-C, SIGTERM and SIGHUP end it, a second Ctrl-C at once: 130, 143, 129. However else this process ends, the job
    ends too: the relay's stdin does.

    Args:
        command: of the job.
        tail: keeps what it wrote last.
    """
    # -I and -S: what it needs is the standard library, and it is there 20 ms earlier.
    words = [sys.executable, "-I", "-S", "-c", RELAY, *command.words]
    return _run(words, env=command.environment, tail=tail)


def run_lab(
    args: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    tail: Tail | None = None,
) -> int:
    """Run the job on the lab's master and wait for its end; how it ends, and what is returned, as of `run_local`.

    Args:
        args: of spark-submit.
        env: variables of the job.
        secrets: names of variables of this machine, whose values stand in no command line.
        tail: keeps what it wrote last.
    """
    variables = [f"{name}={value}" for name, value in (env or {}).items()]
    relayed = ["env", ONE_THREAD, *variables, "python3", "-c", RELAY, "spark-submit", *args]
    command = compose.exec_command(docker_lab.MASTER, relayed, variables=secrets)
    return _run(command, cwd=paths.LAB, stderr=subprocess.PIPE, tail=tail)


class Tail:
    """The last of what a job writes, however much that is.

    Attributes:
        was_killed: it was asked to end and did not.
    """

    def __init__(self) -> None:
        self._kept = b""
        self.was_killed = False

    def add(self, block: bytes) -> None:
        """Take what was written."""
        self._kept = (self._kept + block)[-TAIL_BYTES:]

    def text(self) -> str:
        """What is kept."""
        return self._kept.decode(errors="replace")


def _run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stderr: int | None = None,
    tail: Tail | None = None,
) -> int:
    with subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if tail else None,
        stderr=stderr or (subprocess.PIPE if tail else None),
        bufsize=0,
        start_new_session=True,  # the terminal's Ctrl-C would end Docker's client alone, and here the job at once
    ) as job:
        copies = [_Copy(job.stderr, sys.stderr, tail, dropped=REMARK)] if job.stderr else []
        if job.stdout:
            copies.append(_Copy(job.stdout, sys.stdout, tail))
        for copy in copies:
            copy.start()
        try:
            code = job.wait()
            for copy in copies:
                copy.finish()
        except KeyboardInterrupt as stopped:
            try:
                _send(job, signal.SIGINT)
                job.wait(timeout=STOP_S)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                if tail:
                    tail.was_killed = True
            _send(job, signal.SIGKILL)
            return signals.exit_code(stopped)
        else:
            return code


class _Copy(Thread):
    """Hands on what a job writes, as it comes; where nobody takes it any more, the job goes on all the same.

    Args:
        source: the job's end of a pipe.
        sink: who takes it.
        tail: keeps what was written last.
        dropped: beginning of a line that is not handed on.
    """

    def __init__(self, source: IO[bytes], sink: TextIO, tail: Tail | None, *, dropped: bytes = b"") -> None:
        super().__init__(daemon=True)
        self._source, self._sink, self._tail, self._dropped = source, sink, tail, dropped
        self._is_idle = False

    def run(self) -> None:
        """To the end of the pipe."""
        decoder, is_taken = codecs.getincrementaldecoder("utf-8")("replace"), True
        blocks = self._blocks()
        for block in _without(self._dropped, blocks) if self._dropped else blocks:
            if self._tail:
                self._tail.add(block)
            if is_taken:
                is_taken = command_line.write(decoder.decode(block), self._sink)

    def finish(self) -> None:
        """When the job has ended, wait until all is taken, by a pager perhaps, in which somebody reads; but not for a
        process that the job left behind, which holds the pipe and says nothing.
        """
        while self.is_alive():
            self.join(STOP_S)
            if self._is_idle:
                return

    def _blocks(self) -> Iterator[bytes]:
        block = b"."
        while block:
            self._is_idle = True
            block = os.read(self._source.fileno(), BLOCK_BYTES)
            self._is_idle = False
            if block:
                yield block


def _without(beginning: bytes, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks without lines of this beginning. Else nothing waits for a line's end: progress has none."""
    held, is_new = b"", True
    for block in blocks:
        kept, lines, held = list[bytes](), (held + block).splitlines(keepends=True), b""
        for line in lines:
            is_whole = line.endswith((b"\n", b"\r"))
            if is_new and not is_whole and (beginning.startswith(line) or line.startswith(beginning)):
                held = line
            elif not (is_new and line.startswith(beginning)):
                kept.append(line)
                is_new = is_whole
        if kept:
            yield b"".join(kept)
    if held and not held.startswith(beginning):
        yield held


def _send(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert job.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(BrokenPipeError):  # it has ended
        job.stdin.write(f"{number.name}\n".encode())
