"""Folders to S3 and results from it: parallel, taken up again where it stopped, with a line of progress."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from hashlib import file_digest, md5
from pathlib import Path
from typing import TextIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from base.errors import EmrlabError
from launch.s3_access import Access, open_store
from pipeline import store
from pipeline.folder import file, walk
from pipeline.names import escape
from pipeline.patience import pages, patiently

THREADS = 16
PART_BYTES = 8 * 2**20  # of a larger file; S3's ETag tells in what parts an object came
KEY_BYTES = 1024  # of a name in S3, at most
TERMINAL_S, LOG_S = 0.5, 10.0

# What is otherwise here than where the job runs: whose key it is, and whose disk. The rest are pipeline.store's causes.
CAUSES = (
    ("InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken", "the key is refused"),
    ("StorageFull|QuotaExceeded|507 Insufficient", "the server's disk is full; free some space"),
    ("No space left|os error 28", "no space left on this machine's disk; free some"),
    ("error sending request|Connection refused|dns error|body error", "no answer from the server"),
    ("illegal character|empty path segment|surrogates", "S3 takes no such file name; rename it"),
)


class StorageError(EmrlabError):
    """Something could not be brought to S3 or fetched from it: one line with the cause."""


@dataclass(frozen=True)
class Mirrored:
    """What bringing a folder to S3 came to: its files, those that had to be sent, and objects removed.

    Attributes:
        left: why something of the folder stays behind, by its name.
    """

    files: int
    sent: int
    removed: int
    left: Mapping[str, str] = field(default_factory=dict)

    def warning(self, folder: str) -> str:
        """A line on what stays behind of `folder`; empty where nothing does."""
        if not self.left:
            return ""
        first, why = min(self.left.items())
        return f"warning: {len(self.left):,} of {escape(folder)} stay behind, like {first}: {why}\n"


@dataclass(frozen=True)
class File:
    """A file of a folder: `name` in S3, relative to the folder; `size` in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True)
class _Object:
    size: int
    etag: str


