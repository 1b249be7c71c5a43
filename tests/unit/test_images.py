import random
from pathlib import Path

import numpy as np
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError
from PIL import Image

from pipeline import images
from pipeline.images import Census, Listed, Loaded, Rejected, UndecodableError, decode
from tests import pictures


def load_all(folder: Path) -> dict[str, Loaded | Rejected]:
    listed = list(images.list_images(str(folder), Census()))
    return {outcome.image.path: outcome for outcome in images.load(listed, str(folder), size=32)}


@pytest.mark.parametrize("name", pictures.good())
def test_every_format_mode_and_size_decodes(name):
    rgb = decode(pictures.good()[name], size=32)
    assert rgb.shape == (32, 32, 3)
    assert rgb.dtype == np.uint8


@pytest.mark.parametrize("name", pictures.bad())
def test_what_is_no_image_is_undecodable(name):
    with pytest.raises(UndecodableError) as caught:
        decode(pictures.bad()[name], size=32)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert "0x" not in message, "an address would make two runs differ"


def test_the_pixels_are_the_files_own():
    rgb = pictures.pixels(1)
    for kind in ("PNG", "BMP"):
        assert (decode(pictures.encode(rgb, kind), size=32) == rgb).all()
    assert (decode(pictures.encode(rgb, "WEBP", lossless=True), size=32) == rgb).all()


def test_transparency_is_white():
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert (decode(pictures.encode(clear, "PNG"), size=8) == 255).all()
    keyed = Image.new("RGB", (8, 8), (10, 20, 30))
    assert (decode(pictures.encode(keyed, "PNG", transparency=(10, 20, 30)), size=8) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped():
    deep = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert (decode(pictures.encode(deep, "PNG"), size=8) == 0x80).all()


def test_exif_orientation_is_applied():
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the top comes to the right
    turned = decode(pictures.encode(rgb, "PNG", exif=exif), size=16)
    assert (turned[:, 8:] == 255).all()
    assert (turned[:, :8] == 0).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_broken_exif_costs_the_orientation_not_the_image():
    data = bytearray(pictures.encode(pictures.pixels(1), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"))
    assert decode(bytes(data), size=32).shape == (32, 32, 3)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = pictures.encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decode(data, size=8) == (255, 0, 0)).all()


@pytest.mark.parametrize("name", ["rgb.jpg", "palette.png", "grey16.png", "lossy.webp", "rgb.bmp", "moving.gif"])
def test_damaged_files_are_decoded_or_undecodable_and_nothing_else(name):
    whole, dice = pictures.good()[name], random.Random(name)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            assert decode(bytes(data), size=16).shape == (16, 16, 3)
        except UndecodableError as error:
            assert str(error)


def test_listing_labels_skips_and_counts(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    for name in ("deep/er/Kiwi/0.jpg", "Kiwi/1.JPEG", "Lemon/a.png", "top.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for name in ("Kiwi/Thumbs.db", "Lemon/Thumbs.db", "Kiwi/.DS_Store", "README.txt", "Kiwi/._1.jpg"):
        (tmp_path / name).write_bytes(b"x")
    census = Census()
    listed = {image.path: image for image in images.list_images(str(tmp_path), census)}
    assert {path: image.label for path, image in listed.items()} == {
        "deep/er/Kiwi/0.jpg": "Kiwi", "Kiwi/1.JPEG": "Kiwi", "Lemon/a.png": "Lemon", "top.jpg": tmp_path.name,
    }  # fmt: skip
    assert census.labels == {"Kiwi": 2, "Lemon": 1, tmp_path.name: 1}
    assert census.skipped_total == 5
    assert census.skipped == {"Thumbs.db": 2, ".DS_Store": 1, "README.txt": 1, "._1.jpg": 1}


def test_the_fingerprint_follows_content_not_order(tmp_path):
    pictures.write_set(tmp_path)
    first, second, third = Census(), Census(), Census()
    listed = list(images.list_images(str(tmp_path), first))
    for image in reversed(listed):
        second.count(image)
    assert first.fingerprint == second.fingerprint
    (tmp_path / "Class 0/0_0.jpg").write_bytes(pictures.encode(pictures.pixels(9)))
    list(images.list_images(str(tmp_path), third))
    assert third.fingerprint != first.fingerprint


ODD = (
    "a b.jpg",
    "é ü.jpg",
    "a+b.jpg",
    "100%.jpg",
    "a%20b.jpg",
    "c#d.jpg",
    "q?.jpg",
    "\U0001f34b.jpg",
    "[x]*.jpg",
    "back\\slash.jpg",
)


def test_odd_names_are_listed_and_read(tmp_path):
    data = pictures.encode(pictures.pixels(1))
    (tmp_path / "Kiwi & co").mkdir()
    for name in ODD:
        (tmp_path / "Kiwi & co" / name).write_bytes(data)
    outcomes = load_all(tmp_path)
    assert set(outcomes) == {f"Kiwi & co/{name}" for name in ODD}
    assert all(isinstance(outcome, Loaded) for outcome in outcomes.values())


def test_loading_keeps_the_order_and_rejects_one_by_one(tmp_path):
    for number in range(60):
        (tmp_path / f"{number:02}.jpg").write_bytes(pictures.encode(pictures.pixels(number)) if number % 7 else b"no")
    listed = sorted(images.list_images(str(tmp_path), Census()), key=lambda image: image.path)
    outcomes = list(images.load(listed, str(tmp_path), size=16))
    assert [outcome.image for outcome in outcomes] == listed
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [number % 7 == 0 for number in range(60)]


def test_a_key_that_vanished_is_rejected_with_its_stage(tmp_path):
    gone = Listed("Kiwi/gone.jpg", 10, "etag", "Kiwi")
    (outcome,) = images.load([gone], str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("fetch", "NotFound")


def test_a_file_too_large_to_be_a_photograph_is_not_fetched(tmp_path):
    (outcome,) = images.load([Listed("big.jpg", images.MAX_BYTES + 1, "etag", "x")], str(tmp_path), size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("list", "TooLarge")


def test_a_forbidden_file_is_rejected(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionDeniedError("403 Forbidden")

    monkeypatch.setattr("obstore.get", refuse)
    (outcome,) = images.load([Listed("x.jpg", 1, "etag", "x")], "s3://bucket/x", size=16)
    assert isinstance(outcome, Rejected)
    assert (outcome.stage, outcome.error) == ("fetch", "AccessDenied")


def test_a_server_that_is_away_is_no_rejection(tmp_path, monkeypatch):
    def fail(*_):
        raise GenericError("error sending request")

    monkeypatch.setattr("obstore.get", fail)
    with pytest.raises(GenericError):
        list(images.load([Listed("x.jpg", 1, "etag", "x")], "s3://bucket/x", size=16))
