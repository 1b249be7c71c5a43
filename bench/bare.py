"""The peer with no engine at all: the model run by one process a core, each on its share of the files.

It decodes and infers with the job's own code, and keeps the features in memory: what it does not do is what an engine
adds. `python -m bench.bare MODEL FOLDER PROCESSES` prints images and seconds.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import numpy as np

from pipeline.decoding import decode
from pipeline.runtime import Runtime

READY_S = 120.0
_runtimes: list[Runtime] = []  # of a process, one


def build(model: str, ready: Barrier) -> None:
    """Give the process its model, and wait until every other has its own."""
    _runtimes.append(Runtime(Path(model).read_bytes()))
    ready.wait(READY_S)


def share(files: list[str]) -> int:
    """Features of `files`; returns how many there are."""
    (runtime,) = _runtimes
    features = []
    for start in range(0, len(files), runtime.batch):
        squares = [decode(Path(file).read_bytes(), size=runtime.size) for file in files[start : start + runtime.batch]]
        features.append(runtime.infer(squares))
    return len(np.concatenate(features))


def main(model: str, folder: str, processes: int) -> None:
    """Print `{"images": …, "seconds": …, "model_seconds": …}`.

    The seconds are those from the listing to the last feature, and those since every process has its model.
    """
    started = time.monotonic()
    files, context = sorted(map(str, Path(folder).glob("*/*.jpg"))), get_context("spawn")
    ready = context.Barrier(processes + 1)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=build, initargs=(model, ready)) as pool:
        counts = pool.map(share, [files[start::processes] for start in range(processes)])
        ready.wait(READY_S)
        built, done = time.monotonic(), sum(counts)
        ended = time.monotonic()
    seconds = {"seconds": ended - started, "model_seconds": ended - built}
    sys.stdout.write(json.dumps({"images": done, **seconds}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
