"""What decoding an image file takes, in bytes and in work, said by its header before it is paid.

A file of some kilobytes may claim gigabytes, or hours. Pillow's decoders are C and cannot be stopped once they run: so
the work is counted first. The limits below keep any one image at half a minute of an m5's vCPU, by these figures of a
core of 2021, of which that is between half and a third. The worst is a JPEG of 128 MiB: 2.4 + 2 + 6 s of that core.

    JPEG        1.2 ns a pixel and scan, 20 ns a pixel once, 45 ns a byte of the file
    PNG         33 ns a pixel (RGBA, noise)         WebP    64 ns a pixel (lossy, noise)
    GIF, BMP     7 ns a pixel                       BMP in runs    90 ns a pixel (Pillow decodes them in Python)
    metadata    0.5 µs a read                       compressed text and profiles    1 ms each (they end at 1 MiB)
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image as Pillow
from PIL import PngImagePlugin

MAX_PIXELS = 100_000_000  # that are decoded; the largest cameras make 100 megapixels
MAX_RUN_PIXELS = 25_000_000  # of a BMP: meanwhile Python does nothing else
# An encoder's script of scans has some ten, and the finest that the format knows, bit by bit for each component, 60.
MAX_SCANS = 100
# 200 megapixels of ten scans, or 2 gigapixels of one scan, of which 1/64 is then decoded.
MAX_SCANNED_PIXELS = 2_000_000_000
# Pillow keeps these in lists or joins them, at a cost that grows with their square.
MAX_HEADER_B = 32 * 2**20  # before a JPEG's first scan: panoramas and depth maps are the largest
MAX_EXIF_B = 2**18  # one segment of a JPEG holds 64 KiB; a value becomes up to 40 times its size in Python
MAX_PACKED_CHUNKS = 256
MAX_TEXT_B = 16 * 2**20
# Pillow parses metadata by small reads. A file of MANY_B or less cannot hold enough of them to matter.
MANY_B = 2**20
MAX_READS, MAX_READS_OF_RUNS = 1_000_000, 16_000_000

PngImagePlugin.MAX_TEXT_MEMORY = MAX_TEXT_B

# Bytes a pixel of Pillow's modes where they are not 4.
_PIXEL_B = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_ROW_B = 8  # the pointer to it
# The same of a PNG, by its bits a channel and kind of colour.
_PNG_PIXEL_B = {bytes(key): 1 for key in ((1, 0), (2, 0), (4, 0), (8, 0), (1, 3), (2, 3), (4, 3), (8, 3))} | {
    bytes((16, 0)): 2
}
_CHUNK = struct.Struct(">I4s")
_DEFLATED = 1032  # bytes that one of deflate's can become
# WebPAnimDecoder: two canvases, the decoder's own pixels (lossless), the copy for Python (then Pillow's image takes
# the place of the decoder's). It copies the file, and keeps a record a frame.
_WEBP_PIXEL_B, _WEBP_FILES = 16, 4

# A JPEG's markers: those that begin something are no stuffed byte, restart or filler; the bare ones have no length.
_SEGMENT, _SIDES = struct.Struct(">BBH"), struct.Struct(">HH")
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_NO_MARKERS = frozenset([0x00, 0x01, *range(0xD0, 0xD8), 0xFF])
_BARE = frozenset([0xC8, 0xD8, 0xD9, *range(0xF0, 0xFE)])
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1


class TooLargeError(Exception):
    """Decoding would take more memory or more work than one image is given: with both numbers."""


@dataclass(frozen=True)
class Need:
    """What a picture of so many pixels takes at its peak, in bytes, until it is decoded."""

    width: int
    height: int
    size_b: int


@dataclass(frozen=True)
class Header:
    """What a file says before it is opened.

    Attributes:
        opening: what a WebP or PNG takes from its opening on; None for the others, which open for next to nothing.
        coefficients_b: what libjpeg holds of a whole JPEG of several scans, however small it is then decoded.
    """

    opening: Need | None = None
    coefficients_b: int = 0


class CountedReads(BytesIO):
    """A file whose reads are counted: Pillow's parsers of metadata are loops of them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MAX_READS_OF_RUNS if data.startswith(b"BM") else MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As BytesIO does.

        Raises:
            TooLargeError: once too often.
        """
        self._left -= 1
        if self._left < 0:
            raise TooLargeError("its metadata lies in more pieces than are read")
        return super().read(size)


def source(data: bytes) -> BytesIO:
    """A file to read from, counted where counting is needed."""
    return CountedReads(data) if len(data) > MANY_B else BytesIO(data)


def header(data: bytes) -> Header:
    """Read the header of an image file; of what is none, it finds nothing.

    Raises:
        TooLargeError: too many pixels, too many scans of them, or too much metadata.
    """
    if data.startswith(b"\xff\xd8"):
        return Header(coefficients_b=_coefficients_b(data))
    if data.startswith(b"\x89PNG"):
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
        check_pixels(width, height)
        pixel_b = _PNG_PIXEL_B.get(data[24:26], 4)
        return Header(Need(width, height, _png_b(width, height, pixel_b) + _texts_b(data)))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        width, height = _canvas(data[:30].ljust(30, b"\0"))
        check_pixels(width, height)
        return Header(Need(width, height, _WEBP_PIXEL_B * width * height + _WEBP_FILES * len(data)))
    return Header()


def _canvas(head: bytes) -> tuple[int, int]:
    """Width and height of a WebP. https://developers.google.com/speed/webp/docs/riff_container"""
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _png_b(width: int, height: int, pixel_b: int) -> int:
    """The pixels, and two rows of as many as 16 bits in each of four channels."""
    return height * (width * pixel_b + _ROW_B) + 2 * 8 * width


