"""What every world of tests needs: a small real model, and nothing of the developer's own AWS settings."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch import model
from tests import networks, pictures

SIZE = 32
MODELS = Path(__file__).parents[1] / ".cache" / "models"

# What a shell starts in the background is deaf to Ctrl-C, and so is all that it starts: the tests' jobs shall hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the same under nohup


@pytest.fixture(autouse=True)
def no_aws_of_the_developer(monkeypatch, tmp_path_factory):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nowhere = str(tmp_path_factory.getbasetemp() / "no-aws")
    monkeypatch.setenv("AWS_CONFIG_FILE", nowhere)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def unprivileged():
    """Become a user that file modes hold for, where the tests run as one that they do not hold for."""

    @contextmanager
    def become(folder: Path) -> Iterator[None]:
        if os.geteuid():
            yield
            return
        closed = [place for place in folder.parents if not place.stat().st_mode & 0o001]
        modes = {place: place.stat().st_mode for place in closed}
        for place in closed:
            place.chmod(0o755)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
            for place, mode in modes.items():
                place.chmod(mode)

    return become


@pytest.fixture(scope="session")
def keras_file() -> Path:
    """A user's model: 32 x 32 RGB in, 24 features out."""
    return networks.save("small", seed=11, hidden=[(16, 5, 2)], size=SIZE, features=24)


@pytest.fixture(scope="session")
def small_model(keras_file, tmp_path_factory) -> Path:
    """The same as a LiteRT file, where the command line keeps them."""
    shown = tmp_path_factory.mktemp("model") / "shown.png"
    shown.write_bytes(pictures.encode(pictures.pixels(1), "PNG"))
    return model.build(str(keras_file), weights=None, image_size=SIZE, cache=MODELS, images=[shown]).path
