"""All that is read from and written to a location, a folder or s3://; puts its errors into words."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import obstore
from obstore.exceptions import BaseError, GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, ObjectStore, S3Store

from pipeline import patience

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

_T = TypeVar("_T")
# What an object store raises: its own errors, and Python's for a file that is missing, forbidden or on a full disk.
STORE_ERRORS = (BaseError, OSError)
# One object is missing, or not this key's to read: what is said of it says nothing of the others.
MissingOrDenied = (FileNotFoundError, PermissionError, PermissionDeniedError, UnauthenticatedError)

PART_BYTES = 2**16  # of an object that is read in parts

# What a cause looks like in the text of an error, and what a user can do about it.
CAUSES = (
    ("NoSuchBucket", "the bucket does not exist; create it or correct the name"),
    (
        "InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken",
        "the key is refused; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    ),
    (
        "RequestTimeTooSkewed",  # which comes as 403, too
        "its clock and this one's are over 15 minutes apart; set them, in Docker Desktop by a restart of it",
    ),
    ("AccessDenied|403 Forbidden", "access denied; this key has no right to it"),
    (
        "PermanentRedirect|301 Moved|AuthorizationHeaderMalformed|incorrectly configured region",
        "the bucket is in another region; set AWS_REGION",
    ),
    ("169.254.169.254|security credentials", "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (
        "InvalidCertificate",
        "the server's certificate is not trusted here; SSL_CERT_FILE=file.pem names who signed it, if it is expected",
    ),
    (
        "error sending request|Connection refused|dns error|body error",
        "no answer from the server; check its address and port in the AWS_* variables",
    ),
    ("status code: 50[0234]|SlowDown|InternalError", "the S3 server answers with errors; run again when it is well"),
    (
        "No space left|StorageFull|minimum free drive|[Qq]uota ?[Ee]xceeded|os error 28",
        "no space left on the device; free some",
    ),
    ("Permission denied|os error 13|Read-only file system", "permission denied; this user has no right to it"),
    ("empty path segment|illegal", "a key has an empty or illegal path segment; rename that object"),
)


@dataclass(frozen=True)
class Fetched:
    """The bytes of an object and, where the store knows one, their etag."""

    content: bytes
    etag: str | None


@lru_cache(maxsize=16)
def open_store(uri: str) -> ObjectStore:
    """The store whose root is `uri` (`s3://bucket/prefix` or an absolute path); calls to it are made `patiently`."""
    if not uri.startswith("s3://"):
        return LocalStore(uri, automatic_cleanup=True, mkdir=True)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return S3Store(
        bucket,
        prefix=prefix or None,
        # Without TLS only where the address in the AWS_* variables says http: AWS itself is always reached by https.
        # A large object over a slow line takes its time: only a server that says nothing is given up.
        client_options={"allow_http": True, "connect_timeout": "5s", "read_timeout": "30s", "timeout": "1h"},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(minutes=5)},
    )


def patiently(uri: str, call: Callable[[ObjectStore], _T]) -> _T:
    """What `call` returns for the store at `uri`; on S3 it outlasts an outage, and must be one that may be repeated.

    Raises:
        STORE_ERRORS: it fails.
    """
    opened = open_store(uri)
    return patience.patiently(lambda: call(opened)) if uri.startswith("s3://") else call(opened)


def fetch(uri: str, name: str, *, last_bytes: int | None = None) -> Fetched:
    """The object `name` below `uri`, or the end of it.

    Raises:
        STORE_ERRORS: it is not there or cannot be read.
    """

    def get(opened: ObjectStore) -> Fetched:
        answer = obstore.get(opened, name, options={"range": {"suffix": last_bytes}} if last_bytes else None)
        return Fetched(bytes(answer.bytes()), answer.meta["e_tag"])

    return patiently(uri, get)


def fetch_range(uri: str, name: str, *, start_b: int, end_b: int, etag: str) -> bytes:
    """The bytes from `start_b` up to `end_b` of the object `name` below the prefix `uri`, by one request.

    Raises:
        PreconditionError: its etag is another.
        STORE_ERRORS: it is not there or cannot be read.
    """
    options: GetOptions = {"range": (start_b, end_b), "if_match": etag}
    return patiently(uri, lambda opened: bytes(obstore.get(opened, name, options=options).bytes()))


def read(uri: str) -> bytes:
    """All bytes of the object at `uri`.

    Raises:
        STORE_ERRORS: it is not there or cannot be read.
    """
    folder, _, name = uri.rpartition("/")
    return fetch(folder, name).content


def read_parts(uri: str, read: Callable[[IO[bytes]], _T]) -> _T:
    """What `read` makes of the object at `uri`, of which only those parts are fetched that it reads.

    Raises:
        STORE_ERRORS: it is not there or cannot be read.
    """
    if not uri.startswith("s3://"):
        with Path(uri).open("rb") as file:
            return read(file)
    folder, _, name = uri.rpartition("/")
    return patiently(folder, lambda opened: read(cast("IO[bytes]", _Parts(opened, name))))


class _Parts(io.RawIOBase):
    """An object that is fetched in parts of PART_BYTES, as Python has files."""

    def __init__(self, opened: ObjectStore, name: str) -> None:
        self._reader = obstore.open_reader(opened, name, buffer_size=PART_BYTES)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()

    def readinto(self, buffer: Any) -> int:
        content = self._reader.read(len(buffer))
        buffer[: len(content)] = bytes(content)
        return len(content)


def read_json(uri: str) -> Any:
    """The JSON document at `uri`, or None where there is none.

    Raises:
        STORE_ERRORS: it cannot be read.
        ValueError: it is not JSON.
    """
    try:
        return json.loads(read(uri))
    except FileNotFoundError:
        return None


def write_json(uri: str, document: Any) -> None:
    """Put `document` at `uri` as `as_json` has it, whole or not at all.

    Raises:
        STORE_ERRORS: it cannot be written.
    """
    write(uri, as_json(document))


def as_json(document: Any) -> bytes:
    r"""Indented UTF-8 JSON; a byte of a name that is no UTF-8 is `\udcHH`, as Python holds it and reads it back."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode(errors="backslashreplace")  # which for these is how JSON writes them


