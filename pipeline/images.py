"""Images as listed: every image below a location, its label, and what a listing holds in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pipeline import store

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Listed:
    """An image as listed: `path` relative to the input, `size` in bytes, `label` its class folder."""

    path: str
    size: int
    etag: str
    label: str


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
    for entry in store.entries(uri):
        folder, _, name = entry["path"].rpartition("/")
        if name.startswith(".") or not name.lower().endswith(SUFFIXES):
            census.skip(name)
            continue
        label = (folder or uri).rpartition("/")[2]
        etag = entry["e_tag"] or f"{entry['size']}-{entry['last_modified'].isoformat()}"
        image = Listed(entry["path"], entry["size"], etag, label)
        census.count(image)
        yield image


def exists(uri: str) -> bool:
    """Whether there is a folder at `uri`; a prefix in a bucket needs none."""
    return uri.startswith("s3://") or Path(uri).is_dir()
