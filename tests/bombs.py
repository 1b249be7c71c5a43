"""Image files that are small and take much: memory, or time. Made by hand, so that making them takes neither."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

from PIL import Image

from tests import pictures


def png(width: int, height: int, *, bits: int = 8, colour: int = 6, extra: bytes = b"") -> bytes:
    """A whole PNG of zeros: RGBA unless `colour` says otherwise; `extra` chunks stand before the pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    total = height * (1 + -(-width * channels * bits // 8))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**16)) + packer.flush(zlib.Z_FULL_FLUSH)  # looks back to nothing: may be repeated
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    tail = last.compress(bytes(total % 2**16)) + last.flush()
    check = struct.pack(">I", (total % 65521) << 16 | 1)  # Adler-32 of zeros
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(3)) if colour == 3 else b""
    pixels = chunk(b"IDAT", b"\x78\xda" + block * (total // 2**16) + tail + check)
    return b"\x89PNG\r\n\x1a\n" + header + palette + extra + pixels + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(width: int, height: int) -> bytes:
    """A whole grey baseline JPEG, every block of which says "as the one before": 6 bits. Sides are multiples of 16."""
    model = pictures.encode(Image.new("L", (16, 16), 128))
    size = model.index(b"\xff\xc0") + 5
    start = model.index(b"\xff\xda") + 10
    # Huffman tables of the standard's annex K: 00 is no change of the mean, 1010 the end of the block.
    blocks = b"\x28\xa2\x8a" * (width * height // 64 // 4)
    return model[:size] + struct.pack(">HH", height, width) + model[size + 4 : start] + blocks + b"\xff\xd9"


def scans(count: int, *, edge: int = 64) -> bytes:
    """A progressive JPEG of `count` scans: its last one, again and again. It decodes."""
    whole = pictures.encode(pictures.pixels(1, size=edge), progressive=True)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", whole)]
    return whole[: starts[-1]] + whole[starts[-1] : -2] * (count - len(starts) + 1) + whole[-2:]


def progressive(width: int, height: int) -> bytes:
    """A progressive JPEG that claims so many pixels, and has those of a small one."""
    whole = pictures.encode(pictures.pixels(1), progressive=True, subsampling=0)
    size = whole.index(b"\xff\xc2") + 5
    return whole[:size] + struct.pack(">HH", height, width) + whole[size + 4 :]


def webp(width: int, height: int) -> bytes:
    """A whole lossless WebP of one colour: its five codes have one symbol each, so that a pixel takes no bits."""
    bits = f"{width - 1:014b}"[::-1] + f"{height - 1:014b}"[::-1] + "0" + "000"  # size, no alpha, version
    bits += "000" + "1000" * 5  # no transform, no cache, one set of codes; each simple, of one symbol, the symbol 0
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    body = b"\x2f" + bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    body += bytes(len(body) % 2)
    content = b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(content)) + content


def bmp_of_runs(width: int, height: int) -> bytes:
    """A BMP in runs that ends each row after one pixel: the decoder fills it up."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = b"".join(bytes((value, 0, 255 - value, 0)) for value in range(256))
    offset = 14 + len(header) + len(palette)
    runs = b"\x01\x05\x00\x00" * height + b"\x00\x01"
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + palette + runs


def gif(width: int, height: int) -> bytes:
    """A GIF whose logical screen and first frame claim so many pixels."""
    whole = bytearray(pictures.encode(Image.new("P", (8, 8)), "GIF"))
    whole[6:10] = struct.pack("<HH", width, height)
    frame = whole.index(b",", 13)
    whole[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(whole)


def texts(count: int) -> bytes:
    """A PNG with `count` texts of 1 kB that are 1 MB each once Pillow has read them."""
    sink = io.BytesIO()
    for number in range(count):
        packed = zlib.compress(b"\xf0\x9f\x8d\x8e" * 2**18, 9)
        sink.write(chunk(b"iTXt", b"k%d\0\x01\0\0\0" % number + packed))
    return png(8, 8, extra=sink.getvalue())


def write_all(folder: Path, *, count: int = 64) -> None:
    """`count` files of every kind, a few of which decode; each would take from 100 MB to gigabytes, or minutes."""
    kinds = {
        "rgba.png": png(7_000, 7_000),
        "deep.png": png(6_000, 6_000, bits=16),
        "palette.png": png(9_000, 9_000, colour=3),
        "one.webp": webp(4_900, 4_900),
        "large.webp": webp(16_000, 6_000),
        "wide.png": png(100_000_000, 1),
        "tall.png": png(1, 100_000_000, colour=0),
        "claims.jpg": progressive(20_000, 20_000),
        "coefficients.jpg": progressive(7_500, 7_500),
        "scans.jpg": scans(500),
        "huge.jpg": jpeg(20_000, 20_000),
        "runs.bmp": bmp_of_runs(8_000, 8_000),
        "screen.gif": gif(65_535, 65_535),
        "frame.gif": gif(9_900, 9_900),
        "texts.png": texts(300),
        "some-texts.png": texts(15),
    }
    for number in range(count):
        name = list(kinds)[number % len(kinds)]
        (folder / f"bomb{number // len(kinds)}-{name}").write_bytes(kinds[name])
