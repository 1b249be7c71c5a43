"""Listed images -> pixels, fetched and decoded ahead of the model, or why not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from obstore.exceptions import NotFoundError

from pipeline.decoding import UndecodableError, decode
from pipeline.folder import Entry, file, words
from pipeline.images import ImageRef
from pipeline.limits import TooLargeError
from pipeline.names import shard_of
from pipeline.shards import SPAN_B, ReplacedError, read
from pipeline.store import MissingOrDenied, explain, fetch

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


@dataclass(frozen=True)
class _Span:
    """A part of an archive, from `start` on, that is being fetched."""

    start: int
    content: Future[bytes]

    def cut(self, image: ImageRef) -> tuple[bytes, str]:
        """The bytes of a member in it, once they are there, and its etag."""
        start = (image.offset or 0) - self.start
        return self.content.result()[start : start + image.size], image.etag


def load(images: Iterable[ImageRef], uri: str, *, size: int) -> Iterator[DecodedImage | Rejected]:
    """Fetch and decode `images` ahead of the caller, in their order.

    Args:
        images: as listed below `uri`.
        uri: the input.
        size: edge of the square that each is brought to, in pixels.

    Raises:
        STORE_ERRORS: the server failed in a way that is not about one image.
    """
    waiting: deque[tuple[int, Future[list[DecodedImage | Rejected]]]] = deque()
    ahead_b = 0
    with ThreadPoolExecutor(FETCHES) as pool:
        for stretch in _stretches(images):
            size_b = _end(stretch[-1]) - (stretch[0].offset or 0) if _is_packed(stretch[0]) else _total(stretch)
            groups = list(_groups(stretch))
            for number, group in enumerate(groups):
                more_b = 0 if number else size_b
                while waiting and (len(waiting) > FETCHES or (more_b and ahead_b + more_b > AHEAD_BYTES)):
                    freed_b, first = waiting.popleft()
                    ahead_b -= freed_b
                    yield from first.result()
                if not number:
                    ahead_b += size_b
                    span = _fetch_ahead(stretch, uri, pool)
                freed_b = size_b if number == len(groups) - 1 else 0
                waiting.append((freed_b, pool.submit(_load_group, group, uri, size=size, span=span)))
        for _, rest in waiting:
            yield from rest.result()


def _stretches(images: Iterable[ImageRef]) -> Iterator[list[ImageRef]]:
    """Images that are fetched together: members that follow each other in an archive, SPAN_B of it at most; or a
    group of files."""
    stretch: list[ImageRef] = []
    for image in images:
        if stretch and not _joins(stretch, image):
            yield stretch
            stretch = []
        stretch.append(image)
    if stretch:
        yield stretch


def _joins(stretch: list[ImageRef], image: ImageRef) -> bool:
    first, last = stretch[0], stretch[-1]
    if not _is_packed(first) or not _is_packed(image):
        return _is_packed(first) == _is_packed(image) and _fits(stretch, image)
    is_same = shard_of(image.path) == shard_of(first.path)
    return is_same and _end(last) <= (image.offset or 0) and _end(image) - (first.offset or 0) <= SPAN_B


def _groups(images: Iterable[ImageRef]) -> Iterator[list[ImageRef]]:
    """Small images by the GROUP: handing them over one by one costs 3 % of the smallest. A large one goes alone."""
    group: list[ImageRef] = []
    for image in images:
        if group and not _fits(group, image):
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _fits(group: list[ImageRef], image: ImageRef) -> bool:
    return len(group) < GROUP and _total(group) + image.size <= GROUP_BYTES


def _total(images: list[ImageRef]) -> int:
    return sum(image.size for image in images)


def _is_packed(image: ImageRef) -> bool:
    return image.offset is not None


def _end(image: ImageRef) -> int:
    return (image.offset or 0) + image.size


def _fetch_ahead(stretch: list[ImageRef], uri: str, pool: ThreadPoolExecutor) -> _Span | None:
    """The part of an archive that holds these members, on its way; None for files, and for what is too large."""
    first, last = stretch[0], stretch[-1]
    if first.offset is None or first.size > MAX_BYTES:
        return None
    return _Span(first.offset, pool.submit(read, uri, _shard(last), first.offset, _end(last) - first.offset))


def _shard(image: ImageRef) -> Entry:
    """The archive of a member, up to this member's end."""
    return Entry(shard_of(image.path) or "", _end(image), image.etag.rpartition("#")[0])


def _load_group(group: list[ImageRef], uri: str, *, size: int, span: _Span | None) -> list[DecodedImage | Rejected]:
    return [_load(image, uri, size=size, span=span) for image in group]


def _load(image: ImageRef, uri: str, *, size: int, span: _Span | None) -> DecodedImage | Rejected:
    if image.error is not None:
        return Rejected(image, "list", image.error, image.message or image.error)
    if image.size > MAX_BYTES:
        return Rejected(image, "list", "TooLarge", f"{image.size} bytes; at most {MAX_BYTES} are read")
    try:
        data, etag = span.cut(image) if span else fetch_image(image, uri)
    except (ReplacedError, MemoryError, NotFoundError, *MissingOrDenied) as error:
        return Rejected(image, "fetch", *_cause(image, error))
    except OSError as error:  # a bad sector, a folder in its place; a server's errors are others
        return Rejected(image, "fetch", type(error).__name__, words(error))
    return _decode(image, data, size=size, etag=etag)


def _cause(image: ImageRef, error: Exception) -> tuple[str, str]:
    if isinstance(error, ReplacedError):
        return "Replaced", f"{error}; run again"
    if isinstance(error, MemoryError):
        return "MemoryError", f"no memory is left for its {image.size} bytes"
    if isinstance(error, FileNotFoundError | NotFoundError):
        return "NotFound", "it was listed and is gone"
    return "AccessDenied", explain(error)


def _decode(image: ImageRef, data: bytes, *, size: int, etag: str) -> DecodedImage | Rejected:
    try:
        return DecodedImage(image, etag, decode(data, size=size))
    except UndecodableError as error:
        cause = error.__cause__ or error
        name = "TooLarge" if isinstance(cause, TooLargeError) else type(cause).__name__
        return Rejected(image, "decode", name, str(error))


def fetch_image(image: ImageRef, uri: str) -> tuple[bytes, str]:
    """The bytes of an image that was listed below `uri`, by a request of its own, and their etag.

    A file is read at once: handing it to the store's threads costs 4 % of a small image.

    Raises:
        ReplacedError: the archive that held it is another one by now.
        STORE_ERRORS: it cannot be read.
    """
    if image.offset is not None:
        return read(uri, _shard(image), image.offset, image.size), image.etag
    if not uri.startswith("s3://"):
        return Path(file(uri, image.path)).read_bytes(), image.etag
    fetched = fetch(uri, image.path)
    return fetched.content, fetched.etag or image.etag
