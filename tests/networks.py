"""A user's own model, small, made once a machine: Keras never saves the same model to the same bytes twice."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

KEPT = Path(__file__).parents[1] / ".cache" / "tests"


def save(name: str, *, seed: int, hidden: list[tuple[int, int, int]], size: int, features: int) -> Path:
    """A .keras file: `size` x `size` RGB in, `features` out, its weights drawn from `seed`.

    Args:
        name: of the file.
        seed: of the weights.
        hidden: filters, kernel and stride of each convolution before the last, which has kernel 3 and stride 2.
        size: in pixels.
        features: filters of the last.
    """
    wanted = sha256(repr((seed, hidden, size, features)).encode() + Path(__file__).read_bytes()).hexdigest()
    path = KEPT / wanted[:12] / f"{name}.keras"
    if path.exists():
        return path
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Conv2D(filters, kernel, strides=stride, padding="same", activation="relu")
        for filters, kernel, stride in [*hidden, (features, 3, 2)]
    ]
    net = keras.Sequential(
        [keras.Input((size, size, 3)), keras.layers.Rescaling(1 / 255), *layers, keras.layers.GlobalAveragePooling2D()]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        net.save(Path(folder, path.name))
        with suppress(FileExistsError):  # another process of the tests was faster
            os.link(Path(folder, path.name), path)
    return path
