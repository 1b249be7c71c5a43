"""Runs the job as a user does, and watches the memory of its driver."""

from __future__ import annotations

import json
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
    """A command that ended well: wall seconds, peak MiB of its driver and of its largest worker, and output."""

    wall_s: float
    driver_mib: float
    worker_mib: float
    printed: str


@dataclass(frozen=True)
class Ran:
    """One run: wall seconds with start-up, its record (run.json), and peak memory of the driver in MiB.

    The driver is the JVM and the Python process that runs main.py; the worker processes are not counted.
    """

    wall_s: float
    record: dict[str, Any]
    driver_mib: float

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
    return Ran(watched.wall_s, json.loads((output / "run.json").read_text()), watched.driver_mib)


def watch(
    command: Sequence[str], *, script: str = "driver.py", environment: Mapping[str, str] | None = None
) -> Watched:
    """Run a command that starts Spark, and watch its driver, whose Python runs `script`, and what else it starts.

    Raises:
        RuntimeError: the command failed.
    """
    started, peaks, workers = time.monotonic(), dict[int, float](), dict[int, float]()
    with (
        tempfile.TemporaryFile("w+") as printed,
        subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=environment) as process,
    ):
        while process.poll() is None:
            driver = _driver(process.pid, script.encode())
            for pid in driver:
                peaks[pid] = max(peaks.get(pid, 0.0), _peak_mib(pid))
            for pid in set(_descendants(process.pid)).difference(driver):
                workers[pid] = max(workers.get(pid, 0.0), _peak_mib(pid))
            time.sleep(POLL_S)
        wall_s = time.monotonic() - started
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed: {text.splitlines()[-1:] or process.returncode}")
    return Watched(wall_s, sum(peaks.values()), max(workers.values(), default=0.0), text)


def _driver(root: int, script: bytes) -> list[int]:
    """The JVM and the Python that runs `script`, `root` or below it; Linux only."""
    return [pid for pid in (root, *_descendants(root)) if _is_driver(_read(pid, "cmdline").split(b"\0"), script)]


def _is_driver(command: list[bytes], script: bytes) -> bool:
    program, *arguments = command
    first = next((argument for argument in arguments if not argument.startswith(b"-")), b"")
    name = program.rpartition(b"/")[2]
    return name == b"java" or (name.startswith(b"python") and first.endswith(script))


def _descendants(pid: int) -> Iterator[int]:
    for child in map(int, _read(pid, f"task/{pid}/children").split()):
        yield child
        yield from _descendants(child)


def _peak_mib(pid: int) -> float:
    lines = _read(pid, "status").decode().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
