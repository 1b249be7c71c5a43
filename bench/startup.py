"""What Spark's start costs: a session and a first Python job, plain pyspark beside ours, in turns.

`python -m bench.startup [PAIRS]` prints a table. Seconds are from the start of the process to the end of the first job;
CPU seconds are those of all processes to their end, and are counted on Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import median

from base.paths import CACHE, ROOT
from launch import image_job, java, package, submit, targets

JOB = Path(__file__).parent / "first_job.py"
TIMEOUT_S = 300
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Start:
    """One start, in seconds: to the session, to the end of the first job, and on all processors to the end of all."""

    session_s: float
    job_s: float
    cpu_s: float


@dataclass(frozen=True)
class Startup:
    """Starts in pairs: `plain[n]` and `ours[n]` ran one after the other."""

    plain: tuple[Start, ...]
    ours: tuple[Start, ...]

    @property
    def plain_s(self) -> float:
        """Seconds from the start of plain pyspark to the end of its first job, the median."""
        return median(start.job_s for start in self.plain)

    @property
    def ours_s(self) -> float:
        """The same of ours."""
        return median(start.job_s for start in self.ours)

    def table(self) -> str:
        """Medians and their ratios, as Markdown."""
        plain, ours = (
            [median(figures) for figures in zip(*map(astuple, starts), strict=True)]
            for starts in (self.plain, self.ours)
        )
        rows = {"plain pyspark": plain, "emrlab": ours, "ratio": [b / a for a, b in zip(plain, ours, strict=True)]}
        lines = [f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |" for name, figures in rows.items()]
        head = [f"| median of {len(self.ours)} | session s | first job s | CPU s |", "|---|---|---|---|"]
        return "\n".join([*head, *lines]) + "\n"


def measure(pairs: int, *, cache: Path = CACHE) -> Startup:
    """Start both in turns, after one start of each that does not count.

    Raises:
        JavaError: there is no Java that Spark runs on.
        RuntimeError: a start failed.
    """
    java.make_archive(cache)
    job = replace(package.build(image_job.ENTRY, [image_job.PACKAGE], cache=cache), main=JOB)
    ours = submit.local(
        job, job_args=[], conf=targets.local([], {"spark.master": "local[2]"}, own=targets.IMAGES), cache=cache
    )
    plain = [sys.executable, str(JOB)]
    # The same Java and the same Python; all else as pyspark sets it.
    environment = {
        **os.environ,
        "JAVA_HOME": str(java.find().resolve().parent.parent),
        "PYSPARK_PYTHON": sys.executable,
    }

    def pair() -> tuple[Start, Start]:
        return start(plain, environment), start(ours.words, ours.environment)

    pair()
    measured = [pair() for _ in range(pairs)]
    return Startup(tuple(first for first, _ in measured), tuple(second for _, second in measured))


def start(command: Sequence[str], environment: Mapping[str, str]) -> Start:
    """What a start of `command` took, which prints what bench/first_job.py prints.

    Raises:
        RuntimeError: it failed.
    """
    watched = [sys.executable, "-m", "bench.startup", "--watch", *command]
    done = subprocess.run(  # the watcher's own environment is this process's: it imports this checkout
        watched,
        cwd=ROOT,
        input=json.dumps(dict(environment)),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} … {command[-1]}: exit code {done.returncode}: {done.stderr[-500:]}")
    return Start(**json.loads(done.stdout))


def _watch(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` and print its Start. In a process of its own: it takes on all that the command leaves behind."""
    if sys.platform == "linux":  # pyspark does not wait for its JVM, whose time would be lost
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before_s, started_s = sum(_cpu_s()), time.monotonic()
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    with suppress(ChildProcessError):
        while True:
            os.wait()
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        return done.returncode
    _, session_s, job_s = map(float, done.stdout.split())
    sys.stdout.write(json.dumps(vars(Start(session_s - started_s, job_s - started_s, sum(_cpu_s()) - before_s))))
    return 0


def _cpu_s() -> Iterator[float]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield from (usage.ru_utime, usage.ru_stime)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--watch"]:
        sys.exit(_watch(sys.argv[2:], json.load(sys.stdin)))
    sys.stdout.write(measure(int(sys.argv[1]) if sys.argv[1:] else 3).table())
