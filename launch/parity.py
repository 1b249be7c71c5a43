"""Compares a LiteRT file with the Keras model that it was converted from, on pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from launch.lite0 import ModelError, one_line

if TYPE_CHECKING:
    import keras

PARITY_LIMIT = 1e-3
# An int8 model's features are others than its source's; pointing elsewhere than this they would be of no use.
INT8_COSINE = 0.9
PARITY_IMAGES = 16

logger = logging.getLogger(__name__)


def read_pictures(images: Sequence[Path], *, image_size: int) -> NDArray[np.uint8]:
    """Decode up to 16 pictures from all over the list: uint8 RGB [n, S, S, 3].

    Raises:
        ModelError: none decodes.
    """
    step = max(1, len(images) // PARITY_IMAGES)
    pictures: list[NDArray[np.uint8]] = []
    for path in (path for start in range(step) for path in images[start::step]):
        try:
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB").resize((image_size, image_size))))
        except (OSError, ValueError, TypeError, IndexError, SyntaxError, NotImplementedError) as error:
            logger.debug("passing over %s: %s", path, error)
        except Image.DecompressionBombError as error:
            logger.debug("passing over %s: %s", path, error)
        if len(pictures) == PARITY_IMAGES:
            break
    if not pictures:
        raise ModelError(
            f"none of {len(images)} pictures decodes, and a model is only built against real ones: give some"
        )
    return np.stack(pictures)


def compare(net: keras.Model, content: bytes, *, pictures: NDArray[np.uint8], name: str, integers: bool) -> float:
    """Run LiteRT and Keras on the same pictures; return the difference as `BuiltModel.parity` defines it.

    Raises:
        ModelError: the features are no numbers, the file does not run, or they differ.
    """
    source = np.asarray(net.predict(pictures, batch_size=PARITY_IMAGES, verbose=0))
    scale = float(np.max(np.abs(source)))
    if not np.isfinite(scale) or scale == 0:
        raise ModelError(f"{name}'s features have the maximum {scale}: they must be finite and not all 0; check it")
    try:
        features = np.stack([run(content, pictures, batch=batch) for batch in (1, len(pictures))])
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{name}'s LiteRT file does not run: {one_line(error)}; use plain Keras layers") from error
    parity = float(np.max(np.abs(features - source))) / scale
    if integers:
        lengths = np.linalg.norm(features, axis=-1) * np.linalg.norm(source, axis=-1)
        cosine = float(np.min(np.sum(features * source, axis=-1) / lengths))
        if not cosine >= INT8_COSINE:
            raise ModelError(
                f"{name}'s features point elsewhere than lite0's, cosine {cosine:.2f}, below {INT8_COSINE}: not kept; "
                "take lite0"
            )
        return parity
    if not parity <= PARITY_LIMIT:  # not `>`: NaN must fail too
        raise ModelError(
            f"{name} in LiteRT is off by {parity:.1e} of its features' scale, above {PARITY_LIMIT}: not kept"
        )
    return parity


def run(content: bytes, pictures: NDArray[np.uint8], *, batch: int) -> NDArray[np.float32]:
    """Run a LiteRT file as the job does, on one thread: uint8 [n, S, S, 3] in, float32 [n, d] out."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    interpreter = Interpreter(model_content=content, num_threads=1)
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, (batch, *pictures.shape[1:]))
    interpreter.allocate_tensors()
    features = []
    for start in range(0, len(pictures), batch):
        interpreter.set_tensor(index, pictures[start : start + batch])
        interpreter.invoke()
        features.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(features)
