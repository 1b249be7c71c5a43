"""Models on the command's side: Keras in, one LiteRT file out, compared with its source and kept by content hash.

The file takes plain RGB, uint8 [batch, S, S, 3], does the model's own preprocessing inside and returns pooled
features, float32 [batch, d]. TensorFlow is imported only when something must be built: it takes five seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch import lite0, quantize
from launch.lite0 import ModelError, one_line

if TYPE_CHECKING:
    import keras

__all__ = ["BuiltModel", "ModelError", "build"]

APPLICATIONS = {"efficientnetb0": "EfficientNetB0", "vgg16": "VGG16"}
INT8 = "lite0-int8"
NAMES = ("lite0", INT8, *APPLICATIONS)
DOWNLOAD_STALL_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltModel:
    """A LiteRT file that agrees with the model it was made from.

    Attributes:
        path: `<name>-<image size>-<12 hex digits of the build's hash>.tflite` in the cache.
        features: length d of a feature vector.
        parity: largest absolute difference to the source model, divided by the source's largest absolute feature, over
            up to 16 images, each alone and all in one batch; measured when the file was built.
        reused: True when it came from the cache.
    """

    path: Path
    features: int
    parity: float
    reused: bool


def build(model: str, *, weights: Path | None, image_size: int, cache: Path, images: Sequence[Path]) -> BuiltModel:
    """Build a model's LiteRT file, or find the one that the same inputs gave before.

    Args:
        model: one of NAMES, or the path of a `.keras` file.
        weights: file in place of the ImageNet weights; None for a `.keras` file, which holds its own.
        image_size: S, pixels a side.
        cache: folder of built files, created if need be.
        images: pictures for the comparison with the source model; those that do not decode are passed over.

    Raises:
        ModelError: nothing usable could be built; nothing was cached.
    """
    source = _locate_source(model, weights=weights)
    name = re.sub(r"[^\w.-]+", "-", Path(model).stem)
    path = cache / f"{name}-{image_size}-{build_hash(model, source=source, image_size=image_size)[:12]}.tflite"
    if built := _find_cached(path):
        return built
    from launch import parity  # noqa: PLC0415 - NumPy and Pillow, which a file that is there does without

    logger.info("building %s for %d x %d pixels; it is kept in %s", name, image_size, image_size, cache)
    pictures = parity.read_pictures(images, image_size=image_size)
    with _silence_tensorflow():
        net = load_source(model, source=source, image_size=image_size)
        content = _convert(net, name=name, integers=model == INT8)
        measured = parity.compare(net, content, pictures=pictures, name=name, integers=model == INT8)
    built = BuiltModel(path=path, features=int(net.outputs[0].shape[-1]), parity=measured, reused=False)
    _save(built, content)
    return built


def _locate_source(model: str, *, weights: Path | None) -> Path | None:
    """Return the file that holds the model's numbers; None stands for the ImageNet weights that Keras downloads."""
    if model.endswith(".keras"):
        if weights is not None:
            raise ModelError(f"--weights {weights} and {model} exclude each other: a .keras file holds its own weights")
        source: Path | None = Path(model)
    elif model in {"lite0", INT8}:
        source = weights or lite0.checkpoint()
    elif model in APPLICATIONS:
        source = weights
    else:
        raise ModelError(f"unknown model {model!r}: choose {', '.join(NAMES)} or give the path of a .keras file")
    if source is not None and not source.is_file():
        flag = "--model" if model.endswith(".keras") else "--weights"
        raise ModelError(f"{flag} {source}: no such file; check the path")
    return source


def build_hash(model: str, *, source: Path | None, image_size: int) -> str:
    """Hash all that decides the file's bytes, without importing any of it."""
    digest = hashlib.sha256(
        f"{'.keras' if model.endswith('.keras') else model} {image_size} {_tensorflow_version()}".encode()
    )
    for file in (Path(__file__), Path(lite0.__file__)):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    if model == INT8:
        digest.update(quantize.digest())
    try:
        digest.update(b"imagenet" if source is None else hashlib.sha256(source.read_bytes()).digest())
    except OSError as error:
        raise ModelError(f"cannot read {source}: {error.strerror}; give a readable file") from error
    return digest.hexdigest()


def _tensorflow_version() -> str:
    for distribution in ("tensorflow-cpu", "tensorflow"):  # which one depends on the platform
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    raise ModelError("TensorFlow is not installed, which builds model files; install emrlab[images] in place of emrlab")


