"""An archive of class folders into a folder, or nothing of it: every name, kind and size in it may be hostile."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import re
import shutil
import struct
import sys
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from base.errors import UsageError
from data.members import ArchiveError, Member, members, too_much
from data.meter import Meter
from pipeline.images import SUFFIXES
from pipeline.names import escape

BLOCK_BYTES = 2**20
MEMBERS = 2_000_000
NAME_BYTES, PATH_BYTES = 255, 1000  # of a file system; S3 takes 1,024
RATIO, SMALL_BYTES = 200, 2**26  # photographs hardly get smaller: what unpacks to more of the archive is a bomb
RESERVE_BYTES = 10**9  # of the disk, which stays free
RECORD = ".emrlab-data.json"  # hidden: no photograph

# What must not stand in a name: control characters, bytes that are no UTF-8, and what turns the order of letters round.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_BROKEN = (
    EOFError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    ValueError,
    gzip.BadGzipFile,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a folder got of an archive.

    Attributes:
        sha256: of the archive.
        files, size: in all; bytes.
        images: files named as images, in `classes` folders of different names.
        hidden: members that were passed over, like .DS_Store.
    """

    sha256: str
    files: int
    size: int
    images: int
    classes: int
    hidden: int


def unpack(archive: Path, folder: Path, *, sha256: str, live: bool = False, out: TextIO = sys.stderr) -> Contents:
    """Make `folder` of the archive's files; one that has them already stays as it is.

    A single folder that holds all of it (`photos/Kiwi/…`) is left out. The folder is filled under another name beside
    it and gets its own at the end, so it is there whole or not at all, and nothing in it is ever replaced.

    Args:
        archive: zip, tar or tar.gz.
        folder: must not be there, or be empty, or be what this archive came to.
        sha256: of the archive.
        live: redraw one line of progress.
        out: where progress is shown.

    Raises:
        UsageError: the folder holds something else.
        ArchiveError: the archive is damaged, holds no image, or a member that could do harm.
        OSError: the disk cannot be written.
    """
    if contents := _unpacked_before(folder, sha256):
        return contents
    half = folder.with_name(f".{folder.name}.emrlab-half")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _own(half, folder):
        files = half / "files"
        contents = _fill(archive, files, sha256=sha256, live=live, out=out)
        root = _root(files)
        (root / RECORD).write_text(json.dumps(asdict(contents)))
        try:
            root.rename(folder)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:  # it came there meanwhile
                raise _taken(folder) from error
            raise
    return contents


def _unpacked_before(folder: Path, sha256: str) -> Contents | None:
    """What the folder holds of the archive; None where it can be made.

    Raises:
        UsageError: it holds something else, or not all of it any more.
    """
    if not folder.exists() and not folder.is_symlink():
        return None
    if folder.is_dir() and not any(folder.iterdir()):
        return None
    try:
        contents = Contents(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        raise _taken(folder) from None
    if contents.sha256 != sha256:
        raise UsageError(f"DEST={escape(str(folder))} holds what another archive came to; choose another folder")
    sizes = [path.stat().st_size for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file()]
    if (len(sizes), sum(sizes)) != (contents.files, contents.size):
        raise UsageError(
            f"DEST={escape(str(folder))} holds {len(sizes):,} files of {sum(sizes):,} bytes, and the archive came to "
            f"{contents.files:,} of {contents.size:,}; choose another folder, or remove this one"
        )
    return contents


def _taken(folder: Path) -> UsageError:
    return UsageError(f"DEST={escape(str(folder))} holds other files, which stay as they are; choose another folder")


@contextmanager
def _own(half: Path, folder: Path) -> Iterator[None]:
    """Have `half`, empty, to oneself, and remove it at the end; what a killed run left in it goes.

    Raises:
        UsageError: another process has it, or it is none of ours.
    """
    try:
        half.mkdir(exist_ok=True)
        opened = os.open(half, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)  # a link leads to what is not ours
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTDIR, errno.ELOOP}:
            raise UsageError(f"{escape(str(half))} is no folder of make data; remove it, run again") from error
        raise
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = half.exists() and os.path.samestat(os.fstat(opened), half.stat())
        except BlockingIOError:
            ours = False
        if not ours:
            raise UsageError(f"another make data fills DEST={escape(str(folder))}; wait for its end")
        shutil.rmtree(half / "files", ignore_errors=True)
        try:
            yield
        finally:
            shutil.rmtree(half, ignore_errors=True)
    finally:
        os.close(opened)


