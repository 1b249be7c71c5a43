import random

import numpy as np
import pytest
from PIL import Image

from pipeline.decoding import UndecodableError, decode
from tests import pictures


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
