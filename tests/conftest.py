"""What every world of tests needs: a small real model, and nothing of the developer's own AWS settings."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launch import model
from tests import pictures

SIZE = 32

# What a shell starts in the background is deaf to Ctrl-C, and so is all that it starts: the tests' jobs shall hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_aws_of_the_developer(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nowhere = str(tmp_path_factory.getbasetemp() / "no-aws")
    monkeypatch.setenv("AWS_CONFIG_FILE", nowhere)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def keras_file(tmp_path_factory) -> Path:
    """A user's model: 32 x 32 RGB in, 24 features out, its weights drawn from a seed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(11)
    net = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Conv2D(24, 3, strides=2, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    path = tmp_path_factory.mktemp("keras") / "small.keras"
    net.save(path)
    return path


@pytest.fixture(scope="session")
def small_model(keras_file, tmp_path_factory) -> Path:
    """The same as a LiteRT file."""
    folder = tmp_path_factory.mktemp("model")
    shown = folder / "shown.png"
    shown.write_bytes(pictures.encode(pictures.pixels(1), "PNG"))
    return model.build(str(keras_file), weights=None, image_size=SIZE, cache=folder, images=[shown]).path
