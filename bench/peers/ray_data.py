"""Ray Data: `python -m bench.peers.ray_data MODEL FOLDER OUTPUT CORES`."""

from __future__ import annotations

import sys
from typing import Any

import ray

from bench.peers.model import Model


class Features:
    """What an actor keeps between its batches."""

    def __init__(self, model: str) -> None:
        self._model = Model(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Path and features of a batch of files."""
        return {"path": batch["path"], "features": self._model.features(batch["bytes"])}


def main(model: str, folder: str, output: str, *, cores: int) -> None:
    """Features of every file below `folder`, as parquet in `output`."""
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    files = ray.data.read_binary_files(folder, include_paths=True, file_extensions=["jpg"])
    actors = ray.data.ActorPoolStrategy(size=cores)
    features = files.map_batches(Features, fn_constructor_args=[model], compute=actors, batch_size=64, num_cpus=0.5)
    features.write_parquet(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], cores=int(sys.argv[4]))
