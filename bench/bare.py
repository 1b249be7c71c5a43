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

import numpy as np

from pipeline.decoding import decode
from pipeline.runtime import Runtime


def share(model: str, files: list[str]) -> int:
    """Features of `files`; returns how many there are."""
    runtime = Runtime(Path(model).read_bytes())
    features = []
    for start in range(0, len(files), runtime.batch):
        squares = [decode(Path(file).read_bytes(), size=runtime.size) for file in files[start : start + runtime.batch]]
        features.append(runtime.infer(squares))
    return len(np.concatenate(features))


def main(model: str, folder: str, processes: int) -> None:
    """Print `{"images": …, "seconds": …}`: from the listing to the last feature."""
    started = time.monotonic()
    files = sorted(map(str, Path(folder).glob("*/*.jpg")))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        done = sum(pool.map(share, [model] * processes, [files[start::processes] for start in range(processes)]))
    sys.stdout.write(json.dumps({"images": done, "seconds": time.monotonic() - started}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
