"""Images that the tests make themselves: good ones of every kind, and files that only claim to be images."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, *, size: int = 32, hue: int = 0) -> np.ndarray:
    """A smooth RGB picture, uint8 (size, size, 3): a disc of a colour on white, with a little of its own."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    disc = (x**2 + y**2 < random.uniform(0.12, 0.2))[..., None]
    colour = np.roll([220, 120, 40], hue) + random.integers(-25, 25, 3)
    picture = np.where(disc, colour * (1 - 0.5 * (x + y)[..., None]), 255)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """The bytes of an image file."""
    sink = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(sink, kind, **options)
    return sink.getvalue()


def write_set(folder: Path, *, classes: int = 3, views: int = 8) -> None:
    """Class folders of JPEG files `<fruit>_<view>.jpg`, two views a fruit, classes told apart by colour."""
    for number in range(classes):
        place = folder / f"Class {number}"
        place.mkdir(parents=True, exist_ok=True)
        for view in range(views):
            data = encode(pixels(100 * number + view // 2, hue=number), quality=95)
            (place / f"{view // 2}_{view % 2}.jpg").write_bytes(data)


def good() -> dict[str, bytes]:
    """One file of every format, mode and size that must decode."""
    rgb = Image.fromarray(pixels(1))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    frames = [Image.fromarray(pixels(n)) for n in (1, 2, 3)]
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.jpg": encode(rgb),
        "grey.jpg": encode(rgb.convert("L")),
        "cmyk.jpg": encode(rgb.convert("CMYK")),
        "progressive.jpeg": encode(rgb, progressive=True),
        "turned.JPG": encode(rgb, exif=turned),
        "rgb.png": encode(rgb, "PNG"),
        "bilevel.png": encode(rgb.convert("1"), "PNG"),
        "palette.png": encode(rgb.convert("P"), "PNG"),
        "grey16.png": encode(deep, "PNG"),
        "alpha.png": encode(rgb.convert("RGBA"), "PNG"),
        "greyalpha.png": encode(rgb.convert("LA"), "PNG"),
        "transparent.png": encode(rgb.convert("P"), "PNG", transparency=0),
        "lossy.webp": encode(rgb, "WEBP"),
        "lossless.webp": encode(rgb.convert("RGBA"), "WEBP", lossless=True),
        "rgb.bmp": encode(rgb, "BMP"),
        "still.gif": encode(rgb.convert("P"), "GIF"),
        "moving.gif": encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "dot.png": encode(rgb.resize((1, 1)), "PNG"),
        "wide.jpg": encode(rgb.resize((300, 7))),
        "large.jpg": encode(rgb.resize((1500, 1200))),
    }


def bad() -> dict[str, bytes]:
    """Files named as images that are none, or not whole."""
    jpeg, png = encode(pixels(1)), encode(pixels(1), "PNG")
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("photo.jpg", jpeg)
    return {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "truncated.gif": encode(Image.fromarray(pixels(1)).convert("P"), "GIF")[:200],
        "truncated.webp": encode(pixels(1), "WEBP")[:60],
        "truncated.bmp": encode(pixels(1), "BMP")[:500],
        "text.jpg": b"this is a text file\n",
        "empty.jpg": b"",
        "page.png": b"<!DOCTYPE html><html><body>404</body></html>",
        "archive.png": sink.getvalue(),
        "script.png": b"#!/bin/sh\nrm -rf $HOME\n",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "bomb.png": bomb(40_000, 40_000),
        "noise.gif": b"GIF89a" + bytes(range(256)),
        "header.png": png[:8],
    }


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
