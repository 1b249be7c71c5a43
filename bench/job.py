"""Runs the job as a user does, and watches the memory of its driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE_SIZE = 100
POLL_S = 0.1


@dataclass(frozen=True)
class Ran:
    """One run: wall seconds with start-up, seconds of each stage, and peak memory of the driver in MiB.

    The driver is the JVM and the Python process that it starts; the worker processes are not counted.
    """

    wall_s: float
    stages_s: dict[str, float]
    driver_mib: float

    @property
    def saved_s(self) -> float:
        """From the command to the last feature saved; publishing counts in, too."""
        return self.wall_s - sum(self.stages_s[stage] for stage in ("reduce", "classify", "report"))


def run(photos: Path, output: Path, *, model: str = "lite0") -> Ran:
    """`python -m launch run`; the model file must be built.

    Raises:
        RuntimeError: the run failed.
    """
    command = [sys.executable, "-m", "launch", "run", "--input", str(photos), "--output", str(output)]
    started, peaks = time.monotonic(), dict[int, float]()
    with subprocess.Popen(
        [*command, "--model", model, "--image-size", str(IMAGE_SIZE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            for pid in _driver(process.pid):
                peaks[pid] = max(peaks.get(pid, 0.0), _peak_mib(pid))
            time.sleep(POLL_S)
        wall_s = time.monotonic() - started
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"the run on {photos} failed: {said.splitlines()[-1]}")
    record: dict[str, Any] = json.loads((output / "run.json").read_text())
    return Ran(wall_s, record["seconds"], sum(peaks.values()))


def _driver(launcher: int) -> list[int]:
    """The JVM below the attendant that the launcher started, and the Python that runs main.py below it; Linux only."""
    jvms = [jvm for attendant in _children(launcher) for jvm in _children(attendant)]
    return jvms + [pid for jvm in jvms for pid in _children(jvm) if b"main.py" in _read(pid, "cmdline")]


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()] if pid else []


def _peak_mib(pid: int) -> float:
    lines = _read(pid, "status").decode().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
