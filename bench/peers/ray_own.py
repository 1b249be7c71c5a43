"""Ray Data as its users write it, with its own decoding.

As in Ray's guides "Working with Images" and "Offline Batch Inference" (docs.ray.io): read_images, then a class that
holds the model. `python -m bench.peers.ray_own MODEL FOLDER OUTPUT SIZE CORES`.
"""

from __future__ import annotations

import sys
from typing import Any

import ray

from bench.peers.onnx_model import Model


class Features:
    """What an actor keeps between its batches."""

    def __init__(self, model: str) -> None:
        self._model = Model(model)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Path and features of a batch of pictures."""
        return {"path": batch["path"], "features": self._model.features(batch["image"])}


def main(model: str, folder: str, output: str, *, size: int, cores: int) -> None:
    """Features of every file below `folder`, as parquet in `output`; pictures of `size` x `size` to the model."""
    ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    pictures = ray.data.read_images(folder, size=(size, size), mode="RGB", include_paths=True, file_extensions=["jpg"])
    actors = ray.data.ActorPoolStrategy(size=cores)
    features = pictures.map_batches(Features, fn_constructor_args=[model], compute=actors, batch_size=64, num_cpus=0.5)
    features.write_parquet(output)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], size=int(sys.argv[4]), cores=int(sys.argv[5]))