def write(uri: str, content: bytes | memoryview | IO[bytes]) -> None:
    """Put one object, whole or not at all; a file is read from its start.

    Raises:
        STORE_ERRORS: it cannot be written.
    """
    folder, _, name = uri.rpartition("/")

    def put(opened: ObjectStore) -> None:
        if isinstance(content, bytes | memoryview):
            obstore.put(opened, name, content, use_multipart=False)  # one request: all of it took effect, or nothing
        else:
            content.seek(0)
            obstore.put(opened, name, content)

    patiently(folder, put)


def create(uri: str, content: bytes) -> None:
    """Put one object where none is, whole or not at all.

    Raises:
        AlreadyExistsError: there is one.
        STORE_ERRORS: it cannot be written.
    """
    folder, _, name = uri.rpartition("/")
    try:
        patiently(folder, lambda opened: obstore.put(opened, name, content, mode="create"))
    except GenericError:
        # A file comes by a hard link, which FAT, exFAT and the folders that a virtual machine shares do not know.
        if uri.startswith("s3://") or os.path.lexists(uri):
            raise
        write(uri, content)


def entries(uri: str, *, after: str | None = None) -> Iterator[ObjectMeta]:
    """Every object below `uri`, streamed; on S3 those that follow the name `after`.

    Raises:
        STORE_ERRORS: the location cannot be listed.
    """
    opened = open_store(uri)
    for page in patience.pages(opened, after=after) if uri.startswith("s3://") else obstore.list(opened):
        yield from page


def sizes(uri: str) -> Iterator[tuple[str, int]]:
    """Name below `uri` and size in bytes of every object there; nothing where there is nothing.

    Raises:
        STORE_ERRORS: the location cannot be listed.
    """
    if uri.startswith("s3://") or Path(uri).is_dir():
        for entry in entries(uri):
            yield entry["path"], entry["size"]


def below(uri: str, names: Collection[str]) -> dict[str, int]:
    """Name and size in bytes of every object at or below `names` in `uri`. Links in a folder are not followed.

    Raises:
        STORE_ERRORS: the location cannot be listed.
    """
    if uri.startswith("s3://"):
        return {name: size for name, size in sizes(uri) if name.partition("/")[0] in names}
    return {name: Path(uri, name).lstat().st_size for name in _walk(uri, names)}


def links(uri: str, names: Collection[str]) -> list[str]:
    """The symbolic links at or below `names` in the folder `uri`; a bucket has none."""
    return [] if uri.startswith("s3://") else [name for name in _walk(uri, names) if Path(uri, name).is_symlink()]


def _walk(folder: str, names: Iterable[str]) -> Iterator[str]:
    """Everything but folders at or below `names` in `folder`; links count as what they are, not where they lead."""
    for name in names:
        top = Path(folder, name)
        if top.is_symlink() or not top.is_dir():
            if os.path.lexists(top):
                yield name
            continue
        for place, folders, files in os.walk(top, onerror=_raise):
            linked = [name for name in folders if Path(place, name).is_symlink()]
            yield from (Path(place, name).relative_to(folder).as_posix() for name in files + linked)


def _raise(error: OSError) -> None:
    raise error


def delete(uri: str, names: Iterable[str]) -> None:
    """Delete the objects `names` in `uri`; those that are gone are no error.

    Raises:
        STORE_ERRORS: one cannot be deleted.
    """
    if uri.startswith("s3://"):
        if unwanted := list(names):
            patiently(uri, lambda opened: obstore.delete(opened, unwanted))
        return
    for name in names:
        Path(uri, name).unlink(missing_ok=True)
        for folder in list(Path(name).parents)[:-1]:
            try:
                Path(uri, folder).rmdir()
            except OSError:  # it holds something else
                break


def rename(uri: str, source: str, target: str) -> None:
    """Let the object `source` in `uri` be `target`. On S3 that is a copy and a deletion, each of which may be
    repeated; both together may not: a source that is gone is not there to be copied.

    Raises:
        STORE_ERRORS: it cannot be.
    """
    if not uri.startswith("s3://"):
        obstore.rename(open_store(uri), source, target)
        return
    patiently(uri, lambda opened: obstore.copy(opened, source, target))
    delete(uri, [source])


def clear(uri: str, entries: str) -> None:
    """Delete those entries of `uri` whose name matches `entries`, with all below; links go, not where they lead.

    Raises:
        STORE_ERRORS: something cannot be deleted.
    """
    if uri.startswith("s3://"):
        delete(uri, [name for name, _ in sizes(uri) if re.fullmatch(entries, name.partition("/")[0])])
    elif Path(uri).is_dir():
        for entry in Path(uri).iterdir():
            if re.fullmatch(entries, entry.name):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def spark_path(uri: str) -> str:
    """The location as Spark takes it on every cluster: a folder needs its scheme where HDFS is the default."""
    return uri if uri.startswith("s3://") else f"file://{uri}"


def explain(error: BaseException) -> str:
    """What a store's error says, in one line with the fix where the cause is known."""
    text = str(error)
    for pattern, words in CAUSES:
        if re.search(pattern, text):
            return words
    return " ".join(text.split("\n\nDebug source", maxsplit=1)[0].split())[:300] or type(error).__name__
