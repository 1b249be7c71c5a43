"""The model's runtime: LiteRT. RGB squares -> features, in batches that suit a core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

# Pixels in one call of the model, and images at most. Small images go eight at a time: one alone leaves the late layers
# too small for the vector units. At 224 x 224 one alone is fastest: its layers stay in the cache.
BATCH_PIXELS, BATCH_IMAGES = 80_000, 8


class Runtime:
    """LiteRT on one thread, as a task slot is one core.

    Attributes:
        size: edge of the input in pixels.
        features: number of features d.
        batch: images in one call, at most.
    """

    def __init__(self, content: bytes) -> None:
        """Raises ValueError where `content` is no model from uint8 (n, s, s, 3) to float32 (n, d)."""
        with _quiet():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            takes, gives = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            shape, out = takes[0]["shape"], gives[0]["shape"]
            if (
                len(takes) != 1
                or takes[0]["dtype"] != np.uint8
                or len(shape) != 4
                or shape[1] != shape[2]
                or shape[3] != 3
            ):
                raise ValueError(f"it takes {takes[0]['dtype'].__name__} {tuple(shape)}, not uint8 RGB squares")
            if len(gives) != 1 or gives[0]["dtype"] != np.float32 or len(out) != 2:
                raise ValueError(f"it gives {gives[0]['dtype'].__name__} {tuple(out)}, not a row of float32 features")
            self.size, self.features = int(shape[1]), int(out[1])
            self._input, self._output = takes[0]["index"], gives[0]["index"]
            self.batch = max(1, min(BATCH_IMAGES, BATCH_PIXELS // self.size**2))
            self._interpreter.resize_tensor_input(self._input, [self.batch, self.size, self.size, 3])
            self._interpreter.allocate_tensors()
        self._pixels = np.zeros((self.batch, self.size, self.size, 3), np.uint8)

    def infer(self, squares: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features, float32 (n, d), of n <= `batch` images. The batch is filled up with what was in it: every image is
        computed alone, whatever its neighbours are."""
        for place, square in enumerate(squares):
            self._pixels[place] = square
        self._interpreter.set_tensor(self._input, self._pixels)
        self._interpreter.invoke()
        features: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return features[: len(squares)]


@contextmanager
def _quiet() -> Iterator[None]:
    """LiteRT announces its delegate on stderr from C++; nothing in Python can stop it."""
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
