"""Daft: `python -m bench.peers.daft_frame MODEL FOLDER OUTPUT CORES`."""

from __future__ import annotations

import sys
from typing import Any

import daft
from daft import DataType, Series

from bench.peers.model import Model


class Features:
    """What a process of the engine keeps between its batches."""

    def __init__(self, model: str) -> None:
        self._model = Model(model)

    @daft.method.batch(return_dtype=DataType.list(DataType.float32()), batch_size=64)  # type: ignore[untyped-decorator]
    def of(self, contents: Series) -> Any:
        """Features of a batch of files."""
        return list(self._model.features(contents.to_pylist()))


def main(model: str, folder: str, output: str, *, cores: int) -> None:
    """Features of every file below `folder`, as parquet in `output`."""
    features = daft.cls(Features, max_concurrency=cores, use_process=True)(model)
    files = daft.from_glob_path(f"{folder}/*/*.jpg")
    content = daft.col("path").download()
    files.select("path", features.of(content).alias("features")).write_parquet(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], cores=int(sys.argv[4]))