def _fill(archive: Path, folder: Path, *, sha256: str, live: bool, out: TextIO) -> Contents:
    """Unpack everything below `folder`, which is ours alone.

    Raises:
        ArchiveError: as `unpack` says.
    """
    name, limit_b = escape(archive.name), _limit_b(archive, folder.parent)
    names, classes = dict[str, str](), set[str]()
    files = images = size = hidden = seen_b = 0
    meter = Meter(words="unpacked", live=live, out=out)
    try:
        for count, member in enumerate(members(archive, limit_b=limit_b), start=1):
            seen_b += member.size
            if count > MEMBERS:
                raise ArchiveError(f"{name} has more than {MEMBERS:,} members; unpack it by hand")
            if seen_b > limit_b:
                raise too_much(limit_b)
            if refusal := member.refusal or _refusal(member.name):
                raise ArchiveError(f"{name} holds {escape(member.name)[:200]!r}, which {refusal}; nothing is unpacked")
            parts = [part for part in member.name.split("/") if part not in {"", "."}]
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                hidden += 1
                continue
            _enter(names, parts, archive=name)
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(member, path)
            files, size = files + 1, size + member.size
            meter.show(size)
            if path.name.lower().endswith(SUFFIXES):
                images += 1
                classes.add(unicodedata.normalize("NFC", path.parent.name))
    except _BROKEN as error:
        raise ArchiveError(f"{name} is damaged: {error or type(error).__name__}", damaged=True) from error
    finally:
        meter.end()
    if not images:
        raise ArchiveError(f"{name} holds no image ({', '.join(SUFFIXES)})")
    return Contents(sha256=sha256, files=files, size=size, images=images, classes=len(classes), hidden=hidden)


def _limit_b(archive: Path, folder: Path) -> int:
    room_b = shutil.disk_usage(folder).free - RESERVE_BYTES
    return max(0, min(room_b, max(RATIO * archive.stat().st_size, SMALL_BYTES)))


def _refusal(name: str) -> str | None:
    """Why no file may be called `name`, or None."""
    if _ODD.search(name):
        return "has a control character in its name, or bytes that are no UTF-8"
    if "\\" in name or re.match(r"[A-Za-z]:", name) or name.startswith("/"):
        return "has no relative name with slashes"
    parts = name.split("/")
    if not set(parts) - {"", "."}:
        return "has no name"
    if ".." in parts:
        return "leads out of its folder"
    if len(name.encode()) > PATH_BYTES or any(len(part.encode()) > NAME_BYTES for part in parts):
        return f"has a name of more than {PATH_BYTES:,} bytes, or {NAME_BYTES} between slashes"
    return None


def _enter(names: dict[str, str], parts: list[str], *, archive: str) -> None:
    """Take a file's name and those of its folders, which on some disks are one with those that differ in case alone.

    Raises:
        ArchiveError: another file or folder has it.
    """
    for length in range(1, len(parts) + 1):
        path = "/".join(parts[:length])
        spelled = f"the {'file' if length == len(parts) else 'folder'} {path}"
        key = unicodedata.normalize("NFC", path).casefold()
        if key not in names:
            names[key] = spelled
        elif names[key] != spelled or length == len(parts):
            raise ArchiveError(f"{archive} holds {names[key]} and {spelled}, which not every disk keeps apart")


def _copy(member: Member, path: Path) -> None:
    """Write the member to `path`, which must not be there.

    Raises:
        ValueError: it has another size than it says.
    """
    left_b = member.size
    with member.read() as source, path.open("xb") as target:
        while left_b >= 0 and (block := source.read(BLOCK_BYTES)):
            target.write(block)
            left_b -= len(block)
    if left_b:
        raise ValueError(f"{member.name!r} has another size than the {member.size:,} bytes that it says")


def _root(folder: Path) -> Path:
    """The folder in it that holds everything; the one of a class, in which the images lie, is none."""
    while True:
        below = list(folder.iterdir())
        if len(below) != 1 or not below[0].is_dir() or not any(each.is_dir() for each in below[0].iterdir()):
            return folder
        folder = below[0]
