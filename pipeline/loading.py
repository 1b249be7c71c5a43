"""Listed images -> pixels, fetched and decoded ahead of the model, or why not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from obstore.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError

from pipeline.decoding import UndecodableError, decode
from pipeline.folder import file
from pipeline.images import ImageRef
from pipeline.limits import TooLargeError
from pipeline.store import explain, fetch

MAX_BYTES = 128 * 2**20  # an image file is fetched whole: what is larger is no photograph

# Fetching is waiting: eight requests a task slot hide 20 ms of latency behind 3 ms of inference. What they may hold
# between them is bounded, so that memory is flat whatever the size of the files.
FETCHES = 8
GROUP, GROUP_BYTES = 8, 2**18
AHEAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image: `rgb` uint8 (size, size, 3), `etag` of the bytes that were decoded."""

    image: ImageRef
    etag: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Rejected:
    """An image that gives no features: the stage that failed, the class of the error and its message."""

    image: ImageRef
    stage: str
    error: str
    message: str


def load(images: Iterable[ImageRef], uri: str, *, size: int) -> Iterator[DecodedImage | Rejected]:
    """Fetch and decode `images` ahead of the caller, in their order.

    Args:
        images: as listed below `uri`.
        uri: the input.
        size: edge of the square that each is brought to, in pixels.

    Raises:
        StoreError: the server failed in a way that is not about one image.
    """
    waiting: deque[tuple[int, Future[list[DecodedImage | Rejected]]]] = deque()
    ahead_b = 0
    with ThreadPoolExecutor(FETCHES) as pool:
        for group in _groups(images):
            size_b = sum(image.size for image in group)
            while waiting and (len(waiting) > FETCHES or ahead_b + size_b > AHEAD_BYTES):
                freed_b, first = waiting.popleft()
                ahead_b -= freed_b
                yield from first.result()
            ahead_b += size_b
            waiting.append((size_b, pool.submit(_load_group, group, uri, size=size)))
        for _, rest in waiting:
            yield from rest.result()


def _groups(images: Iterable[ImageRef]) -> Iterator[list[ImageRef]]:
    """Small images by the GROUP: handing them over one by one costs 3 % of the smallest. A large one goes alone."""
    group: list[ImageRef] = []
    for image in images:
        if group and (len(group) == GROUP or sum(each.size for each in group) + image.size > GROUP_BYTES):
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _load_group(group: list[ImageRef], uri: str, *, size: int) -> list[DecodedImage | Rejected]:
    return [_load(image, uri, size=size) for image in group]


def _load(image: ImageRef, uri: str, *, size: int) -> DecodedImage | Rejected:
    if image.error is not None:
        return Rejected(image, "list", image.error, image.message or image.error)
    if image.size > MAX_BYTES:
        return Rejected(image, "list", "TooLarge", f"{image.size} bytes; at most {MAX_BYTES} are read")
    try:
        data, etag = _fetch(image, uri)
    except (FileNotFoundError, NotFoundError):
        return Rejected(image, "fetch", "NotFound", "it was listed and is gone")
    except (PermissionError, PermissionDeniedError, UnauthenticatedError) as error:
        return Rejected(image, "fetch", "AccessDenied", explain(error))
    except MemoryError:
        return Rejected(image, "fetch", "MemoryError", f"no memory is left for its {image.size} bytes")
    return _decode(image, data, size=size, etag=etag)


def _decode(image: ImageRef, data: bytes, *, size: int, etag: str) -> DecodedImage | Rejected:
    try:
        return DecodedImage(image, etag, decode(data, size=size))
    except UndecodableError as error:
        cause = error.__cause__ or error
        name = "TooLarge" if isinstance(cause, TooLargeError) else type(cause).__name__
        return Rejected(image, "decode", name, str(error))


def _fetch(image: ImageRef, uri: str) -> tuple[bytes, str]:
    """Bytes and their etag. A file is read at once: handing it to the store's threads costs 4 % of a small image."""
    if not uri.startswith("s3://"):
        return Path(file(uri, image.path)).read_bytes(), image.etag
    fetched = fetch(uri, image.path)
    return fetched.content, fetched.etag or image.etag
