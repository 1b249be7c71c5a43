"""A file from the web into the cache: taken up where it stopped, checked, and under its name only when it is whole."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import TextIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from base.errors import EmrlabError, UsageError
from data.meter import Meter
from pipeline.names import escape

BLOCK_BYTES = 2**20
HEAD_BYTES = 512  # tell a format
ANSWER_S = 30  # a connection that is silent for so long is given up
PATIENCE_S = 60.0  # without a new byte, whatever is tried, the fetching ends
PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
RESERVE_BYTES = 10**9  # of the disk, which stays free
BUSY = {408, 425, 429, 500, 502, 503, 504}  # what another try may mend
ARCHIVE, HALF, RECORD, HALF_RECORD = "archive", "archive.half", "record.json", "half.json"

_LENGTH = re.compile("[0-9]{1,18}")  # what has more digits is no file's


class FetchError(EmrlabError):
    """The file cannot be had: one line with the cause."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that was fetched whole.

    Attributes:
        path: in the cache.
        size: in bytes.
        sha256: of its content.
    """

    path: Path
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class _Version:
    """What a server serves: by its ETag or date, which a range must be of; its length where that is said."""

    validator: str
    total_b: int | None


def fetch(
    url: str,
    cache: Path,
    *,
    is_archive: Callable[[bytes], bool],
    expected: str = "",
    live: bool = False,
    out: TextIO = sys.stderr,
) -> Fetched:
    """Fetch `url` into a folder of its own in `cache`; what was fetched before, and is unchanged there, is taken.

    Args:
        url: http:// or https://.
        cache: is made where it is not there.
        is_archive: tells from the first bytes whether this is what is wanted; a page that asks to sign in is not.
        expected: the SHA-256 that it must have, in hexadecimal; empty: any.
        live: redraw one line of progress.
        out: where progress is shown.

    Raises:
        UsageError: the address cannot be one.
        FetchError: it cannot be had, is another file than expected, or another process fetches it; what arrived of it
            is kept for the next try, but for what is wrong.
        OSError: the disk cannot be written.
    """
    _check(url)
    folder = cache / sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / "lock", shown(url)):
        fetched = _fetched_before(folder)
        if fetched and expected in {"", fetched.sha256}:
            return fetched
        source = _Source(url, folder / HALF, folder / HALF_RECORD, is_archive)
        source.download(live=live, out=out)
        digest = _digest(folder / HALF)
        if expected and digest != expected:
            source.forget()  # what was fetched before, and is none of what is asked for, stays
            raise FetchError(f"{shown(url)} has the SHA-256 {digest}, not {expected}; look where both come from")
        whole = Fetched(path=folder / ARCHIVE, size=(folder / HALF).stat().st_size, sha256=digest)
        # The record first: whoever is ended between the two finds half of nothing, but the whole under its other name.
        _write(folder / RECORD, {"url": shown(url), "size": whole.size, "sha256": digest})
        (folder / HALF).replace(whole.path)
        (folder / HALF_RECORD).unlink(missing_ok=True)
        return whole


def discard(folder: Path) -> None:
    """Remove what was fetched into a `folder` of the cache: it is not what it should be."""
    for name in (RECORD, ARCHIVE, HALF, HALF_RECORD):
        (folder / name).unlink(missing_ok=True)


def shown(url: str) -> str:
    """The address without what may be secret in it."""
    return url.partition("?")[0]


@dataclass(frozen=True)
class _Source:
    """An address and what has arrived from there: `half` and, of which version it is, `half_record`."""

    url: str
    half: Path
    half_record: Path
    is_archive: Callable[[bytes], bool]

    def download(self, *, live: bool, out: TextIO) -> None:
        """Try until `half` is whole.

        Raises:
            FetchError: the server refuses, or nothing came for PATIENCE_S.
        """
        pause_s, grown = PAUSE_S, time.monotonic()
        while True:
            before = self._size()
            try:
                self._receive(live=live, out=out)
            except HTTPError as error:
                if error.code not in BUSY:
                    raise FetchError(f"{shown(self.url)} answers {error.code} {error.reason}") from error
                cause = f"it answers {error.code} {error.reason}"
            except (InvalidURL, ValueError) as error:
                raise FetchError(f"{shown(self.url)} leads to no address: {error}") from error
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.filename is not None:  # of a file here
                    raise
                reason = getattr(error, "reason", error)
                cause = str(reason) or type(reason).__name__
                if isinstance(reason, SSLCertVerificationError):  # which no other try mends
                    raise FetchError(f"{shown(self.url)} is not who it says it is: {cause}") from error
            else:
                return
            now = time.monotonic()
            if self._size() > before:
                pause_s, grown = PAUSE_S, now
            if now - grown >= PATIENCE_S:
                raise FetchError(f"{shown(self.url)} got no further in {PATIENCE_S:.0f} s and more: {cause}")
            out.write(f"{shown(self.url)}: {cause}; trying again\n")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _receive(self, *, live: bool, out: TextIO) -> None:
        """Ask for what is missing, once.

        Raises:
            OSError, HTTPException: not all of it came.
        """
        version, have_b = self._version(), self._size()
        if version and have_b == version.total_b:
            return
        headers = {"User-Agent": "emrlab", "Accept-Encoding": "identity"}
        if version and version.validator and have_b:
            headers |= {"Range": f"bytes={have_b}-", "If-Range": version.validator}
        try:
            response = urlopen(Request(self.url, headers=headers), timeout=ANSWER_S)  # noqa: S310 - see _check
        except HTTPError as error:
            if error.code == 416:  # what is here is more than there: of another version
                self.forget()
                raise OSError("the file there is another now") from error
            raise
        with response:
            self._accept(response, version=version, have_b=have_b)
            self._write(response, live=live, out=out)

    def _accept(self, response: HTTPResponse, *, version: _Version | None, have_b: int) -> None:
        """Settle whether what comes continues what is here, or takes its place.

        Raises:
            FetchError: it is no archive at all.
            OSError: it continues something else.
        """
        if urlsplit(self.url).scheme == "https" and urlsplit(response.url).scheme != "https":
            raise FetchError(f"{shown(self.url)} leads to {shown(response.url)}, which is not encrypted")
        headers = response.headers
        if headers.get_content_type() == "text/html":
            raise FetchError(f"{shown(self.url)} answers with a page, not with an archive")
        if headers.get("Content-Encoding", "identity") != "identity":
            raise FetchError(f"{shown(self.url)} sends it encoded, as {headers['Content-Encoding']}")
        validator = headers.get("ETag", "")
        if not validator or validator.startswith("W/"):  # a weak one does not stand for the bytes
            validator = headers.get("Last-Modified", "")
        if response.status == 206:
            first, _, total = headers.get("Content-Range", "").partition("/")
            continues = version and first.startswith(f"bytes {have_b}-") and total in {"*", str(version.total_b)}
            if version and continues and validator in {"", version.validator}:
                return
            self.forget()
            raise OSError("the file there is another now")
        self.forget()
        length = headers.get("Content-Length", "")
        fresh = _Version(validator=validator, total_b=int(length) if _LENGTH.fullmatch(length) else None)
        if fresh.total_b is not None and _free(self.half.parent) < fresh.total_b + RESERVE_BYTES:
            raise FetchError(
                f"{shown(self.url)} has {fresh.total_b / 1e9:.1f} GB, and {_free(self.half.parent) / 1e9:.1f} GB are "
                f"free in {self.half.parent}; free some"
            )
        _write(self.half_record, asdict(fresh))

    def _write(self, response: HTTPResponse, *, live: bool, out: TextIO) -> None:
        """Append what comes to `half`.

        Raises:
            FetchError: it is no archive, or the disk is nearly full.
            OSError, HTTPException: it ended too early.
        """
        version, done_b = self._version(), self._size()
        total_b = version.total_b if version else None
        meter = Meter(words="fetched", total_b=total_b, start_b=done_b, live=live, out=out)
        try:
            with self.half.open("ab") as file:
                while block := response.read1(BLOCK_BYTES) if done_b else response.read(HEAD_BYTES):
                    if not done_b and not self.is_archive(block):
                        raise FetchError(f"{shown(self.url)} is neither zip, tar nor tar.gz")
                    if _free(self.half.parent) < RESERVE_BYTES:
                        raise FetchError(f"{self.half.parent} has less than 1 GB free; free some")
                    file.write(block)
                    done_b += len(block)
                    meter.show(done_b)
        finally:
            meter.end()
        if total_b is not None and done_b != total_b:
            raise OSError(f"the connection ended after {done_b:,} of {total_b:,} bytes")
        if not done_b:
            raise FetchError(f"{shown(self.url)} is empty")

    def _size(self) -> int:
        return self.half.stat().st_size if self.half.exists() else 0

    def _version(self) -> _Version | None:
        """The version of what is half here; None where that is not known: it cannot be continued then."""
        try:
            return _Version(**json.loads(self.half_record.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def forget(self) -> None:
        """Remove what has arrived."""
        self.half_record.unlink(missing_ok=True)
        self.half.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path, what: str) -> Iterator[None]:
    """Hold `lock`, which the system takes back whatever ends this process.

    Raises:
        FetchError: another process has it.
    """
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FetchError(f"another make data fetches {what}; wait for its end") from error
        yield


def _check(url: str) -> None:
    no_address = UsageError(
        f"DATASET={escape(shown(url))} is no address; write https://host/archive.zip, and with %HH for each byte of a "
        "space or of a letter that is no English one"
    )
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        is_address = parts.scheme in {"http", "https"} and host and parts.port != 0
    except ValueError as error:
        raise no_address from error
    if not (is_address and re.fullmatch("[!-~]+", url)):
        raise no_address
    if parts.username or parts.password:
        raise UsageError("DATASET has a password in its address, which others would read; fetch the file by hand")


def _fetched_before(folder: Path) -> Fetched | None:
    """What was fetched before; None where it is not there, or is not any more what it was."""
    try:
        record = json.loads((folder / RECORD).read_text())
        fetched = Fetched(path=folder / ARCHIVE, size=record["size"], sha256=record["sha256"])
        is_whole = fetched.path.stat().st_size == fetched.size and _digest(fetched.path) == fetched.sha256
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return fetched if is_whole else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _write(path: Path, document: dict[str, object]) -> None:
    half = path.with_suffix(".new")
    half.write_text(json.dumps(document))
    half.replace(path)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