def _find_cached(path: Path) -> BuiltModel | None:
    try:
        sidecar = json.loads(path.with_suffix(".json").read_bytes())
        if sidecar["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest():
            return BuiltModel(path=path, features=sidecar["features"], parity=sidecar["parity"], reused=True)
        logger.warning("%s is damaged and will be built anew", path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s) and will be built anew", path.with_suffix(".json"), error)
    return None


def _save(built: BuiltModel, content: bytes) -> None:
    facts = {"features": built.features, "parity": built.parity, "sha256": hashlib.sha256(content).hexdigest()}
    sidecar = json.dumps({"name": built.path.stem, **facts}, indent=1).encode()
    try:
        built.path.parent.mkdir(parents=True, exist_ok=True)
        for path, what in ((built.path, content), (built.path.with_suffix(".json"), sidecar)):
            temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
            try:
                temporary.write_bytes(what)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write {built.path}: {error.strerror}; free space or give another folder") from error


@contextmanager
def _silence_tensorflow() -> Iterator[None]:
    """Send to nowhere what TensorFlow prints, from C++ to descriptor 2 too; its failures still arrive as exceptions."""
    sys.stderr.flush()
    descriptor = os.dup(2)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(descriptor, 2)
            os.close(descriptor)


def load_source(model: str, *, source: Path | None, image_size: int) -> keras.Model:
    """Build the source model: uint8 RGB [batch, S, S, 3] in, features [batch, d] out."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one that the converter reads
    import keras  # noqa: PLC0415

    keras.utils.clear_session()  # numbers in layers' names start anew: the same inputs give the same bytes
    if model in APPLICATIONS or source is None:
        return _load_application(model, weights=source, image_size=image_size)
    if model in {"lite0", INT8}:
        return lite0.load(source, image_size=image_size)
    return _load_users_model(source, image_size=image_size)


def _load_application(model: str, *, weights: Path | None, image_size: int) -> keras.Model:
    import keras  # noqa: PLC0415

    if image_size < 32:  # Keras' own limit for a model without its top
        raise ModelError(f"--image-size {image_size} is too small for {model}: give 32 or more")
    application = getattr(keras.applications, APPLICATIONS[model])
    shape = (image_size, image_size, 3)
    if weights is None:
        net = _download(application, model=model, shape=shape)
    else:
        net = application(include_top=False, pooling="avg", weights=None, input_shape=shape)
        try:
            net.load_weights(weights)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"--weights {weights} does not fit {model} without its top: {one_line(error)}") from error
        if model == "efficientnetb0":
            _mend_normalization(net)
    image = keras.Input(shape, dtype="uint8", name="image")
    pixels = keras.ops.cast(image, "float32")
    if model == "vgg16":  # EfficientNetB0 has its preprocessing inside
        pixels = keras.applications.vgg16.preprocess_input(pixels)
    return keras.Model(image, net(pixels, training=False))


def _download(application: Any, *, model: str, shape: tuple[int, int, int]) -> keras.Model:
    stall_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_STALL_S)  # Keras itself would wait for ever
    try:
        return application(include_top=False, pooling="avg", weights="imagenet", input_shape=shape)
    except Exception as error:  # Keras wraps every network error in a bare Exception
        fix = "check the connection, or give the file with --weights FILE"
        raise ModelError(f"the download of {model}'s ImageNet weights failed: {one_line(error)}; {fix}") from error
    finally:
        socket.setdefaulttimeout(stall_s)


def _mend_normalization(net: keras.Model) -> None:
    """Make ImageNet's EfficientNet weights mean in a file what they mean when Keras downloads them.

    They hold the deviation where Keras expects the variance. Keras makes up for it by a further layer, but only with
    `weights="imagenet"` (keras/applications/efficientnet.py and tensorflow issue 49930). Other weights are left alone.
    """
    import numpy as np  # noqa: PLC0415

    layer = next(layer for layer in net.layers if type(layer).__name__ == "Normalization")
    mean, variance, count = layer.get_weights()
    if np.allclose(variance, (0.229, 0.224, 0.225)):
        layer.set_weights([mean, variance**2, count])
        layer.finalize_state()


def _load_users_model(path: Path, *, image_size: int) -> keras.Model:
    import keras  # noqa: PLC0415

    try:
        net = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, zipfile.BadZipFile) as error:
        raise ModelError(f"cannot load {path}: {one_line(error)}; save it with Keras 3, without custom code") from error
    inputs, outputs = ([tuple(t.shape) for t in getattr(net, side, None) or []] for side in ("inputs", "outputs"))
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][0] is not None or inputs[0][3] != 3:
        raise ModelError(f"{path} takes {inputs}: it must take one RGB input of shape (None, size, size, 3)")
    if len(outputs) != 1 or len(outputs[0]) not in {2, 4} or outputs[0][-1] is None:
        raise ModelError(f"{path} returns {outputs}: it must return features (None, d) or a map (None, h, w, d)")
    height, width = inputs[0][1:3]
    if height not in {None, image_size} or width not in {None, image_size}:
        raise ModelError(f"--image-size {image_size} contradicts {path}, which takes {height} x {width}: give its size")
    image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    try:
        features = net(keras.ops.cast(image, "float32"), training=False)
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} does not run at --image-size {image_size}: {one_line(error)}") from error
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(data_format="channels_last")(features)
    return keras.Model(image, keras.ops.cast(features, "float32"))


def _convert(net: keras.Model, *, name: str, integers: bool) -> bytes:
    import tensorflow as tf  # noqa: PLC0415
    from tensorflow.lite.python.convert_phase import ConverterError  # noqa: PLC0415

    try:
        if integers:
            return quantize.convert(net)
        # Never from_concrete_functions: in TensorFlow 2.21 it loses the weights without a word.
        return bytes(tf.lite.TFLiteConverter.from_keras_model(net).convert())
    except (ConverterError, tf.errors.OpError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{name} cannot be converted to LiteRT: {one_line(error)}; use plain Keras layers") from error
