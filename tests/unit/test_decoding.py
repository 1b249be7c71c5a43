import io
import random

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from pipeline import decoding, images
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


def test_what_is_listed_as_an_image_is_decoded_and_named_where_it_is_none():
    names = list(images.SUFFIXES_BY_FORMAT)
    assert [name.upper() for name in names] == list(decoding.FORMATS)
    with pytest.raises(UndecodableError) as caught:
        decode(b"no image", size=32)
    assert str(caught.value) == f"no {', '.join(names[:-1])} or {names[-1]}"


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


def whole(data: bytes, *, size: int) -> np.ndarray:
    """What `decode` gives, without its tiles: turned, converted and resized as a whole."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (2 * size, 2 * size))
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    rgb = upright.convert("RGB")
    return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "1", "P", "keyed", "I;16", "CMYK"])
@pytest.mark.parametrize("edges", [(121, 97), (57, 301), (2000, 5), (1, 3000), (76, 76)], ids=str)
def test_tile_by_tile_gives_the_bits_of_the_whole(mode, edges, monkeypatch):
    monkeypatch.setattr(decoding, "TILE_PIXELS", 2**10)
    noise = np.random.default_rng(1).integers(0, 256, (edges[1], edges[0], 4), np.uint8)
    image = Image.fromarray(noise)
    options: dict[str, object] = {}
    if mode == "I;16":
        image = Image.fromarray(noise[..., :2].copy().view(np.uint16)[..., 0])
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
    elif mode in ("P", "keyed"):
        image, options = image.convert("RGB").quantize(64), {"transparency": bytes(range(64))}
        image = image if mode == "P" else image.convert("RGB")
        options = options if mode == "P" else {"transparency": image.getpixel((0, 0))}
    else:
        image = image.convert("RGB").convert(mode)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = pictures.encode(image, "JPEG" if mode == "CMYK" else "PNG", exif=exif, **options)
        for size in (3, 8, 20):
            assert (decode(data, size=size) == whole(data, size=size)).all()


def test_memory_that_others_held_is_waited_for(monkeypatch):
    data = pictures.encode(pictures.pixels(1), "PNG")
    load, tried = ImageFile.ImageFile.load, []

    def short(self):
        tried.append(self)
        if len(tried) == 1:
            raise MemoryError
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", short)
    assert (decode(data, size=32) == pictures.pixels(1)).all()


def test_an_image_for_which_there_is_no_memory_is_undecodable(monkeypatch):
    def short(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", short)
    with pytest.raises(UndecodableError, match="no memory is left") as caught:
        decode(pictures.encode(pictures.pixels(1)), size=32)
    assert isinstance(caught.value.__cause__, MemoryError)
    monkeypatch.undo()
    assert decode(pictures.encode(pictures.pixels(1)), size=32).shape == (32, 32, 3), "the budget is whole again"