def mirror(
    folder: Path,
    uri: str,
    access: Access,
    *,
    live: bool,
    prune: bool = True,
    hidden_folders: bool = True,
    out: TextIO = sys.stderr,
) -> Mirrored:
    """Make the objects below `uri` those of `folder`, byte for byte; what is there with the same content stays.

    Hidden files stay behind: they are no photographs. One LIST and the files' MD5 tell what is there, so that an upload
    that was cut off goes on where it stopped. Where the bucket's encryption gives ETags that are no MD5, artifacts/sent
    has what was sent with which of them.

    Args:
        folder: local folder; links in it are followed.
        uri: an `s3://` prefix of its own.
        access: the S3.
        live: redraw one line of progress, for a terminal, instead of a line every ten seconds.
        prune: remove the objects below `uri` that the folder does not have; those that it has and that cannot be read
            now stay.
        hidden_folders: as of `files`.
        out: where progress is shown.

    Raises:
        StorageError: a file cannot be read or sent, or an object not be listed or removed; what was sent is kept.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    opened, root = open_store(uri, access), open_store(f"s3://{bucket}", access)
    record = f"artifacts/sent/{prefix}.json"
    try:
        there, before = _list(opened), _read_sent(root, record)
    except (BaseError, OSError) as error:
        raise StorageError(f"{uri} cannot be listed: {explain(error)}") from error
    left = dict[str, str]()
    here = {file.name: file for file in files(folder, left, hidden_folders=hidden_folders)}
    for name in [name for name in here if len(f"{prefix}/{name}".encode()) > KEY_BYTES]:
        left[name] = f"its name is longer than the {KEY_BYTES:,} bytes that S3 takes; shorten it"
        del here[name]
    sizes = {name: file.size for name, file in here.items()}
    same, now = set[str](), dict[str, list[str]]()

    def compare(name: str) -> None:
        digest = _etag(here[name].path, size=sizes[name])
        if digest == there[name].etag:
            same.add(name)
        elif before.get(name) == [there[name].etag, digest]:
            same.add(name)
            now[name] = before[name]

    def send(name: str) -> None:
        digest = _etag(here[name].path, size=sizes[name])
        etag = (_put(opened, name, here[name].path) or "").strip('"')
        if etag != digest:
            now[name] = [etag, digest]

    alike = {name: size for name, size in sizes.items() if name in there and there[name].size == size}
    _each(alike, compare, words=f"compared with {uri}", live=live, out=out)
    missing = {name: size for name, size in sizes.items() if name not in same}
    try:
        _each(missing, send, words=f"sent to {uri}", live=live, out=out)
    finally:
        if now != before:
            _write_sent(root, record, now)
    has = here.keys() | left.keys()
    gone = [name for name in sorted(there) if not _is_in(name, has)] if prune else []
    try:
        if gone:
            patiently(lambda: obstore.delete(opened, gone))
    except (BaseError, OSError) as error:
        raise StorageError(f"{uri}/{gone[0]} cannot be removed: {explain(error)}") from error
    return Mirrored(len(here), len(missing), len(gone), left)


def put(path: Path, uri: str, access: Access, *, replace: bool = True) -> bool:
    """Bring a file to `uri`; what is there and says that it has the same content is left alone.

    Returns:
        Whether it was sent.

    Raises:
        StorageError: it cannot be read or sent, or without `replace` something else is there.
    """
    folder, _, name = uri.rpartition("/")
    opened = open_store(folder, access, timeout="5min" if replace else "1h")  # an archive goes as one part
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        content, stored = (path.stat().st_size, digest), _stored(opened, name)
        if stored is None or (replace and stored != content):
            try:
                _put(opened, name, path, replace=replace, sha256=digest)
            except AlreadyExistsError:  # it came there meanwhile
                stored = _stored(opened, name)
            else:
                return True
        if stored == content:
            return False
    except (BaseError, OSError) as error:
        raise StorageError(f"{path} cannot be sent to {uri}: {explain(error)}") from error
    raise StorageError(f"{uri} holds something else; give another OUTPUT or remove it")


def sizes(uri: str, access: Access) -> dict[str, int]:
    """Name and size in bytes of every object below `uri`.

    Raises:
        StorageError: it cannot be listed.
    """
    try:
        return {name: stored.size for name, stored in _list(open_store(uri, access)).items()}
    except (BaseError, OSError) as error:
        raise StorageError(f"{uri} cannot be listed: {explain(error)}") from error


def contents(uri: str, access: Access) -> list[str]:
    """The names of all objects below `uri`, but for those that mark folders; of these no listing shows the last slash.

    Raises:
        StorageError: it cannot be listed.
    """
    found, opened = sizes(uri, access), open_store(uri, access)
    try:
        return sorted(name for name, size in found.items() if name and (size or _stored(opened, name)))
    except (BaseError, OSError) as error:
        raise StorageError(f"{uri} cannot be listed: {explain(error)}") from error


def fetch(uri: str, names: Sequence[str], folder: Path, access: Access) -> None:
    """Put the objects `names` below `uri` into `folder`: all of them, or none where one cannot be had.

    Raises:
        StorageError: one cannot be fetched, or the folder not be written.
    """
    opened = open_store(uri, access)
    halves = {name: (folder / name).with_name(f".{name.rpartition('/')[2]}.half") for name in names}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, half in halves.items():
            half.parent.mkdir(parents=True, exist_ok=True)
            patiently(partial(_get, opened, name, half))
        for name, half in halves.items():
            half.replace(folder / name)
    except (BaseError, OSError) as error:
        raise StorageError(f"{uri} cannot be fetched into {folder}: {explain(error)}") from error
    finally:
        for half in halves.values():
            half.unlink(missing_ok=True)


def explain(error: Exception) -> str:
    """What a store's error says, in one line with the fix where the cause is known."""
    text = str(error)
    for pattern, words in CAUSES:
        if re.search(pattern, text):
            return words
    return store.explain(error)


def line(done: int, total: int, *, sent: int, left: int, seconds: float, words: str) -> str:
    """`1,200/20,160 files sent to s3://… · 35.2 MB/s · ETA 46 s`; `sent` and `left` in bytes."""
    rate = sent / seconds if seconds > 0 else 0.0
    eta = f"{left / rate:.0f} s" if rate else "not known yet" if left else "0 s"
    return f"{done:,}/{total:,} files {words} · {rate / 1e6:,.1f} MB/s · ETA {eta}"


def _list(opened: S3Store) -> dict[str, _Object]:
    return {
        entry["path"]: _Object(entry["size"], (entry["e_tag"] or "").strip('"'))
        for chunk in pages(opened)
        for entry in chunk
    }


