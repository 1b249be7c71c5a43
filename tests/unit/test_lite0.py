"""The port of EfficientNet-Lite0 and the reading of its checkpoint.

Two kinds of evidence hold the port. Slips of the code (two blocks swapped, another padding or epsilon, kernels
transposed) are found by a second forward pass, written in numpy straight from the checkpoint. A wrong idea of the
network is found by facts that came with the weights: the classes of photographs that matplotlib and scikit-learn
install and of our drawn fruit, and the batch norms' stored means against the means on those photographs.
"""

from __future__ import annotations

import importlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from base.paths import SAMPLE
from launch import lite0
from launch.lite0 import ModelError
from tests import pictures

MILITARY_UNIFORM, PALACE, DAISY, LEMON, BANANA = 652, 698, 985, 951, 954  # ImageNet's classes


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    return importlib.import_module("keras")


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[Any]]:
    return lite0.read_checkpoint(lite0.checkpoint())


@pytest.fixture(scope="module")
def net(keras: Any) -> Any:
    return lite0.load(lite0.checkpoint(), image_size=224)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    hopper = Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB")
    return [hopper, *(Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg"))]


def crop(photograph: Image.Image, *, side: int, left: int, top: int) -> NDArray[Any]:
    return np.asarray(
        photograph.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    )


def reference(tensors: dict[str, NDArray[Any]], image: NDArray[np.uint8]) -> NDArray[Any]:
    """Lite0's features of one uint8 image (S, S, 3) in float64, from the checkpoint's names and shapes alone."""

    def convolve(x: NDArray[Any], name: str, *, stride: int = 1) -> NDArray[Any]:
        kernel = tensors[f"{name}.weight"].astype(np.float64)  # out, in (1: one filter a channel), height, width
        side = kernel.shape[2]
        padding = max((-(-len(x) // stride) - 1) * stride + side - len(x), 0)
        edges = (padding // 2, padding - padding // 2)  # TensorFlow's SAME: the odd one at the bottom and right
        windows = sliding_window_view(np.pad(x, (edges, edges, (0, 0))), (side, side), axis=(0, 1))[::stride, ::stride]
        found: NDArray[Any] = (
            np.einsum("hwcij,cij->hwc", windows, kernel[:, 0])
            if kernel.shape[1] == 1
            else np.tensordot(windows, kernel, axes=((2, 3, 4), (1, 2, 3)))
        )
        return found

    def normalize(x: NDArray[Any], name: str) -> NDArray[Any]:
        parts = ("weight", "bias", "running_mean", "running_var")
        gain, bias, mean, variance = (tensors[f"{name}.{part}"].astype(np.float64) for part in parts)
        return (x - mean) / np.sqrt(variance + 1e-3) * gain + bias

    def relu6(x: NDArray[Any]) -> NDArray[Any]:
        return x.clip(0, 6)

    x = relu6(normalize(convolve((image.astype(np.float64) - 127) / 128, "_conv_stem", stride=2), "_bn0"))
    for index in range(16):
        block, stride, y = f"_blocks.{index}", 2 if index in {1, 3, 5, 11} else 1, x
        if f"{block}._expand_conv.weight" in tensors:
            y = relu6(normalize(convolve(y, f"{block}._expand_conv"), f"{block}._bn0"))
        y = relu6(normalize(convolve(y, f"{block}._depthwise_conv", stride=stride), f"{block}._bn1"))
        y = normalize(convolve(y, f"{block}._project_conv"), f"{block}._bn2")
        x = x + y if x.shape == y.shape else y
    features: NDArray[Any] = relu6(normalize(convolve(x, "_conv_head"), "_bn1")).mean(axis=(0, 1))
    return features


@pytest.mark.parametrize("size", [64, 75])  # SAME pads even and odd sizes differently
def test_it_agrees_with_a_forward_pass_in_numpy(keras: Any, tensors: dict[str, NDArray[Any]], size: int) -> None:
    images = np.stack([pictures.pixels(seed, size=size, hue=seed) for seed in range(2)])
    wanted = np.stack([reference(tensors, image) for image in images])
    found = lite0.load(lite0.checkpoint(), image_size=size).predict(images, verbose=0)
    assert found.shape == (2, 1280)
    assert np.abs(found - wanted).max() < 1e-5 * wanted.max()


def test_it_names_what_photographs_show(
    net: Any, tensors: dict[str, NDArray[Any]], photographs: list[Image.Image]
) -> None:
    squares = []
    for photograph in photographs:
        side = min(photograph.size)
        left, top = ((length - side) // 2 for length in photograph.size)
        squares.append(crop(photograph, side=side, left=left, top=top))
    features = net.predict(np.stack(squares), verbose=0)
    scores = features @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert scores.argmax(axis=1).tolist() == [MILITARY_UNIFORM, PALACE, DAISY]


@pytest.mark.parametrize(("fruit", "number"), [("Banana", BANANA), ("Lemon", LEMON)])
def test_it_knows_the_sample_by_its_colours(
    net: Any, tensors: dict[str, NDArray[Any]], fruit: str, number: int
) -> None:
    files = sorted((SAMPLE / fruit).glob("*.jpg"))[:12]
    drawings = np.stack([np.asarray(Image.open(file).convert("RGB").resize((224, 224))) for file in files])
    scores = net.predict(drawings, verbose=0) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert np.mean(scores.argmax(axis=1) == number) > 0.5  # with red and blue exchanged: none


def test_it_meets_the_means_that_training_stored(keras: Any, net: Any, photographs: list[Image.Image]) -> None:
    rng = np.random.default_rng(0)
    crops = []
    for photograph in photographs:
        for _ in range(12):
            side = int(min(photograph.size) * rng.uniform(0.4, 1))
            left, top = (int(rng.integers(0, length - side + 1)) for length in photograph.size)
            crops.append(crop(photograph, side=side, left=left, top=top))
    norms = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    means = keras.Model(net.input, [keras.ops.mean(norm.input, (1, 2)) for norm in norms])
    distances = []  # between the stored mean and the one found here, in stored deviations
    for norm, found in zip(norms, means.predict(np.stack(crops), batch_size=9, verbose=0), strict=True):
        _, _, mean, variance = norm.get_weights()
        alive = variance > 1e-6  # a channel that training has switched off has no scale
        distances.append(np.sqrt(np.mean((found.mean(axis=0) - mean)[alive] ** 2 / variance[alive])))
    assert len(distances) == 49
    # 0.208 as it is; symmetric padding 0.228, pixels in 0..1 0.265, ReLU or no skip connections 0.43.
    assert np.mean(distances) < 0.22


PYTORCH_MAGIC = 0x1950A86A20F9469CFC6C  # what PyTorch's own files begin with, before 1.6


def write_checkpoint(path: Path, state: bytes) -> Path:
    """A checkpoint whose tensors' pickle is `state`, with one storage '0' of four floats."""
    head = [pickle.dumps(part, protocol=2) for part in (PYTORCH_MAGIC, 1001, {"little_endian": True})]
    order = pickle.dumps(["0"], protocol=2)
    path.write_bytes(b"".join([*head, state, order, (4).to_bytes(8, "little"), np.arange(4, dtype="<f4").tobytes()]))
    return path


def tensor_pickle(*, shape: tuple[int, int], stride: tuple[int, int], elements: int = 4) -> bytes:
    """What PyTorch writes for {'w': tensor}, in pickle's readable protocol."""
    storage = f"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI{elements}\nNtQ"
    layout = "".join(f"(I{first}\nI{second}\nt" for first, second in (shape, stride))
    return f"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{layout}tRs.".encode()


def test_a_checkpoint_keeps_the_axis_order(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "good.pth", tensor_pickle(shape=(2, 2), stride=(1, 2)))
    assert lite0.read_checkpoint(path)["w"].tolist() == [[0, 2], [1, 3]]


class Hostile:
    """Pickles as a call of `os.system`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = write_checkpoint(tmp_path / "hostile.pth", pickle.dumps({"w": Hostile(marker)}, protocol=2))
    with pytest.raises(ModelError, match=rf"hostile\.pth.*{os.system.__module__}\.system"):
        lite0.read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "state",
    [
        tensor_pickle(shape=(2, 2), stride=(1000, 1)),  # would read beyond the storage
        tensor_pickle(shape=(1 << 40, 4), stride=(0, 1)),  # would fill the memory
        tensor_pickle(shape=(2, 2), stride=(-2, 7)),  # would read before the storage
        tensor_pickle(shape=(2, 2), stride=(2, 1), elements=1 << 40),  # claims more than the file holds
        b"(dS'w'\nI1\ns.",
        b"junk",
    ],
)
def test_a_malformed_checkpoint_is_one_line(tmp_path: Path, state: bytes) -> None:
    with pytest.raises(ModelError, match=r"^\S+malformed\.pth is not a checkpoint of lite0: .+; use .+$"):
        lite0.read_checkpoint(write_checkpoint(tmp_path / "malformed.pth", state))


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [
        ("_blocks.3._bn1.bias", {}, r"at layer blocks\.3\.bn1"),
        ("_conv_stem.weight", {"_conv_stem.weight": np.zeros((32, 3, 5, 5), np.float32)}, "at layer conv_stem"),
        ("_fc.bias", {"_blocks.16._bn0.bias": np.zeros(3, np.float32)}, r"holds blocks\.16\.bn0\.bias"),
    ],
)
def test_tensors_of_another_network_are_refused(
    net: Any, tensors: dict[str, NDArray[Any]], drop: str, add: dict[str, Any], message: str
) -> None:
    other = {name: tensor for name, tensor in tensors.items() if name != drop} | add
    with pytest.raises(ModelError, match=message):
        lite0.assign(net, other)
