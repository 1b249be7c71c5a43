"""Daft as its users write it, with its own decoding: `python -m bench.peers.daft_own MODEL FOLDER OUTPUT SIZE CORES`.

As in Daft's guides to images and batch inference (docs.daft.ai): its own expressions download, decode and resize, a
class holds the model.
"""

from __future__ import annotations

import sys
from typing import Any

import daft
import numpy as np
from daft import DataType, Series

from bench.peers.onnx_model import Model


class Features:
    """What a process of the engine keeps between its batches."""

    def __init__(self, model: str) -> None:
        self._model = Model(model)

    @daft.method.batch(return_dtype=DataType.list(DataType.float32()), batch_size=64)  # type: ignore[untyped-decorator]
    def of(self, pictures: Series) -> Any:
        """Features of a batch of pictures."""
        return list(self._model.features(np.stack(pictures.to_pylist())))


def main(model: str, folder: str, output: str, *, size: int, cores: int) -> None:
    """Features of every file below `folder`, as parquet in `output`; pictures of `size` x `size` to the model."""
    features = daft.cls(Features, max_concurrency=cores, use_process=True)(model)
    files = daft.from_glob_path(f"{folder}/*/*.jpg")
    pictures = daft.col("path").download().decode_image(mode="RGB").resize(size, size)
    files.select("path", features.of(pictures).alias("features")).write_parquet(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], size=int(sys.argv[4]), cores=int(sys.argv[5]))