def files(folder: Path, left: dict[str, str] | None = None, *, hidden_folders: bool = True) -> Iterator[File]:
    """Every file that is not hidden, links followed; a link to a folder that it lies in is passed over: it has no end.

    Args:
        folder: to walk.
        left: gets what is no file or cannot be read, and why, by name.
        hidden_folders: with the files of hidden folders, as the image pipeline reads them; without, as Spark does.

    Raises:
        StorageError: the folder itself cannot be read.
    """
    left = {} if left is None else left
    try:
        for entry in walk(str(folder)):
            name = entry.path.rstrip("/")
            if entry.error == "LinkLoop" or name.rpartition("/")[2].startswith("."):
                continue
            if not hidden_folders and any(part.startswith(".") for part in name.split("/")):
                continue
            path = Path(file(str(folder), name))
            if entry.message:
                left[name] = entry.message
            elif not os.access(path, os.R_OK):
                left[name] = "permission denied"
            else:
                yield File(path, name, entry.size)
    except OSError as error:
        raise StorageError(f"{escape(str(folder))} cannot be read: {(error.strerror or '').lower()}") from error


def _is_in(name: str, names: Set[str]) -> bool:
    """Whether `name` or a folder that it lies in is among `names`."""
    parts = name.split("/")
    return any("/".join(parts[:count]) in names for count in range(len(parts), 0, -1))


def _read_sent(root: S3Store, record: str) -> dict[str, list[str]]:
    """ETag there and our own of the objects for which they differ, by name."""
    try:
        sent = json.loads(patiently(lambda: bytes(obstore.get(root, record).bytes())))
    except (FileNotFoundError, ValueError):
        return {}
    return sent if isinstance(sent, dict) else {}


def _write_sent(root: S3Store, record: str, sent: Mapping[str, list[str]]) -> None:
    content = json.dumps(sent, ensure_ascii=False).encode()
    try:
        patiently(lambda: obstore.put(root, record, content))
    except (BaseError, OSError) as error:
        raise StorageError(f"{record} cannot be written: {explain(error)}") from error


def _stored(opened: S3Store, name: str) -> tuple[int, str | None] | None:
    """Size in bytes of an object, and what `put` said of its content; None where there is none."""
    try:
        headers = patiently(lambda: obstore.get(opened, name))  # the body is not fetched: nobody reads it
    except FileNotFoundError:
        return None
    return headers.meta["size"], headers.attributes.get("sha256")


def _put(opened: S3Store, name: str, path: Path, *, replace: bool = True, **about: str) -> str | None:
    """Send a file, with what is told `about` it beside it; returns the ETag. Without `replace` by one request, as S3
    takes only such a one on the condition that nothing is there.

    Raises:
        AlreadyExistsError: something is, without `replace`.
    """
    sent = patiently(
        lambda: obstore.put(
            opened,
            name,
            path,
            attributes=about,
            mode="overwrite" if replace else "create",
            use_multipart=None if replace else False,
            chunk_size=PART_BYTES,
            max_concurrency=2,
        )
    )
    return sent["e_tag"]


def _get(opened: S3Store, name: str, path: Path) -> None:
    with path.open("wb") as file:
        for block in obstore.get(opened, name).stream():
            file.write(block)


def _etag(path: Path, *, size: int) -> str:
    """The ETag that S3 gives the file when `_put` brings it: its MD5, or that of the MD5s of its parts."""
    with path.open("rb") as file:
        parts = [md5(part, usedforsecurity=False) for part in iter(lambda: file.read(PART_BYTES), b"")]
    if size <= PART_BYTES:
        return parts[0].hexdigest() if parts else md5(b"", usedforsecurity=False).hexdigest()
    whole = md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"


def _each(
    sizes: Mapping[str, int], work: Callable[[str], None], *, words: str, live: bool, out: TextIO = sys.stderr
) -> None:
    """Call `work` with every name, THREADS at a time, and say how far it is."""
    waiting, done, started = deque(sizes), deque[str](), time.monotonic()
    total_b, shown = sum(sizes.values()), False

    def take() -> None:
        while True:
            try:
                name = waiting.popleft()
            except IndexError:
                return
            try:
                work(name)
            except (BaseError, OSError, ValueError) as error:  # ValueError: a name that S3 does not take
                raise StorageError(f"{name!r} cannot be {words}: {explain(error)}") from error
            done.append(name)

    def show(end: str) -> None:
        sent = sum(sizes[name] for name in list(done))
        seconds = time.monotonic() - started
        text = line(len(done), len(sizes), sent=sent, left=total_b - sent, seconds=seconds, words=words)
        out.write(f"\r\033[K{text}{end}" if live else f"{text}\n")
        out.flush()

    with ThreadPoolExecutor(THREADS) as pool:
        takers = {pool.submit(take) for _ in range(min(THREADS, len(sizes)))}
        try:
            while True:
                ended, running = wait(takers, timeout=TERMINAL_S if live else LOG_S, return_when=FIRST_EXCEPTION)
                for taker in ended:
                    taker.result()
                if not running:
                    break
                show("")
                shown = True
        finally:
            waiting.clear()
            if shown:
                show("\n")
