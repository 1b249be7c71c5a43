"""The members of a tar archive out of its headers, whatever these claim, in memory that does not grow with it."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.names import escape

BLOCK_B = 512
MAX_NAME_B = 4096  # of a path on Linux
# Before a member may come others that hold its long name, its size, its extended attributes. What takes more than this
# of them is nothing that a file system ever held.
MAX_EXTENSION_B, MAX_EXTENSIONS = 2**20, 8
MAX_SIZE_B = 2**63 - 1  # of a file on Linux, and of a number in a table

_MAGIC = b"ustar"  # of pax, POSIX and GNU alike, at byte 257; what was written before 1988 has none
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_RECORDS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_NAMES, *_RECORDS, tarfile.XGLTYPE)
_SPARSE = ("Sparse", "a sparse file, which is not read")
_BODILESS = {
    tarfile.DIRTYPE: None,
    tarfile.LNKTYPE: ("Link", "a link, which holds no image itself"),
    tarfile.SYMTYPE: ("Link", "a link, which holds no image itself"),
    tarfile.CHRTYPE: ("NotAFile", "a device"),
    tarfile.BLKTYPE: ("NotAFile", "a device"),
    tarfile.FIFOTYPE: ("NotAFile", "a pipe"),
}

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, or what should be one.

    Attributes:
        name: as `names.escape` writes it, without `./` before it; of what has none, `@` and where it begins; empty
            for the archive itself.
        offset: of its first byte, in the archive.
        size: in bytes.
        error, message: why it cannot be read: the kind, like a class of errors, and the words; None for what can.
    """

    name: str
    offset: int
    size: int
    error: str | None = None
    message: str | None = None


@dataclass(slots=True)
class _Entry:
    """A header and what extends it: `body` is where its content begins, `fault` the kind and words of what is wrong."""

    kind: bytes
    name: str
    size: int
    body: int
    fault: tuple[str, str] | None = None


class _NoHeaderError(Exception):
    """There is no header; `position` is where to look on, behind all that was read."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position


@dataclass(slots=True)
class _Extension:
    """What the headers before a member's own say of it."""

    name: bytes | None = None
    size: int | None = None
    fault: tuple[str, str] | None = None

    def take(self, kind: bytes, content: bytes) -> None:
        """Take in one more.

        Raises:
            HeaderError: it makes no sense.
        """
        if kind == tarfile.GNUTYPE_LONGNAME:
            self.name = content.partition(b"\0")[0]
        if kind not in _RECORDS:
            return
        records = _records(content)
        self.name = records.get(b"path", self.name)
        if any(key.startswith(b"GNU.sparse.") for key in records):
            self.fault = _SPARSE
        if (size := records.get(b"size")) is not None:
            if not size.isdigit() or len(size) > len(str(MAX_SIZE_B)) or int(size) > MAX_SIZE_B:
                raise tarfile.HeaderError("a size that no file has")
            self.size = int(size)

    def refuse(self, size_b: int) -> None:
        """One is too large to be taken in."""
        words = f"a header before it claims {size_b} bytes, at most {MAX_EXTENSION_B} are read"
        self.fault = ("BadHeader", words)

    def extend(self, info: tarfile.TarInfo, body: int) -> _Entry:
        """The entry of the member's own header."""
        name = info.name if self.name is None else self.name.decode("utf-8", "surrogateescape")
        fault = _SPARSE if info.type == tarfile.GNUTYPE_SPARSE else self.fault
        return _Entry(info.type, name, info.size if self.size is None else self.size, body, fault)


def scan(read: Read, size_b: int) -> Iterator[Member]:
    """Every file of an archive, in its order; folders are none. Bodies are passed over unread.

    Where headers make no sense the next one that does is looked for, as GNU tar does, and what is between is one
    member with an error. Zero blocks are passed over wherever they are: archives put one behind the other are one.

    Args:
        read: gives `length` bytes from `start` on; it is asked in rising order.
        size_b: of the archive.
    """
    position, lost, is_seeking = 0, None, False
    while position + BLOCK_B <= size_b:
        block = read(position, BLOCK_B)
        if block.count(0) == BLOCK_B or (is_seeking and block[257:262] != _MAGIC):
            position += BLOCK_B
            continue
        try:
            entry = _entry(read, position, size_b)
        except _NoHeaderError as error:
            if not position:
                yield Member("", 0, size_b, *_stranger(block))
                return
            if not is_seeking:
                lost, is_seeking = position, True
            position = error.position
            continue
        if lost is not None:
            yield _damaged(lost, position)
        lost, is_seeking = None, False
        is_bodiless = entry.kind in _BODILESS
        position = entry.body + (0 if is_bodiless else padded(entry.size))
        if not is_bodiless and entry.body + entry.size > size_b:
            entry.fault = ("Truncated", f"the archive ends within its {entry.size} bytes")
            position, is_seeking = entry.body, True  # its size may be what is wrong: perhaps there is more
        if entry.kind != tarfile.DIRTYPE:
            yield _member(entry)
    if lost is not None:
        yield _damaged(lost, size_b)
    elif not is_seeking and position < size_b and read(position, size_b - position).strip(b"\0"):
        yield Member(f"@{position}", position, size_b - position, "Truncated", "the archive ends within a header")


