"""What a zip, tar or tar.gz holds, member by member, and never more of it at a time than a header may have."""

from __future__ import annotations

import gzip
import io
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from base.errors import EmrlabError
from pipeline.names import escape

HEADER_BYTES = 2**20  # of a tar's header, at most; the list of a zip's members has a limit of its own
LIST_BYTES = 2**28
ZIP, GZIP, TAR = b"PK\x03\x04", b"\x1f\x8b", b"ustar"
TAR_AT = 257  # where a tar says that it is one


class ArchiveError(EmrlabError):
    """The archive is not unpacked: one line with the member and the cause.

    Attributes:
        damaged: it is not as its makers made it; False: it is, and asks for what is not done.
    """

    def __init__(self, message: str, *, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member that is no folder.

    Attributes:
        name: as the archive has it.
        size: in bytes, as the archive says.
        refusal: why it is none that is unpacked; None for a file.
        read: opens it.
    """

    name: str
    size: int
    refusal: str | None
    read: Callable[[], IO[bytes]]


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a zip, a tar or a tar.gz."""
    return head.startswith((ZIP, GZIP)) or head[TAR_AT:].startswith(TAR)


def members(archive: Path, *, limit_b: int) -> Iterator[Member]:
    """Everything that is no folder; no more than `limit_b` is unpacked to find it.

    Raises:
        ArchiveError: it is none of the formats.
    """
    with archive.open("rb") as file:
        head = file.read(TAR_AT + len(TAR))
        file.seek(0)
        if head.startswith(ZIP):
            yield from _of_zip(file)
        elif head.startswith(GZIP):
            with gzip.open(file) as opened:
                yield from _of_tar(opened, limit_b=limit_b)
        elif is_archive(head):
            yield from _of_tar(file, limit_b=limit_b)
        else:
            raise ArchiveError(f"{escape(archive.name)} is neither zip, tar nor tar.gz")


def _of_zip(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(_Bounded(file, LIST_BYTES, end_b=sys.maxsize)) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            refusal = None
            if info.flag_bits & 1:
                refusal = "is encrypted"
            elif kind == stat.S_IFLNK:
                refusal = "is a link"
            elif info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                refusal = "is neither stored nor deflated"
            elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                refusal = "is neither a file nor a folder"
            if refusal or not info.is_dir():
                yield Member(name=info.filename, size=info.file_size, refusal=refusal, read=partial(opened.open, info))


def _of_tar(file: IO[bytes] | gzip.GzipFile, *, limit_b: int) -> Iterator[Member]:
    bounded = _Bounded(file, HEADER_BYTES, end_b=limit_b)
    with tarfile.open(fileobj=bounded, mode="r:") as opened:
        while (info := opened.next()) is not None:
            opened.members = []  # type: ignore[attr-defined] # tarfile would keep all of them
            refusal = None
            if info.issym() or info.islnk():
                refusal = "is a link"
            elif info.issparse():
                refusal = "is a sparse file"
            elif not info.isreg() and not info.isdir():
                refusal = "is neither a file nor a folder"
            elif info.size < 0:
                refusal = "has a negative size"
            if refusal or not info.isdir():
                yield Member(
                    name=info.name,
                    size=max(0, info.size),
                    refusal=refusal,
                    read=partial(_opened, opened, info),
                )
        bounded.seek(opened.offset)
        if len(bounded.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends without the mark of its end")
        while bounded.read(HEADER_BYTES):  # gzip's checksum stands at the very end
            pass


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise tarfile.ReadError(f"{info.name!r} has no content")
    return file


class _Bounded(io.RawIOBase):
    """A file of which nobody reads more than `most_b` bytes at a time, as what a header says of its length is not
    trusted, nor anything behind `end_b`.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile, most_b: int, *, end_b: int) -> None:
        self._file, self._most_b, self._end_b = file, most_b, end_b

    def read(self, size: int = -1) -> bytes:
        """As a file's.

        Raises:
            ValueError: it is more than a header has.
            ArchiveError: it is behind the end.
        """
        if not -1 <= size <= self._most_b:
            raise ValueError(f"a header of {size:,} bytes")
        if self._file.tell() > self._end_b:
            raise too_much(self._end_b)
        data = self._file.read(self._most_b + 1 if size == -1 else size)
        if len(data) > self._most_b:
            raise ValueError(f"a header of more than {self._most_b:,} bytes")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As a file's; not behind the end, as gzip would unpack all of it to get there.

        Raises:
            ArchiveError: it is behind the end.
        """
        if whence == io.SEEK_SET and offset > self._end_b:
            raise too_much(self._end_b)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file's."""
        return self._file.tell()

    def seekable(self) -> bool:
        """It is."""
        return True


def too_much(limit_b: int) -> ArchiveError:
    """The refusal of an archive that has more than `limit_b` in it."""
    return ArchiveError(
        f"the archive unpacks to more than the {limit_b / 1e6:,.0f} MB that the free disk and its own size allow"
    )
