"""Images: list a location, fetch one's bytes, decode them to RGB or say why not."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
import obstore
from numpy.typing import NDArray
from obstore.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from pipeline.store import explain, open_store

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")
MAX_BYTES = 128 * 2**20  # an image file is fetched whole: what is larger is no photograph
MAX_PIXELS = 100_000_000  # 300 MB decoded; the largest cameras make 100 megapixels

# Fetching is waiting: eight requests a task slot hide 20 ms of latency behind 3 ms of inference. What they may hold
# between them is bounded, so that memory is flat whatever the size of the files.
FETCHES = 8
GROUP, GROUP_BYTES = 8, 2**18
AHEAD_BYTES = 64 * 2**20

# What Pillow's decoders raise on hostile files. OSError is the rule, the others were met.
DECODE_ERRORS = (
    OSError, ValueError, TypeError, IndexError, KeyError, AttributeError, SyntaxError, NotImplementedError,
    OverflowError, ZeroDivisionError, EOFError, RuntimeError, struct.error, zlib.error,
    Pillow.DecompressionBombError,
)  # fmt: skip

# `decode` has its own cap and its own words for what is wrong: Pillow need not warn on stderr beside it.
Pillow.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module="PIL")


@dataclass(frozen=True)
class Listed:
    """An image as listed: `path` relative to the input, `size` in bytes, `label` its class folder."""

    path: str
    size: int
    etag: str
    label: str


@dataclass(frozen=True)
class Loaded:
    """A decoded image: `rgb` uint8 (size, size, 3), `etag` of the bytes that were decoded."""

    image: Listed
    etag: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Rejected:
    """An image that gives no features: the stage that failed, the class of the error and its message."""

    image: Listed
    stage: str
    error: str
    message: str


class UndecodableError(Exception):
    """The bytes are no image that we read."""


@dataclass
class Census:
    """What a listing holds, in memory that does not grow with it.

    Attributes:
        labels: images by class.
        skipped: files that are no images by their suffix: count by name, the first 20 names.
        skipped_total: all of them.
        fingerprint: of the (path, etag) pairs in any order: the sum of their hashes modulo 2^128.
    """

    labels: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_total: int = 0
    fingerprint: int = 0

    def count(self, image: Listed) -> None:
        """Take in an image."""
        self.labels[image.label] += 1
        digest = blake2b(f"{image.path}\0{image.etag}".encode(), digest_size=16).digest()
        self.fingerprint = (self.fingerprint + int.from_bytes(digest, "big")) % 2**128

    def skip(self, name: str) -> None:
        """Take in a file that is no image."""
        self.skipped_total += 1
        if name in self.skipped or len(self.skipped) < 20:
            self.skipped[name] += 1


def list_images(uri: str, census: Census) -> Iterator[Listed]:
    """Every image below `uri`, streamed: one LIST a thousand keys, no HEAD. Counts into `census`.

    Hidden files (`.DS_Store`, `._photo.jpg`) are no images. The label of an image that lies directly in the input is
    the input folder's own name.

    Raises:
        StoreError: the location cannot be listed.
    """
    for chunk in obstore.list(open_store(uri, patient=False)):
        for entry in chunk:
            folder, _, name = entry["path"].rpartition("/")
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                census.skip(name)
                continue
            label = (folder or uri).rpartition("/")[2]
            etag = entry["e_tag"] or f"{entry['size']}-{entry['last_modified'].isoformat()}"
            image = Listed(entry["path"], entry["size"], etag, label)
            census.count(image)
            yield image


def load(images: Iterable[Listed], uri: str, *, size: int) -> Iterator[Loaded | Rejected]:
    """Fetch and decode `images` ahead of the caller, in their order.

    Args:
        images: as listed below `uri`.
        uri: the input.
        size: edge of the square that each is brought to, in pixels.

    Raises:
        StoreError: the server failed in a way that is not about one image.
    """
    waiting: deque[tuple[int, Future[list[Loaded | Rejected]]]] = deque()
    held = 0
    with ThreadPoolExecutor(FETCHES) as pool:
        for group in _groups(images):
            size_b = sum(image.size for image in group)
            while waiting and (len(waiting) > FETCHES or held + size_b > AHEAD_BYTES):
                freed, first = waiting.popleft()
                held -= freed
                yield from first.result()
            held += size_b
            waiting.append((size_b, pool.submit(_load_group, group, uri, size=size)))
        for _, rest in waiting:
            yield from rest.result()


def _groups(images: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Small images by the GROUP: handing them over one by one costs 3 % of the smallest. A large one goes alone."""
    group: list[Listed] = []
    for image in images:
        if group and (len(group) == GROUP or sum(each.size for each in group) + image.size > GROUP_BYTES):
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _load_group(group: list[Listed], uri: str, *, size: int) -> list[Loaded | Rejected]:
    return [_load(image, uri, size=size) for image in group]


def _load(image: Listed, uri: str, *, size: int) -> Loaded | Rejected:
    if image.size > MAX_BYTES:
        return Rejected(image, "list", "TooLarge", f"{image.size} bytes; at most {MAX_BYTES} are read")
    try:
        data, etag = _fetch(image, uri)
    except (FileNotFoundError, NotFoundError):
        return Rejected(image, "fetch", "NotFound", "it was listed and is gone")
    except (PermissionError, PermissionDeniedError, UnauthenticatedError) as error:
        return Rejected(image, "fetch", "AccessDenied", explain(error))
    try:
        return Loaded(image, etag, decode(data, size=size))
    except UndecodableError as error:
        return Rejected(image, "decode", type(error.__cause__ or error).__name__, str(error))


def _fetch(image: Listed, uri: str) -> tuple[bytes, str]:
    """Bytes and their etag. A file is read at once: handing it to the store's threads costs 4 % of a small image."""
    if not uri.startswith("s3://"):
        return Path(uri, image.path).read_bytes(), image.etag
    answer = obstore.get(open_store(uri), image.path)
    return bytes(answer.bytes()), answer.meta["e_tag"] or image.etag


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
        raise UndecodableError(f"no JPEG, PNG, WebP, BMP or GIF; it begins with {data[:12]!r}") from error
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


def exists(uri: str) -> bool:
    """Whether there is a folder at `uri`; a prefix in a bucket needs none."""
    return uri.startswith("s3://") or Path(uri).is_dir()
