"""Lite0 as an ONNX file, and ONNX Runtime as users of these engines call it: the peers' own habit of inference.

`python -m bench.peers.onnx_model CHECKPOINT SIZE FILE` writes the file: the same weights, the same arithmetic.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from launch import lite0

OPSET = 18


class Graph:
    """An ONNX graph that grows node by node; a name stands for a tensor."""

    def __init__(self, tensors: dict[str, NDArray[Any]]) -> None:
        """`tensors`: the checkpoint's, by name."""
        self._tensors, self._nodes, self._constants = tensors, list[Any](), list[Any]()

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node; returns its output."""
        output = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant under its name."""
        self._constants.append(numpy_helper.from_array(value, name))
        return name

    def convolve(self, x: str, name: str, *, norm: str, stride: int = 1) -> str:
        """A convolution with its batch norm, padded as TensorFlow does; each channel alone where its kernel is."""
        kernel = self._tensors[f"{name}.weight"]
        groups = kernel.shape[0] if name.endswith("depthwise_conv") else 1
        x = self.add(
            "Conv", x, self.constant(f"{name}.weight", kernel), auto_pad="SAME_UPPER", strides=[stride, stride],
            group=groups,
        )  # fmt: skip
        parts = ("weight", "bias", "running_mean", "running_var")
        held = [self.constant(f"{norm}.{part}", self._tensors[f"{norm}.{part}"]) for part in parts]
        return self.add("BatchNormalization", x, *held, epsilon=lite0.EPSILON)

    def model(self, output: str, *, size: int) -> onnx.ModelProto:
        """The whole: uint8 (n, size, size, 3) in, float32 features out."""
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", size, size, 3])
        features = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", lite0.FEATURES])
        graph = helper.make_graph(self._nodes, "lite0", [image], [features], self._constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def write(checkpoint: Path, *, size: int, target: Path) -> None:
    """Lite0 with the weights of `checkpoint` for pictures of `size` x `size` pixels; layers as `lite0.network` has."""
    graph = Graph(lite0.read_checkpoint(checkpoint))
    low, high = (graph.constant(f"bound{bound}", np.array(bound, np.float32)) for bound in (0, 6))
    x = graph.add("Transpose", graph.add("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    x = graph.add("Sub", x, graph.constant("middle", np.array(127, np.float32)))
    x = graph.add("Div", x, graph.constant("scale", np.array(128, np.float32)))
    x = graph.add("Clip", graph.convolve(x, "_conv_stem", norm="_bn0", stride=2), low, high)
    index = 0
    for blocks, _, first_stride, expansion, _ in lite0.STAGES:
        for repeat in range(blocks):
            name, y = f"_blocks.{index}", x
            if expansion > 1:
                y = graph.add("Clip", graph.convolve(y, f"{name}._expand_conv", norm=f"{name}._bn0"), low, high)
            stride = 1 if repeat else first_stride
            y = graph.convolve(y, f"{name}._depthwise_conv", norm=f"{name}._bn1", stride=stride)
            y = graph.convolve(graph.add("Clip", y, low, high), f"{name}._project_conv", norm=f"{name}._bn2")
            x = graph.add("Add", x, y) if repeat else y
            index += 1
    x = graph.add("Clip", graph.convolve(x, "_conv_head", norm="_bn1"), low, high)
    onnx.save(graph.model(graph.add("Flatten", graph.add("GlobalAveragePool", x)), size=size), target)


class Model:
    """One session on one thread, as an engine's worker keeps it."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (n, d) of uint8 (n, s, s, 3)."""
        features: NDArray[np.float32] = self._session.run(None, {"image": pictures})[0]
        return features


if __name__ == "__main__":
    write(Path(sys.argv[1]), size=int(sys.argv[2]), target=Path(sys.argv[3]))
