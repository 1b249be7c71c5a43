"""Tar archives of images: which members each holds, and their bytes, in a few large requests."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from obstore.exceptions import NotFoundError, PreconditionError

from pipeline import folder, store, tar
from pipeline.folder import Entry
from pipeline.names import escape, unescape
from pipeline.tar import BLOCK_B, Member, padded

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
MAX_MEMBERS = 2**21  # images whose names are held, 100 bytes each, so that none comes twice

# An archive of ours ends with its index; readers of WebDataset's archives pass members of such a name over.
INDEX = "__index__"
SHARD_B = 128 * 2**20  # of images, in an archive of ours, about
TAIL_B = 2 * 2**20  # holds its index, with images of 5 kB
MAX_INDEX_B = 2**25
END_B = 2 * BLOCK_B  # of zeros, at the end of an archive
_LAST_LINE = re.compile(rf"{INDEX} 1 (?P<members>\d{{1,8}}) (?P<bytes>\d{{1,8}})\n".encode())

# An archive without an index is read from one header to the next: in windows of so much, the next ones ahead.
WINDOW_B, WINDOWS = 8 * 2**20, 4
TAILS = 16  # of archives that are listed next, fetched ahead

SPAN_B = 4 * 2**20  # of members that follow each other, by one request: a thousandth of one for an image of 5 kB

CLASS_SUFFIX = ".cls"  # of WebDataset: what `a.cls` holds is the class of `a.jpg`
MAX_CLASS_B = 1024
_SAMPLE_MEMBERS = 64  # at most are held until their class is known


class ReplacedError(Exception):
    """The archive is no longer the one that was listed."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A member, and the class that a member `.cls` beside it gives; None without one."""

    member: Member
    label: str | None = None


def is_shard(name: str) -> bool:
    """Whether a file of this name is an archive, be it one that is refused because it is compressed."""
    return name.lower().endswith((SUFFIX, *COMPRESSED))


def read(uri: str, shard: Entry, start_b: int, length_b: int) -> bytes:
    """Bytes of an archive that was listed below `uri`; fewer where it ends before.

    Raises:
        ReplacedError: it is another one by now.
        STORE_ERRORS: it cannot be read.
    """
    replaced = ReplacedError("the archive was replaced while the run read it")
    if uri.startswith("s3://"):
        try:
            end_b = min(start_b + length_b, shard.size)
            return store.fetch_range(uri, shard.path, start_b=start_b, end_b=end_b, etag=shard.etag)
        except PreconditionError as error:
            raise replaced from error
    with open(folder.file(uri, shard.path), "rb") as opened:  # noqa: PTH123 - half the time of pathlib
        if folder.etag(os.fstat(opened.fileno())) != shard.etag:
            raise replaced
        opened.seek(start_b)
        return opened.read(length_b)


def tail(uri: str, shard: Entry) -> bytes:
    """The last TAIL_B of an archive, or all of a smaller one.

    Raises:
        ReplacedError, STORE_ERRORS: as `read` does.
    """
    length = min(TAIL_B, shard.size) if shard.path.lower().endswith(SUFFIX) else 0
    return read(uri, shard, shard.size - length, length) if length else b""


def members(uri: str, shard: Entry, end: Future[bytes], pool: ThreadPoolExecutor) -> Iterator[Packed]:
    """Every file in an archive, out of its index or else of its headers; what cannot be read, with the reason.

    Args:
        uri: the input.
        shard: as listed below it.
        end: its `tail`.
        pool: fetches ahead.

    Raises:
        STORE_ERRORS: the server failed in a way that is not about this one archive.
    """
    if not shard.path.lower().endswith(SUFFIX):
        yield _whole(shard, "Compressed", "it cannot be read in ranges; unpack it to a plain .tar")
        return
    try:
        content = end.result()
        indexed = _indexed(uri, shard, content)
        if indexed is not None:
            yield from map(Packed, indexed)
        elif len(content) == shard.size:  # a small one is there already
            yield from _scanned(lambda start_b, length_b: content[start_b : start_b + length_b], shard.size)
        else:
            yield from _scanned(_ahead(uri, shard, pool), shard.size)
    except ReplacedError as error:
        yield _whole(shard, "Replaced", f"{error}; run again")
    except (FileNotFoundError, NotFoundError):
        yield _whole(shard, "NotFound", "it was listed and is gone")
    except store.MissingOrDenied as error:
        yield _whole(shard, "AccessDenied", store.explain(error))
    except OSError as error:  # of this machine: a bad sector, a folder in its place
        yield _whole(shard, type(error).__name__, folder.words(error))


