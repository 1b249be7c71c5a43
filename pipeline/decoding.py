"""The bytes of an image file -> RGB pixels, or why not."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 100_000_000  # 300 MB decoded; the largest cameras make 100 megapixels

# What Pillow's decoders raise on hostile files. OSError is the rule, the others were met.
DECODE_ERRORS = (
    OSError, ValueError, TypeError, IndexError, KeyError, AttributeError, SyntaxError, NotImplementedError,
    OverflowError, ZeroDivisionError, EOFError, RuntimeError, struct.error, zlib.error,
    Pillow.DecompressionBombError,
)  # fmt: skip

# `decode` has its own cap and its own words for what is wrong: Pillow need not warn on stderr beside it.
Pillow.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class UndecodableError(Exception):
    """The bytes are no image that we read."""


def decode(data: bytes, *, size: int) -> NDArray[np.uint8]:
    """RGB pixels, uint8 (size, size, 3), of an image file's bytes.

    The pixels are decoded in full first: a file that only opens is no image. Then come EXIF orientation, white under
    any transparency, and a bilinear resize to the square. The first frame stands for an animation.

    Raises:
        UndecodableError: with the reason.
    """
    if not data:
        raise UndecodableError("the file is empty")
    try:
        with Pillow.open(BytesIO(data), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise UndecodableError(f"{image.width} × {image.height} pixels; at most {MAX_PIXELS} are decoded")
            image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size
            image.load()
            rgb = _rgb(_upright(image))
            if rgb.size != (size, size):
                rgb = rgb.resize((size, size), Pillow.Resampling.BILINEAR, reducing_gap=3.0)
            return np.asarray(rgb)
    except UnidentifiedImageError as error:
        # What it begins with is not quoted: it may be a link to a file that is nobody's business.
        raise UndecodableError("no JPEG, PNG, WebP, BMP or GIF") from error
    except DECODE_ERRORS as error:
        raise UndecodableError(" ".join(str(error).split())[:200] or "it cannot be decoded") from error


def _upright(image: Pillow.Image) -> Pillow.Image:
    """Turned as EXIF says; as it is where EXIF cannot be read: the pixels were decoded."""
    try:
        return ImageOps.exif_transpose(image)
    except DECODE_ERRORS:
        return image


def _rgb(image: Pillow.Image) -> Pillow.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip, not scale
        image = Pillow.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
