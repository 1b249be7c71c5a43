"""The model as the peers without Spark call it: the job's own decoding and runtime, so that only the engines differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.decoding import decode
from pipeline.runtime import Runtime


class Model:
    """One LiteRT interpreter on one thread, as an engine's worker keeps it."""

    def __init__(self, path: str) -> None:
        self._runtime = Runtime(Path(path).read_bytes())

    def features(self, contents: Sequence[bytes]) -> NDArray[np.float32]:
        """float32 (n, d) of n image files."""
        step = self._runtime.batch
        squares = [decode(content, size=self._runtime.size) for content in contents]
        return np.concatenate([self._runtime.infer(squares[at : at + step]) for at in range(0, len(squares), step)])
