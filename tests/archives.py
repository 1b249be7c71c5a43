"""Tar archives that the tests make themselves: plain ones, and what tarfile would not write."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

END = bytes(1024)


def member(name: str | bytes, content: bytes = b"", **about: object) -> bytes:
    """A header and its content, padded; `about` are attributes of tarfile.TarInfo: `type`, `size`, `linkname`."""
    info = tarfile.TarInfo("x" if isinstance(name, bytes) else name)
    info.size = len(content)
    for attribute, value in about.items():
        setattr(info, attribute, value)
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    if isinstance(name, bytes):
        header = signed(name.ljust(100, b"\0") + header[100:])
    return header + content + bytes(-len(content) % 512)


def signed(header: bytes) -> bytes:
    """A header with the checksum that it should have."""
    bare = header[:148] + b" " * 8 + header[156:512]
    return bare[:148] + b"%06o\0 " % sum(bare) + bare[156:] + header[512:]


def pax(records: Mapping[str, str], *, size: int | None = None) -> bytes:
    """An extended header before a member; `size` is what it claims to hold."""
    content = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + len(str(len(rest)))
        length = len(rest) + len(str(length))
        content += str(length).encode() + rest
    return member("pax", content, type=tarfile.XHDTYPE, **({} if size is None else {"size": size}))


def of_folder(folder: Path, **options: object) -> bytes:
    """An archive of all files below a folder, as tarfile makes it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", **options) as archive:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(folder).as_posix())
    return sink.getvalue()
