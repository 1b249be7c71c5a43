"""The bytes of an image file -> RGB pixels, or why not."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, UnidentifiedImageError
from PIL import Image as Pillow

from pipeline import limits
from pipeline.budget import Budget, return_freed
from pipeline.limits import Need, TooLargeError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

# What the threads of one task slot, which are one process, may hold of pictures between them. In MiB:
#     416 = 382 (100 megapixels of 4 bytes, the largest that are decoded) + 26 (on their way to 224 x 224) + 8 (rows)
# A slot has 768 on c5.xlarge and 1,536 on m5.xlarge (memoryOverhead / cores). Beside this budget it needs
#     150 (interpreter, NumPy, runtime, model) + 64 (files read ahead) + 138 (small pictures, metadata, squares)
BUDGET = Budget(416 * 2**20)
SMALL_B = 2**18  # what is not worth waiting for
return_freed(2**22)

# A picture is converted and reduced tile by tile: whole, an RGBA photograph would be held six times over.
TILE_PIXELS = 2**19
_TILE_B = 24  # a pixel of a tile: as cut, turned, RGBA, white, the two in one, RGB
_GAP = 3.0  # from here on Pillow reduces by whole numbers before it interpolates

# What Pillow's decoders raise on hostile files. OSError is the rule, the others were met.
DECODE_ERRORS = (
    OSError, ValueError, TypeError, IndexError, KeyError, AttributeError, SyntaxError, NotImplementedError,
    OverflowError, ZeroDivisionError, EOFError, RuntimeError, struct.error, zlib.error,
    Pillow.DecompressionBombError,
)  # fmt: skip

_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
# Which of them change columns for rows, and which, after that, count columns and rows of the file from its other end.
_SIDEWAYS = frozenset(_TURNS[tag] for tag in (5, 6, 7, 8))
_COLUMNS_BACK = frozenset(_TURNS[tag] for tag in (2, 3, 7, 8))
_ROWS_BACK = frozenset(_TURNS[tag] for tag in (3, 4, 6, 7))
_BILINEAR = Pillow.Resampling.BILINEAR
_NOTHING = nullcontext()
_Hold = Callable[[int], AbstractContextManager[None]]

# `decode` has its own cap and its own words for what is wrong: Pillow need not warn on stderr beside it.
Pillow.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


class UndecodableError(Exception):
    """The bytes are no image that we read."""


def decode(data: bytes, *, size: int) -> NDArray[np.uint8]:
    """RGB pixels, uint8 (size, size, 3), of an image file's bytes.

    The pixels are decoded in full first: a file that only opens is no image. Then come EXIF orientation, white under
    any transparency, and a bilinear resize to the square. The first frame stands for an animation. Waits while the
    process's other threads hold more of BUDGET than leaves room for this one.

    Raises:
        UndecodableError: with the reason; caused by TooLargeError where it would take more memory or work than it is
            given, and by MemoryError where there is none though nothing else is being decoded.
    """
    if not data:
        raise UndecodableError("the file is empty")
    try:
        return _decode(data, size=size, hold=BUDGET.hold)
    except MemoryError:
        pass  # the others' memory, perhaps: once more when they are done, and nothing of this try is left
    with BUDGET.hold(BUDGET.total_b):
        try:
            return _decode(data, size=size, hold=lambda _: _NOTHING)
        except MemoryError as error:
            raise UndecodableError("no memory is left to decode it") from error


def _decode(data: bytes, *, size: int, hold: _Hold) -> NDArray[np.uint8]:
    try:
        header = limits.header(data)
        with _held(header.opening, size=size, hold=hold):
            image = Pillow.open(limits.source(data), formats=FORMATS)
            whole = image.size
            image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size
            loading = limits.loading(image, data, header, whole=whole)
            with _held(None if header.opening else loading, size=size, hold=hold):
                try:
                    if image.format == "BMP":  # in pieces, a row of 100 megapixels would be joined for minutes
                        image.decodermaxblock = len(data)
                    image.load()
                    return np.asarray(_square(image, size=size))
                finally:
                    image.close()  # its memory is free before others are told so
    except TooLargeError as error:
        raise UndecodableError(str(error)) from error
    except UnidentifiedImageError as error:
        # What it begins with is not quoted: it may be a link to a file that is nobody's business.
        raise UndecodableError("no JPEG, PNG, WebP, BMP or GIF") from error
    except DECODE_ERRORS as error:
        raise UndecodableError(" ".join(str(error).split())[:200] or "it cannot be decoded") from error


def _held(need: Need | None, *, size: int, hold: _Hold) -> AbstractContextManager[None]:
    """Holds what a picture needs and its way to the square, unless it is small: eight of those are 64 MB at most."""
    if need is None or need.size_b <= SMALL_B:
        return _NOTHING
    total_b = need.size_b + _TILE_B * TILE_PIXELS + 2 * 4 * (2 * int(_GAP) * size) ** 2
    if total_b > BUDGET.total_b:
        raise TooLargeError(
            f"{need.width} × {need.height} pixels take {total_b / 1e6:.0f} MB to decode, "
            f"a task slot has {BUDGET.total_b / 1e6:.0f} MB for that"
        )
    return hold(total_b)


def _square(image: Pillow.Image, *, size: int) -> Pillow.Image:
    """The loaded `image` upright, in RGB and (size, size): what `_rgb(upright).resize(…, reducing_gap=_GAP)` gives.

    Large ones go tile by tile as far as Pillow reduces by whole numbers. Tiles are cut at multiples of these, so that
    no pixel is averaged with others than in the whole.
    """
    turn = _turn(image)
    width, height = image.size if turn not in _SIDEWAYS else image.size[::-1]
    across, down = (int(edge / size / _GAP) or 1 for edge in (width, height))
    tile_x = max(across, min(width, TILE_PIXELS // down) // across * across)
    tile_y = max(down, TILE_PIXELS // tile_x // down * down)
    if width * height <= TILE_PIXELS:
        rgb = _rgb(image.transpose(turn) if turn is not None else image)
        return rgb if rgb.size == (size, size) else rgb.resize((size, size), _BILINEAR, reducing_gap=_GAP)
    reduced = Pillow.new("RGB", (-(-width // across), -(-height // down)))
    for top in range(0, height, tile_y):
        for left in range(0, width, tile_x):
            box = (left, top, min(left + tile_x, width), min(top + tile_y, height))
            tile = _rgb(_cut(image, box, turn))
            reduced.paste(tile.reduce((across, down)), (left // across, top // down))
    return reduced.resize((size, size), _BILINEAR, box=(0, 0, width / across, height / down))


def _turn(image: Pillow.Image) -> Pillow.Transpose | None:
    """What EXIF says is to be done; nothing where it cannot be read: the pixels were decoded."""
    info = image.info
    if len(info.get("exif", "")) > limits.MAX_EXIF_B or len(info.get("Raw profile type exif", "")) > limits.MAX_EXIF_B:
        return None
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODE_ERRORS:
        return None


def _cut(image: Pillow.Image, box: tuple[int, int, int, int], turn: Pillow.Transpose | None) -> Pillow.Image:
    """The part of the upright picture in `box`: left, top, right, bottom."""
    if turn is None:
        return image.crop(box)
    left, top, right, bottom = (box[1], box[0], box[3], box[2]) if turn in _SIDEWAYS else box
    if turn in _COLUMNS_BACK:
        left, right = image.width - right, image.width - left
    if turn in _ROWS_BACK:
        top, bottom = image.height - bottom, image.height - top
    return image.crop((left, top, right, bottom)).transpose(turn)


def _rgb(image: Pillow.Image) -> Pillow.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip, not scale
        image = Pillow.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
