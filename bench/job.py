"""Runs the job as a user does, and watches the memory that it takes; Linux only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE_SIZE = 100
POLL_S = 0.1


@dataclass(frozen=True)
class Watched:
    """A command that ended well.

    Attributes:
        wall_s: its seconds.
        driver_mib: peak memory of its driver.
        worker_mib: that of its largest worker.
        elsewhere: part of the cores' time that other processes took meanwhile, and other machines on this hardware.
        printed: its output.
    """

    wall_s: float
    driver_mib: float
    worker_mib: float
    elsewhere: float
    printed: str


@dataclass(frozen=True)
class Ran:
    """One run: its record (run.json), and how it was watched: `wall_s` with start-up.

    The driver is the JVM and the Python process that runs main.py; the worker processes are not counted.
    """

    record: dict[str, Any]
    watched: Watched

    @property
    def wall_s(self) -> float:
        """Wall seconds, with start-up."""
        return self.watched.wall_s

    @property
    def driver_mib(self) -> float:
        """Peak memory of the driver."""
        return self.watched.driver_mib

    @property
    def extract_s(self) -> float:
        """Seconds of the extraction."""
        return float(self.record["seconds"]["extract"])

    @property
    def after_s(self) -> float:
        """Seconds of the stages after the extraction."""
        seconds: dict[str, float] = self.record["seconds"]
        stages = list(seconds)
        return sum(seconds[stage] for stage in stages[stages.index("extract") + 1 :])

    @property
    def saved_s(self) -> float:
        """From the command to the last feature saved; publishing counts in, too."""
        return self.wall_s - self.after_s + float(self.record["seconds"].get("publish", 0))


def run(photos: Path, output: Path, *, model: str = "lite0", image_size: int = IMAGE_SIZE) -> Ran:
    """Run the job as `python -m launch run` does and watch it; the model file must be built.

    Raises:
        RuntimeError: the run failed.
    """
    command = [sys.executable, "-m", "launch", "run", "--input", str(photos), "--output", str(output)]
    watched = watch([*command, "--model", model, "--image-size", str(image_size)])
    return Ran(json.loads((output / "run.json").read_text()), watched)


def watch(
    command: Sequence[str], *, script: str = "driver.py", environment: Mapping[str, str] | None = None
) -> Watched:
    """Run a command that starts Spark, and watch its driver, whose Python runs `script`, and what else it starts.

    Raises:
        RuntimeError: the command failed.
    """
    started, busy_s = time.monotonic(), _busy_s()
    peaks, workers, cpu_s = dict[int, float](), dict[int, float](), dict[int, float]()
    with (
        tempfile.TemporaryFile("w+") as printed,
        subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        while process.poll() is None:
            for pid in (process.pid, *_descendants(process.pid)):
                is_driver = _is_driver(_read(pid, "cmdline").split(b"\0"), script.encode())
                if is_driver and _is_forked(pid):
                    continue
                of_kind = peaks if is_driver else workers
                of_kind[pid] = max(of_kind.get(pid, 0.0), _peak_mib(pid))
                cpu_s[pid] = max(cpu_s.get(pid, 0.0), _cpu_s(pid))
            time.sleep(POLL_S)
        wall_s, elsewhere_s = time.monotonic() - started, _busy_s() - busy_s - sum(cpu_s.values())
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed: {text.splitlines()[-1:] or process.returncode}")
    return Watched(
        wall_s=wall_s,
        driver_mib=sum(peaks.values()),
        worker_mib=max(workers.values(), default=0.0),
        elsewhere=max(0.0, elsewhere_s / wall_s / (os.cpu_count() or 1)),
        printed=text,
    )


def _is_driver(command: list[bytes], script: bytes) -> bool:
    """Whether it is the JVM, or the Python that runs `script`."""
    program, *arguments = command
    first = next((argument for argument in arguments if not argument.startswith(b"-")), b"")
    name = program.rpartition(b"/")[2]
    return name == b"java" or (name.startswith(b"python") and first.endswith(script))


def _is_forked(pid: int) -> bool:
    """Whether it still is what started it: a JVM that starts a program is there twice for a moment."""
    parent = _read(pid, "stat").rpartition(b")")[2].split()[1:2]
    return bool(parent) and _read(int(parent[0]), "cmdline") == _read(pid, "cmdline")


def _descendants(pid: int) -> Iterator[int]:
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):  # a process is the child of the thread that started it
        for child in map(int, _read(pid, f"task/{thread.name}/children").split()):
            yield child
            yield from _descendants(child)


def _peak_mib(pid: int) -> float:
    lines = _read(pid, "status").decode().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _cpu_s(pid: int) -> float:
    """What a process has had, by fields 14 and 15 of proc_pid_stat(5)."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _busy_s() -> float:
    """What all processes have had, and what this machine was not given: all of proc_stat(5) but idle and iowait."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
