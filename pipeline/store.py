"""Opens a location, a folder or s3://, as an object store, and puts its errors into words."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

# What an object store raises: its own errors, and Python's for a file that is missing, forbidden or on a full disk.
StoreError = (BaseError, OSError)


# What a cause looks like in the text of an error, and what a user can do about it.
CAUSES = (
    ("NoSuchBucket", "the bucket does not exist; create it or correct the name"),
    (
        "InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken",
        "the key is refused; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    ),
    ("AccessDenied|403 Forbidden", "access denied; this key has no right to it"),
    ("PermanentRedirect|301 Moved|AuthorizationHeaderMalformed", "the bucket is in another region; set AWS_REGION"),
    ("169.254.169.254|security credentials", "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    (
        "error sending request|Connection refused|dns error",
        "no answer from the server; check its address and port in the AWS_* variables",
    ),
    (
        "No space left|StorageFull|minimum free drive|[Qq]uota ?[Ee]xceeded|os error 28",
        "no space left on the device; free some",
    ),
    ("Permission denied|os error 13|Read-only file system", "permission denied; this user has no right to it"),
    ("empty path segment|illegal", "a key has an empty or illegal path segment; rename that object"),
)


@lru_cache(maxsize=16)
def open_store(uri: str, *, patient: bool = True) -> ObjectStore:
    """The store whose root is `uri` (`s3://bucket/prefix` or an absolute path).

    Args:
        uri: location as `settings.location` makes it.
        patient: outlast a server that is away for a minute (workers); otherwise give up within about 2 s (the first
            call of a run, where a wrong port is likelier than an outage).
    """
    if not uri.startswith("s3://"):
        return LocalStore(uri, automatic_cleanup=True, mkdir=True)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    longest_s = 10 if patient else 0.5
    return S3Store(
        bucket,
        prefix=prefix or None,
        # Without TLS only where the address in the AWS_* variables says http: AWS itself is always reached by https.
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "30s"},
        retry_config={
            "max_retries": 20 if patient else 5,
            "retry_timeout": timedelta(minutes=5),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=longest_s), "base": 2},
        },
    )


def read(uri: str) -> bytes:
    """All bytes of the object at `uri`.

    Raises:
        StoreError: it is not there or cannot be read.
    """
    folder, _, name = uri.rpartition("/")
    return bytes(obstore.get(open_store(folder, patient=False), name).bytes())


def read_json(uri: str) -> Any:
    """The JSON document at `uri`, or None where there is none.

    Raises:
        StoreError: it cannot be read.
        ValueError: it is not JSON.
    """
    try:
        return json.loads(read(uri))
    except FileNotFoundError:
        return None


def write_json(uri: str, document: Any) -> None:
    """Put `document` at `uri` as `as_json` has it, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    write(uri, as_json(document))


def as_json(document: Any) -> bytes:
    """Indented UTF-8 JSON."""
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False).encode()


def write(uri: str, content: bytes | memoryview) -> None:
    """Put one object, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    folder, _, name = uri.rpartition("/")
    obstore.put(open_store(folder), name, content)


def sizes(uri: str) -> Iterator[tuple[str, int]]:
    """Name below `uri` and size in bytes of every object there; nothing where there is nothing.

    Raises:
        StoreError: the location cannot be listed.
    """
    if not uri.startswith("s3://") and not Path(uri).is_dir():
        return
    for chunk in obstore.list(open_store(uri, patient=False)):
        for entry in chunk:
            yield entry["path"], entry["size"]


def below(uri: str, names: Collection[str]) -> dict[str, int]:
    """Name and size in bytes of every object at or below `names` in `uri`. Links in a folder are not followed.

    Raises:
        StoreError: the location cannot be listed.
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
            linked = [found for found in folders if Path(place, found).is_symlink()]
            yield from (Path(place, found).relative_to(folder).as_posix() for found in files + linked)


def _raise(error: OSError) -> None:
    raise error


def delete(uri: str, names: Iterable[str]) -> None:
    """Delete the objects `names` in `uri`; those that are gone are no error.

    Raises:
        StoreError: one cannot be deleted.
    """
    if uri.startswith("s3://"):
        obstore.delete(open_store(uri), list(names))
        return
    for name in names:
        Path(uri, name).unlink(missing_ok=True)
        for folder in list(Path(name).parents)[:-1]:
            try:
                Path(uri, folder).rmdir()
            except OSError:  # it holds something else
                break


def clear(uri: str, entries: str) -> None:
    """Delete those entries of `uri` whose name matches `entries`, with all below; links go, not where they lead.

    Raises:
        StoreError: something cannot be deleted.
    """
    if uri.startswith("s3://"):
        obstore.delete(
            open_store(uri), [name for name, _ in sizes(uri) if re.fullmatch(entries, name.partition("/")[0])]
        )
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
