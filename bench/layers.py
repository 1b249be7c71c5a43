"""Where int8 gains and where it does not: every convolution of Lite0 alone, in float32 and in int8, on one thread.

`python -m bench.layers SIZE` prints milliseconds an image by kind of layer. A convolution of one pixel ("pointwise") is
a matrix product, for which processors with VNNI have an instruction of their own; one that filters each channel alone
("depthwise") is not, and gains by the smaller numbers only.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from launch import lite0

if TYPE_CHECKING:
    import keras

ROUNDS = 9
MIN_ROUND_S = 0.02


def measure(size: int) -> dict[str, dict[str, float]]:
    """By kind of layer: how many there are, and milliseconds an image of all of them in `float32_ms` and `int8_ms`."""
    import keras  # noqa: PLC0415 - five seconds

    sums: dict[str, dict[str, float]] = {}
    measured: dict[str, dict[str, float]] = {}
    for layer in lite0.load(lite0.checkpoint(), image_size=size).layers:
        kind = type(layer).__name__
        if kind not in {"Conv2D", "DepthwiseConv2D"}:
            continue
        name = "depthwise" if kind == "DepthwiseConv2D" else "pointwise" if layer.kernel_size == (1, 1) else "first"
        shape = tuple(layer.input.shape[1:])
        alike = f"{name} {shape} {layer.output.shape[1:]}"
        if alike not in measured:
            image = keras.Input(shape)
            net = keras.Model(image, keras.layers.ReLU(6.0)(_copy(layer)(image)))
            measured[alike] = {
                "float32_ms": _milliseconds(_convert(net, integers=False), shape),
                "int8_ms": _milliseconds(_convert(net, integers=True), shape),
            }
        row = sums.setdefault(name, {"layers": 0, "float32_ms": 0.0, "int8_ms": 0.0})
        row["layers"] += 1
        for column, value in measured[alike].items():
            row[column] += value
    return {name: {column: round(value, 4) for column, value in row.items()} for name, row in sums.items()}


def _copy(layer: keras.Layer) -> keras.Layer:
    """The same layer for another network."""
    copy = type(layer).from_config(layer.get_config())
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy


def _convert(net: keras.Model, *, integers: bool) -> bytes:
    import tensorflow as tf  # noqa: PLC0415

    converter: Any = tf.lite.TFLiteConverter.from_keras_model(net)
    if integers:
        random = np.random.default_rng(1)

        def activations() -> Iterator[list[NDArray[np.float32]]]:
            for _ in range(8):
                yield [random.uniform(0, 6, (1, *net.inputs[0].shape[1:])).astype(np.float32)]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = activations
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _milliseconds(content: bytes, shape: tuple[int, ...]) -> float:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    held = interpreter.get_input_details()[0]
    interpreter.set_tensor(held["index"], np.ones((1, *shape), held["dtype"]))
    interpreter.invoke()
    started = time.perf_counter()
    interpreter.invoke()
    times = max(1, int(MIN_ROUND_S / max(time.perf_counter() - started, 1e-6)))
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            interpreter.invoke()
        rounds.append((time.perf_counter() - started) / times * 1000)
    return median(rounds)


if __name__ == "__main__":
    with redirect_stdout(io.StringIO()):  # Keras speaks there
        layers = measure(int(sys.argv[1]))
    sys.stdout.write(json.dumps(layers) + "\n")
