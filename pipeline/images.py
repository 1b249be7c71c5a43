"""Images as listed: every image below a location, its label, and what a listing holds in all."""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from obstore.exceptions import InvalidPathError

from pipeline import folder, keys, shards, store
from pipeline.folder import Entry
from pipeline.names import escape, member_path

log = logging.getLogger("pipeline")

MEMBER_FAULTS = {
    "Nested": "an archive in an archive is not opened; unpack the outer one",
    "Duplicate": "a member before it has the same name",
    "Empty": "it has no bytes",
    "TooMany": f"no more than {shards.MAX_MEMBERS:,} images of one archive are read, and this is the next; split it",
}
# The formats that `decoding` reads, and what their files are called.
SUFFIXES_BY_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
SUFFIXES = tuple(suffix for suffixes in SUFFIXES_BY_FORMAT.values() for suffix in suffixes)


@dataclass(frozen=True)
class ImageRef:
    """An image as listed.

    Attributes:
        path: relative to the input, as `names.escape` writes it.
        size: in bytes.
        etag: of its content.
        label: its class folder.
        error, message: why it cannot be read, and so is rejected; None for what can.
        offset: of its first byte in the archive that holds it; None for a file of its own. See `names.member_path`.
    """

    path: str
    size: int
    etag: str
    label: str
    error: str | None = None
    message: str | None = None
    offset: int | None = None


@dataclass
class ListingSummary:
    """What a listing holds, in memory that does not grow with it.

    Attributes:
        labels: images by class, of those that can be read.
        readable_b: bytes of these.
        packed, packed_b: how many of these lie in archives, and their bytes.
        faulty: images, folders and archives that cannot.
        spellings: by class, how its folders write it; it is the same in all of them by Unicode's form NFC.
        skipped: files that are no images by their suffix: count by name, the first 20 names.
        skipped_total: all of them.
        fingerprint: of the (path, etag) pairs in any order: the sum of their hashes modulo 2^128.
    """

    labels: Counter[str] = field(default_factory=Counter)
    readable_b: int = 0
    packed: int = 0
    packed_b: int = 0
    faulty: int = 0
    spellings: dict[str, set[str]] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_total: int = 0
    fingerprint: int = 0

    @property
    def listed(self) -> int:
        """All images, also those that cannot be read."""
        return self.labels.total() + self.faulty

    def label(self, folder: str) -> str:
        """The class that the folder of this name holds: macOS and Linux write one `é` as two letters or as one."""
        label = folder if folder.isascii() else unicodedata.normalize("NFC", folder)
        self.spellings.setdefault(label, set()).add(folder)
        return label

    def notes(self) -> list[str]:
        """A line for each class whose folders are written in several ways."""
        several = {label: len(names) for label, names in sorted(self.spellings.items()) if len(names) > 1}
        return [f"{label}: one class, of folders whose names Unicode writes in {count} ways (NFC, NFD)"
                for label, count in several.items()]  # fmt: skip

    def count(self, image: ImageRef) -> None:
        """Take in an image."""
        if image.error is None:
            self.labels[image.label] += 1
            self.readable_b += image.size
            if image.offset is not None:
                self.packed += 1
                self.packed_b += image.size
        else:
            self.faulty += 1
        digest = blake2b(f"{image.path}\0{image.etag}".encode(), digest_size=16).digest()
        self.fingerprint = (self.fingerprint + int.from_bytes(digest, "big")) % 2**128

    def skip(self, name: str) -> None:
        """Take in a file that is no image."""
        self.skipped_total += 1
        if name in self.skipped or len(self.skipped) < 20:
            self.skipped[name] += 1