def _texts_b(data: bytes) -> int:
    """What Pillow makes of a PNG's texts: it keeps the bytes and twice the characters, of 4 bytes at most."""
    at, total_b, largest_b, packed = 8, 0, 0, 0
    for _ in range(MAX_READS):
        if at + 8 > len(data):
            break
        length, kind = _CHUNK.unpack_from(data, at)
        at += length + 12
        if kind == b"IDAT":
            continue
        packed += kind in (b"iCCP", b"zTXt", b"iTXt")
        if kind in (b"zTXt", b"iTXt", b"tEXt"):
            text_b = min(length, len(data)) if kind == b"tEXt" else max(length, min(_DEFLATED * length, 2**20))
            total_b, largest_b = total_b + text_b, max(largest_b, text_b)
    if packed > MAX_PACKED_CHUNKS:
        raise TooLargeError(f"{packed} compressed texts and profiles; at most {MAX_PACKED_CHUNKS} are read")
    return 9 * min(total_b, MAX_TEXT_B + largest_b)


def _coefficients_b(data: bytes) -> int:
    """Read a JPEG's markers, to its first scan, or to its last where it has several: only there are they all kept."""
    at, scans, exif_b, several = 2, 0, 0, False
    frame = b""
    while at + 4 <= len(data):
        fill, marker, length = _SEGMENT.unpack_from(data, at)
        if fill != 0xFF or marker in _NO_MARKERS:  # the pixels of a scan, or junk
            match = _MARKER.search(data, at)
            if not match:
                break
            at = match.start()
            continue
        if marker in _BARE:
            if marker == _END and scans:
                break
            at += 2
            continue
        body, at = at + 4, at + 2 + max(length, 2)
        if marker in _FRAMES:
            frame, several = data[body:at], marker in _PROGRESSIVE
        elif marker == _SCAN:
            scans += 1
            several = several or data[body : body + 1] < frame[5:6]  # not all components: others follow
            if not several or scans > MAX_SCANS:
                break
        elif marker == _APP1 and data.startswith(b"Exif", body):
            exif_b += at - body
        if not scans and (at > MAX_HEADER_B or exif_b > MAX_EXIF_B):
            raise TooLargeError(f"{max(at, exif_b)} bytes of metadata before the picture")
    if scans > MAX_SCANS:
        raise TooLargeError(f"more than {MAX_SCANS} scans; an encoder writes some ten")
    height, width = _SIDES.unpack_from(frame, 1) if len(frame) > 5 else (0, 0)
    if width * height * scans > MAX_SCANNED_PIXELS:
        text = f"{width} × {height} pixels in {scans} scans"
        raise TooLargeError(f"{text}; at most {MAX_SCANNED_PIXELS} pixels are read in all")
    return _blocks_b(frame, width=width, height=height) if several else 0


def _blocks_b(frame: bytes, *, width: int, height: int) -> int:
    """Bytes of all coefficients: 2 each, in whole blocks of 8 × 8 for each component, as many as sampling asks."""
    factors = [(value >> 4 or 1, value & 15 or 1) for value in frame[7::3]]
    across, down = (max((factor[way] for factor in factors), default=1) for way in (0, 1))
    units_x, units_y = -(-width // (8 * across)), -(-height // (8 * down))
    return sum(128 * units_x * x * units_y * y for x, y in factors)


def check_pixels(width: int, height: int) -> None:
    """Raises TooLargeError where there are too many."""
    if width * height > MAX_PIXELS:
        raise TooLargeError(f"{width} × {height} pixels; at most {MAX_PIXELS} are decoded")


def loading(image: Pillow.Image, data: bytes, header: Header, *, whole: tuple[int, int]) -> Need:
    """What loading an image takes, opened and drafted: its pixels, and what its decoder holds beside them.

    Args:
        image: whose size is what will be decoded.
        data: its file.
        header: its header.
        whole: its size as it was opened.

    Raises:
        TooLargeError: too many pixels, or more than its header says.
    """
    width, height = image.size
    check_pixels(width, height)
    pixel_b = _PIXEL_B.get(image.mode, 4)
    size_b = height * (width * pixel_b + _ROW_B)
    if image.format in ("JPEG", "MPO"):
        size_b += header.coefficients_b + 512 * width  # rows of blocks, upsampled
    elif image.format == "PNG":
        size_b = _png_b(width, height, pixel_b)
    elif image.format == "BMP":  # runs become bytes before they become pixels; other files are read in one piece
        runs = image.info.get("compression") in (1, 2)
        if runs and width * height > MAX_RUN_PIXELS:
            raise TooLargeError(f"{width} × {height} pixels in runs; at most {MAX_RUN_PIXELS} are decoded")
        size_b += 3 * width * height if runs else 4 * width + len(data)
    if header.opening and size_b > header.opening.size_b:
        first = f"{header.opening.width} × {header.opening.height}"
        raise TooLargeError(f"{width} × {height} pixels, {first} in its first header")
    return Need(*whole, size_b)