def index(placed: Iterable[Member]) -> bytes:
    """What the member INDEX of an archive holds: a line a member, and one that tells where they begin."""
    lines = [f"{member.offset} {member.size} {member.name}\n".encode() for member in placed]
    return b"".join([*lines, f"{INDEX} 1 {len(lines)} {sum(map(len, lines))}\n".encode()])


def count(end: bytes) -> int | None:
    """How many members the index at an archive's `end` speaks of; None without one. The last 16 KiB are enough."""
    told = _last_line(end.rstrip(b"\0"))
    return int(told["members"]) if told else None


def _last_line(text: bytes) -> re.Match[bytes] | None:
    return _LAST_LINE.fullmatch(text, text.rfind(b"\n", 0, -1) + 1)


def _whole(shard: Entry, error: str, message: str) -> Packed:
    return Packed(Member("", 0, shard.size, error, message))


def _indexed(uri: str, shard: Entry, end: bytes) -> list[Member] | None:
    """The members as the archive's index has them; None where it has none, or one that cannot be true."""
    text = end.rstrip(b"\0")
    told = _last_line(text)
    if not told:
        return None
    last, count, length = told[0], int(told["members"]), int(told["bytes"])
    start = shard.size - len(end) + len(text) - len(last) - length
    if length > MAX_INDEX_B or start < BLOCK_B:
        return None
    lines = text[-len(last) - length : -len(last)]
    if len(lines) < length:
        lines = read(uri, shard, start, length)
    placed, free, names = list[Member](), BLOCK_B, set[str]()
    try:
        for line in io.BytesIO(lines):
            offset, size, written = line.decode().removesuffix("\n").split(" ", 2)
            member = Member(written, int(offset), int(size))
            if member.offset % BLOCK_B or member.offset < free or member.size < 0:
                return None
            if escape(unescape(written)) != written or tar.check_name(written):
                return None
            free = member.offset + padded(member.size) + BLOCK_B
            placed.append(member)
            names.add(written)
    except ValueError:
        return None
    return placed if free == start and count == len(placed) == len(names) else None


def _scanned(pieces: tar.Read, size_b: int) -> Iterator[Packed]:
    """The members with their classes: those of a sample, alike up to the first dot in their names, come together."""
    sample, last, label = list[Member](), "", None
    for member in tar.scan(pieces, size_b):
        place, _, name = member.name.rpartition("/")
        key = f"{place}/{name.partition('.')[0]}"
        if key != last or len(sample) == _SAMPLE_MEMBERS:
            yield from (_labelled(each, label) for each in sample)
            sample, label = [], label if key == last else None
        last = key
        if name.lower().endswith(CLASS_SUFFIX) and member.error is None:
            label = _label(pieces(member.offset, member.size)) if member.size <= MAX_CLASS_B else ""
        else:
            sample.append(member)
    yield from (_labelled(each, label) for each in sample)


def _label(content: bytes) -> str:
    return escape(content.decode("utf-8", "surrogateescape").strip())


def _labelled(member: Member, label: str | None) -> Packed:
    if label == "" and member.error is None:
        member = replace(member, error="BadClass", message=f"the {CLASS_SUFFIX} beside it holds no class")
    return Packed(member, label or None)


def _ahead(uri: str, shard: Entry, pool: ThreadPoolExecutor) -> tar.Read:
    """Reads an archive in rising order; the windows that follow are fetched meanwhile, unless they are leapt over."""
    windows = dict[int, Future[bytes]]()
    last = -(-shard.size // WINDOW_B) - 1

    def window(number: int) -> bytes:
        follows = not number or number - 1 in windows
        if not follows and number not in windows:
            for leapt in windows.values():
                leapt.cancel()
            windows.clear()
        windows.pop(number - 2, None)
        for each in range(number, min(number + (WINDOWS if follows else 1), last + 1)):
            if each not in windows:
                windows[each] = pool.submit(read, uri, shard, each * WINDOW_B, WINDOW_B)
        return windows[number].result()

    def piece(start_b: int, length_b: int) -> bytes:
        first, offset = divmod(start_b, WINDOW_B)
        if offset + length_b <= WINDOW_B:
            return window(first)[offset : offset + length_b]
        whole = b"".join(window(each) for each in range(first, (start_b + length_b - 1) // WINDOW_B + 1))
        return whole[offset : offset + length_b]

    return piece