def list_images(uri: str, summary: ListingSummary) -> Iterator[ImageRef]:
    """Every image below `uri`, streamed: one LIST a thousand keys, no HEAD; the members of archives as `shards.members`
    tells. Counts into `summary`.

    The class of a member is that of the `.cls` beside it, or else its folder in the archive, or else the archive's.
    Hidden files (`.DS_Store`, `._photo.jpg`) are no images. The label of an image that lies directly in the input is
    the input folder's own name. What has an image's name and cannot be read is listed with the reason, and so is a
    folder that cannot.

    Raises:
        STORE_ERRORS: the location cannot be listed.
    """
    last, label = escape(uri.rpartition("/")[2]), ""
    before: str | None = None
    archives: deque[tuple[Entry, str, Future[bytes]]] = deque()
    with ThreadPoolExecutor(shards.TAILS) as pool:
        for entry in _objects(uri) if uri.startswith("s3://") else folder.walk(uri):
            place, _, name = entry.path.rpartition("/")
            if not entry.path:  # the mark of the input itself, which the S3 console makes
                continue
            is_archive = shards.is_shard(name) and not name.startswith(".")
            if not is_archive and name and (name.startswith(".") or not name.lower().endswith(SUFFIXES)):
                summary.skip(name)
                continue
            own = place.rpartition("/")[2] or last
            if is_archive and entry.size and not entry.error:
                archives.append((entry, own, pool.submit(shards.tail, uri, entry)))
                if len(archives) == shards.TAILS:
                    yield from _members(uri, *archives.popleft(), pool=pool, summary=summary)
                continue
            if place != before:
                before, label = place, summary.label(own)
            error, message = entry.error, entry.message
            if not (entry.size or error):  # or it is the mark of a folder on S3, which nothing could fetch
                error, message = "Empty", "it has no bytes"
            image = ImageRef(entry.path, entry.size, entry.etag, label, error, message)
            summary.count(image)
            yield image
        for archive in archives:
            yield from _members(uri, *archive, pool=pool, summary=summary)


def _members(
    uri: str, archive: Entry, folder: str, end: Future[bytes], *, pool: ThreadPoolExecutor, summary: ListingSummary
) -> Iterator[ImageRef]:
    """The images in an archive that lies in `folder`. What has the name of a member before it is one that cannot be
    read, with its place behind its name: no two have the same path."""
    names = set[int]()  # by their hashes
    for packed in shards.members(uri, archive, end, pool):
        member, message = packed.member, packed.member.message
        place, _, base = member.name.rpartition("/")
        error = member.error or ("Nested" if shards.is_shard(base) else None)
        is_nameless = member.error is not None and member.name[:1] in {"", "@"}
        if base.startswith(".") or not (is_nameless or error == "Nested" or base.lower().endswith(SUFFIXES)):
            summary.skip(base)
            continue
        name = member.name
        if hash(name) in names:
            error, name = error or "Duplicate", f"{name}@{member.offset}"
        elif len(names) == shards.MAX_MEMBERS:
            error, name = "TooMany", f"@{member.offset}"
        elif not (member.size or error):
            error = "Empty"
        names.add(hash(member.name))
        path = member_path(archive.path, name) if name else archive.path
        own = packed.label or place.rpartition("/")[2] or folder
        image = ImageRef(
            path,
            member.size,
            f"{archive.etag}#{member.offset}",
            own if error else summary.label(own),
            error,
            message or MEMBER_FAULTS.get(error or ""),
            None if error else member.offset,
        )
        summary.count(image)
        yield image
        if error == "TooMany":
            return


def _objects(uri: str) -> Iterator[Entry]:
    """Every object below `uri`; a page with a key that is no path by another way, the next as before."""
    after: str | None = None
    marks = set[str]()  # what came after `after` and may stand for a key with a slash at its end
    while True:
        try:
            for entry in store.entries(uri, after=after):
                etag = entry["e_tag"] or f"{entry['size']}-{entry['last_modified'].isoformat()}"
                yield _object(entry["path"], entry["size"], etag)
                if entry["size"]:
                    after = entry["path"]
                    marks.clear()
                else:
                    marks.add(entry["path"])
        except InvalidPathError:
            log.info("%s: some keys are no paths; looking at them one by one", escape(uri))
        else:
            return
        while True:
            page = keys.page(uri, after=after or "")
            for key in page.keys:
                after, name = key.name, key.name.rstrip("/")
                if name not in marks:
                    yield _object(name, key.size, key.etag)
            marks.clear()
            if not page.more:
                return
            if after and keys.fault(after) is None and not after.endswith("/"):
                break  # the store takes it up from here


def _object(name: str, size: int, etag: str) -> Entry:
    fault = keys.fault(name)
    return Entry(escape(name), size, etag, "BadKey", fault) if fault else Entry(name, size, etag)


def exists(uri: str) -> bool:
    """Whether there is a folder at `uri`; a prefix in a bucket needs none."""
    return uri.startswith("s3://") or Path(uri).is_dir()
