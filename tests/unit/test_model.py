"""Building, comparing and caching LiteRT files, all without network."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from base.paths import ROOT
from launch import model, parity
from launch.model import BuiltModel, ModelError, build
from tests import pictures

SIZE = 64


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    module = importlib.import_module("keras")
    module.utils.set_random_seed(3)
    return module


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every file that only claims to be an image, then five that are."""
    folder = tmp_path_factory.mktemp("images")
    files = pictures.bad() | {
        f"{seed}.png": pictures.encode(pictures.pixels(seed, size=90, hue=seed), "PNG") for seed in range(5)
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


@pytest.fixture(scope="module")
def pixels(images: list[Path]) -> NDArray[Any]:
    return parity.read_pictures(images, image_size=SIZE)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def lite0(images: list[Path], cache: Path) -> BuiltModel:
    return build("lite0", weights=None, image_size=SIZE, cache=cache, images=images)


@pytest.fixture(scope="module")
def users_model(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of any size in, with its own preprocessing, that returns a map of five channels."""
    image = keras.Input((None, None, 3))
    scaled = keras.layers.Rescaling(1 / 255)(image)
    path = tmp_path_factory.mktemp("users") / "my model.keras"
    keras.Model(image, keras.layers.Conv2D(5, 3, strides=2, activation="relu")(scaled)).save(path)
    return path


def run(path: Path, batch: NDArray[np.uint8]) -> NDArray[Any]:
    return parity.run(path.read_bytes(), batch, batch=len(batch))


def test_only_pictures_that_decode_are_compared(pixels: NDArray[np.uint8]) -> None:
    assert pixels.shape == (5, SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8


def test_a_built_file_takes_rgb_bytes_in_any_batch(lite0: BuiltModel, pixels: NDArray[np.uint8]) -> None:
    assert (lite0.features, lite0.reused) == (1280, False)
    assert 0 <= lite0.parity <= parity.PARITY_LIMIT
    assert lite0.path.name.startswith(f"lite0-{SIZE}-")
    together = run(lite0.path, pixels)
    assert together.shape == (5, 1280)
    assert together.dtype == np.float32
    for index, image in enumerate(pixels):  # the job may cut its batches as it likes
        assert (run(lite0.path, image[None])[0] == together[index]).all()


def test_integers_give_other_features_that_point_the_same_way(
    lite0: BuiltModel, images: list[Path], cache: Path, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(folder: Path) -> BuiltModel:
        return build("lite0-int8", weights=None, image_size=SIZE, cache=folder, images=images)

    built = once(cache)
    assert built.path.name.startswith(f"lite0-int8-{SIZE}-")
    assert built.path.stat().st_size < lite0.path.stat().st_size / 3
    ours, theirs = run(built.path, pixels), run(lite0.path, pixels)
    assert ours.dtype == np.float32
    cosine = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.95
    assert built.parity > parity.PARITY_LIMIT

    content, honest = built.path.read_bytes(), parity.run
    monkeypatch.setattr("launch.quantize.convert", lambda *_, **__: content)
    monkeypatch.setattr(parity, "run", lambda *args, **options: honest(*args, **options)[:, ::-1])
    with pytest.raises(ModelError, match=r"^lite0-int8's features point elsewhere than lite0's, cosine 0\.\d\d, below"):
        once(cache / "elsewhere")
    assert not (cache / "elsewhere").exists()


@pytest.mark.parametrize("wrong", [1.01, np.nan])
def test_a_file_that_disagrees_with_its_source_is_not_kept(
    users_model: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    honest = parity.run
    monkeypatch.setattr(parity, "run", lambda *args, **options: honest(*args, **options) * wrong)
    with pytest.raises(ModelError, match=r"^my-model in LiteRT is off by (1\.0e-02|nan) of "):
        build(str(users_model), weights=None, image_size=SIZE, cache=tmp_path, images=images)
    assert list(tmp_path.iterdir()) == []


def test_building_is_silent(
    users_model: Path, images: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build(str(users_model), weights=None, image_size=SIZE, cache=tmp_path, images=images)
    assert capfd.readouterr() == ("", "")


def test_a_hit_needs_neither_tensorflow_nor_pictures(lite0: BuiltModel, cache: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from launch.model import build;"
        f"b = build('lite0', weights=None, image_size={SIZE}, cache=Path({str(cache)!r}), images=[]);"
        "print(b.path.name, b.features, b.parity, b.reused, 'tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [lite0.path.name, "1280", str(lite0.parity), "True", "False", "False"]


def test_a_damaged_file_is_built_anew(users_model: Path, images: list[Path], tmp_path: Path) -> None:
    def once() -> BuiltModel:
        return build(str(users_model), weights=None, image_size=SIZE, cache=tmp_path, images=images)

    first = once()
    sidecar, content = first.path.with_suffix(".json"), first.path.read_bytes()
    assert once().reused
    for path, damage in ((first.path, content[:-1] + b"x"), (first.path, b""), (sidecar, b"{"), (sidecar, b"[]")):
        path.write_bytes(damage)
        again = once()
        assert (again.path, again.reused) == (first.path, False)
        assert first.path.read_bytes() == content  # a new hash would mean new features for every image
        assert json.loads(sidecar.read_text())["sha256"] == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".tflite"]


def test_what_decides_the_file_decides_its_name(
    users_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(source: Path = users_model, image_size: int = SIZE) -> str:
        return model.build_hash(str(source), source=source, image_size=image_size)

    moved, changed = tmp_path / "moved.keras", tmp_path / "changed.keras"
    moved.write_bytes(users_model.read_bytes())
    changed.write_bytes(users_model.read_bytes() + b"x")
    assert digest(moved) == digest()
    assert len({digest(), digest(changed), digest(image_size=SIZE + 1)}) == 3
    before = digest()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.0")
    assert digest() != before


def test_a_users_map_is_pooled(
    keras: Any, users_model: Path, images: list[Path], pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    built = build(str(users_model), weights=None, image_size=SIZE, cache=tmp_path, images=images)
    assert built.features == 5
    assert built.path.name.startswith("my-model-64-")
    wanted = keras.models.load_model(users_model).predict(pixels.astype(np.float32), verbose=0).mean(axis=(1, 2))
    assert np.allclose(run(built.path, pixels), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (((96, 96, 3), "Flatten"), r"^--image-size 64 contradicts \S+user\.keras, which takes 96 x 96"),
        (((64, 64, 1), "Flatten"), r"user\.keras takes \[\(None, 64, 64, 1\)\]"),
        (((64, 64, 3), "Lambda"), "^cannot load .*Lambda"),
        (((64, 64, 3), "erfinv"), "^user cannot be converted to LiteRT"),
        (((64, 64, 3), "zeros"), r"^user's features have the maximum 0\.0"),
    ],
)
def test_an_unusable_model_is_one_line(
    keras: Any, images: list[Path], tmp_path: Path, case: tuple[tuple[int, int, int], str], message: str
) -> None:
    ends = {
        "Lambda": keras.layers.Lambda(lambda x: x * 2),  # code in a file: safe mode refuses it
        "erfinv": lambda x: keras.ops.erfinv(x / 300),  # LiteRT has no such operation
        "zeros": lambda x: x * 0,
        "Flatten": keras.layers.Flatten(),
    }
    shape, end = case
    image = keras.Input(shape)
    path = tmp_path / "user.keras"
    keras.Model(image, ends[end](image)).save(path)
    with pytest.raises(ModelError, match=message) as failure:
        build(str(path), weights=None, image_size=SIZE, cache=tmp_path / "cache", images=images)
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "cache").exists()


def test_vgg16_with_a_weights_file(keras: Any, images: list[Path], tmp_path: Path) -> None:
    bare = keras.applications.VGG16(include_top=False, pooling="avg", weights=None, input_shape=(32, 32, 3))
    bare.save_weights(tmp_path / "v.weights.h5")
    built = build("vgg16", weights=tmp_path / "v.weights.h5", image_size=32, cache=tmp_path, images=images)
    assert built.features == 512
    pixels = parity.read_pictures(images, image_size=32)
    wanted = bare.predict(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)), verbose=0)
    assert np.abs(run(built.path, pixels) - wanted).max() < 1e-4 * wanted.max()


def test_efficientnetb0_from_a_file_equals_the_download(
    keras: Any, pixels: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    scaler = next(layer for layer in bare.layers if isinstance(layer, keras.layers.Normalization))
    mean, deviation = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    scaler.set_weights([mean, deviation, scaler.get_weights()[2]])  # as ImageNet's file has them
    path = tmp_path / "b.weights.h5"
    bare.save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(path))
    nets = [model.load_source("efficientnetb0", source=source, image_size=SIZE) for source in (path, None)]
    from_file, from_download = (np.asarray(net(pixels)) for net in nets)
    assert from_file.shape == (5, 1280)
    assert np.abs(from_file - from_download).max() < 1e-5 * np.abs(from_download).max()


def test_a_failed_download_is_one_line(
    keras: Any, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def urlretrieve(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("name\nnot known")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", urlretrieve)
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path / "home"))
    with pytest.raises(ModelError, match=r"^the download of vgg16's ImageNet weights failed: .*not known; .*--weights"):
        build("vgg16", weights=None, image_size=SIZE, cache=tmp_path / "cache", images=images)
    assert not (tmp_path / "cache").exists()


def test_weights_of_another_network_are_refused(keras: Any, images: list[Path], tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "junk.h5").write_bytes(b"junk")
    for file in ("other.weights.h5", "junk.h5"):
        with pytest.raises(ModelError, match=rf"^--weights \S+{file} does not fit vgg16"):
            build("vgg16", weights=tmp_path / file, image_size=SIZE, cache=tmp_path / "cache", images=images)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("vgg16", Path("missing.h5"), r"^--weights missing\.h5: no such file; check the path$"),
        ("missing.keras", None, r"^--model missing\.keras: no such file; check the path$"),
        ("missing.keras", Path("w.h5"), r"^--weights w\.h5 and missing\.keras exclude each other"),
        ("resnet50", None, r"^unknown model 'resnet50': choose lite0, lite0-int8, efficientnetb0, vgg16 or"),
        ("lite0", None, r"^none of 0 pictures decodes"),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path: Path, name: str, weights: Path | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(name, weights=weights, image_size=SIZE, cache=tmp_path, images=[])
