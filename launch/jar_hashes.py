"""Holds jars to their hashes in jars.lock, wherever Ivy fetched them from.

Ivy compares what it fetches with checksums of the same server, which guards against accidents alone. The images' builds
take this file along: it needs the standard library and nothing of this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path

LOCK = Path(__file__).with_name("jars.lock")


class HashError(Exception):
    """A jar is not the one that was locked: one line."""


def digests(jars: Iterable[Path]) -> dict[str, str]:
    """SHA-256, hexadecimal, by the file's name."""
    by_name = {}
    for jar in jars:
        with jar.open("rb") as file:
            by_name[jar.name] = file_digest(file, "sha256").hexdigest()
    return by_name


def check(jars: Iterable[Path], lock: Path) -> None:
    """See that every jar is in `lock` (`sha256sum`'s form) with its hash.

    Raises:
        HashError: one is not.
    """
    locked = {name: digest for digest, name in (line.split() for line in lock.read_text().splitlines())}
    for name, digest in digests(jars).items():
        if name not in locked:
            raise HashError(f"{name} is not in {lock.name}; make lock writes it anew")
        if digest != locked[name]:
            raise HashError(f"{name} has the SHA-256 {digest}, {lock.name} has {locked[name]}: it is another file")
