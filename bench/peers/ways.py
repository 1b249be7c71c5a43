"""The ways to do the job that are measured, and the command of each."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from base.paths import CACHE, ROOT
from bench import job, photos
from launch import java, lite0, model

LOCK = Path(__file__).parent / "requirements.lock"


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to do the job.

    Attributes:
        key: its row in bench/pages/peers.py.
        run: from photographs to a folder for its results; returns the seconds.
        features: where its features are, below that folder.
        beside: the key of ours that it is compared with: that of the same model file.
        near: its decoding is its own, so its features are near and not equal.
    """

    key: str
    run: Callable[[Path, Path], float]
    features: str = "."
    beside: str = "emrlab"
    near: bool = False


def make(folder: Path) -> list[Way]:
    """All ways, ours of each model first; builds what they take before anything is timed. `folder` is for an ONNX file.

    Raises:
        ModelError: a model file cannot be built.
        CalledProcessError: the peers' environment cannot be made.
    """
    python, size, cores = environment(), str(job.IMAGE_SIZE), str(os.cpu_count() or 1)
    floats, integers = (
        str(
            model.build(
                name, weights=None, image_size=job.IMAGE_SIZE, cache=CACHE / "models", images=photos.sources()[:16]
            ).path
        )
        for name in ("lite0", model.INT8)
    )
    onnx = str(folder / "lite0.onnx")
    subprocess.run([python, "-m", "bench.peers.onnx_model", lite0.checkpoint(), size, onnx], cwd=ROOT, check=True)

    def ours(name: str) -> Callable[[Path, Path], float]:
        return lambda photographs, target: job.run(photographs, target, model=name).saved_s

    def engine(module: str, *arguments: str) -> Callable[[Path, Path], float]:
        return lambda photographs, target: _seconds(
            [str(python), "-m", f"bench.peers.{module}", arguments[0], str(photographs), str(target), *arguments[1:]]
        )

    def notebook(*model_file: str) -> Callable[[Path, Path], float]:
        return lambda photographs, target: _seconds(
            [sys.executable, "-m", "bench.peers.notebook", str(photographs), str(target), size, cores, *model_file]
        )

    return [
        Way(key="emrlab", run=ours("lite0"), features="features"),
        Way(key="emrlab-int8", run=ours(model.INT8), features="features", beside="emrlab-int8"),
        Way(key="daft", run=engine("daft_frame", floats, cores)),
        Way(key="daft-int8", run=engine("daft_frame", integers, cores), beside="emrlab-int8"),
        Way(key="daft-own", run=engine("daft_own", onnx, size, cores), near=True),
        Way(key="ray", run=engine("ray_data", floats, cores)),
        Way(key="ray-int8", run=engine("ray_data", integers, cores), beside="emrlab-int8"),
        Way(key="ray-own", run=engine("ray_own", onnx, size, cores), near=True),
        Way(key="notebook", run=notebook()),
        Way(key="notebook-int8", run=notebook(integers), beside="emrlab-int8"),
    ]


def environment() -> Path:
    """The peers' own Python, with what the lock says."""
    uv, python = ROOT / ".venv" / "bin" / "uv", CACHE / "peers" / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, CACHE / "peers"], check=True)
    packages = ["--require-hashes", "--compile-bytecode", str(LOCK)]
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, *packages], check=True)
    return python


def version(package: str) -> str:
    """The version of a package in the peers' environment."""
    question = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([environment(), "-c", question], capture_output=True, text=True, check=True).stdout.strip()


def _seconds(command: list[str]) -> float:
    """Run a process and tell its seconds.

    Raises:
        RuntimeError: it failed.
    """
    settings = {"PYSPARK_PYTHON": sys.executable, "JAVA_HOME": str(java.find().resolve().parent.parent)}
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[2]}: exit code {done.returncode}: {done.stderr[-500:]}")
    return time.monotonic() - started