def check_name(name: str) -> tuple[str, str] | None:
    """The kind and words of what is wrong with a member's name; None where nothing is."""
    if name.startswith("/"):
        return "BadName", "an absolute name; archives hold relative ones"
    if len(name.encode(errors="surrogateescape")) > MAX_NAME_B:
        return "BadName", f"a name of more than {MAX_NAME_B} bytes"
    if {"", ".", ".."} & set(name.split("/")):
        return "BadName", "an empty segment, or a segment . or .., in its name"
    return None


def padded(size_b: int) -> int:
    """Bytes that a content of `size_b` takes in an archive."""
    return -(-size_b // BLOCK_B) * BLOCK_B


def _entry(read: Read, position: int, size_b: int) -> _Entry:
    """The entry whose header, or the first header that extends it, begins at `position`.

    Raises:
        _NoHeaderError: there is none.
    """
    extension, last = _Extension(), position
    try:
        for _ in range(MAX_EXTENSIONS + 1):
            info, body = _header(read(last, BLOCK_B), size_b - last), last + BLOCK_B
            if info.type == tarfile.GNUTYPE_SPARSE:
                body = _after_map(read, body, size_b)
            if info.type not in _EXTENSIONS:
                return extension.extend(info, body)
            last = body + padded(info.size)  # before it is read: what makes no sense is not gone through again
            if info.size > MAX_EXTENSION_B:
                extension.refuse(info.size)
            elif info.type != tarfile.XGLTYPE:  # that of all members: comments, as `git archive` makes them
                extension.take(info.type, read(body, info.size) if info.size else b"")
    except tarfile.HeaderError as error:
        raise _NoHeaderError(max(last, position + BLOCK_B)) from error
    raise _NoHeaderError(last)


def _header(block: bytes, rest_b: int) -> tarfile.TarInfo:
    """What a block says, `rest_b` before the archive's end.

    Raises:
        HeaderError: it is no header, or announces what cannot be there.
    """
    info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if not 0 <= info.size <= MAX_SIZE_B or (info.type in _EXTENSIONS and 2 * BLOCK_B + padded(info.size) > rest_b):
        raise tarfile.HeaderError("a size that no file has, or one beyond the end")
    return info


def _after_map(read: Read, body: int, size_b: int) -> int:
    """Where the content of an old GNU sparse file begins: blocks that go on with its map come before it."""
    more = read(body - BLOCK_B, BLOCK_B)[482]
    while more and body + BLOCK_B <= size_b:
        more = read(body, BLOCK_B)[504]
        body += BLOCK_B
    return body


def _records(content: bytes) -> dict[bytes, bytes]:
    """The records of an extended header: `<length of all of it> <key>=<value>` and an end of line (POSIX.1-2001, pax).

    Raises:
        HeaderError: they are none.
    """
    records, start = {}, 0
    while start < len(content):
        digits = content[start : start + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = content[start + len(digits) + 1 : start + length]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or start + length > len(content):
            raise tarfile.HeaderError("a record of an extended header makes no sense")
        records[key] = value[:-1]
        start += length
    return records


def _member(entry: _Entry) -> Member:
    name = entry.name
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    kind = entry.kind
    fault = entry.fault or _BODILESS.get(kind) or check_name(name)
    if fault is None and kind not in tarfile.REGULAR_TYPES:
        fault = ("NotAFile", f"a member of the type {kind!r}")
    if len(name) > MAX_NAME_B:
        name = name[:100] + "…" + name[-20:]
    size = 0 if kind in _BODILESS else entry.size
    return Member(escape(name), entry.body, size, *(fault or (None, None)))


def _damaged(start: int, end: int) -> Member:
    return Member(f"@{start}", start, end - start, "Damaged", f"{end - start} bytes of the archive make no sense")


def _stranger(block: bytes) -> tuple[str, str]:
    """The kind and words of a first block that is no header."""
    for magic, name in _COMPRESSED.items():
        if block.startswith(magic):
            return "Compressed", f"compressed by {name}: it cannot be read in ranges; unpack it to a plain .tar"
    return "NotAnArchive", "it does not begin with a tar header"
