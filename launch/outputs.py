"""Folders of this machine that hold what a job wrote, and the record by which they are known as such.

What no run left in a folder is never removed or replaced: a job's tables are files with new names each time, so that
they come as a whole, in place of those of the run before.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from base.errors import UsageError
from launch import storage
from launch.s3_access import Access
from launch.storage import StorageError
from pipeline.names import escape

RECORD = ".emrlab.json"  # hidden, as Spark passes over what is


def check(folder: Path, *, words: str) -> None:
    """See that a run's results may take the place of what `folder` holds.

    Args:
        folder: that may be there or not.
        words: how a message names it.

    Raises:
        UsageError: it is no folder, or holds files that no run left there.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{words} {folder} is no folder; choose another place")
    if theirs := _strange(folder):
        raise UsageError(f"{words} {folder} holds {escape(theirs)}, which no run left there; choose another folder")


def record(folder: Path) -> None:
    """Write down that what is in `folder` is a run's; nothing where the run made no such folder.

    Raises:
        OSError: it cannot be written.
    """
    if folder.is_dir():
        known = {name: _stamp(path) for name, path in _files(folder).items()}
        (folder / RECORD).write_text(json.dumps({"files": known}, indent=1) + "\n")


def fetch(uri: str, folder: Path, access: Access) -> int:
    """Bring everything below `uri` into `folder`, in place of what a run left there; how many files that is.

    Where `folder` is a link to one elsewhere, as on a larger disk, they come there, and the link stays.

    Raises:
        StorageError: something cannot be fetched, or has a name that no folder takes; the folder stays as it was.
        OSError: the folder cannot be written.
    """
    names = storage.contents(uri, access)
    for name in names:
        if {"", ".", "..", RECORD} & set(name.split("/")) or not name.isprintable():
            raise StorageError(f"{uri}/{escape(name)} has a name that no folder here takes; it stays there")
    if not names:
        return 0
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as half:
        came, before = Path(half, "came"), Path(half, "before")
        storage.fetch(uri, names, came, access)
        came.chmod(0o755)
        record(came)
        try:
            if folder.exists():
                check(folder, words="the output")  # a file may have come since the run began
                folder.replace(before)  # removing it takes its time, in which much can happen
            came.replace(folder)
        except BaseException:
            if before.exists() and not folder.exists():
                before.replace(folder)
            raise
    return len(names)


def _strange(folder: Path) -> str | None:
    """A file that no run left, or that was changed since."""
    try:
        known = dict(json.loads((folder / RECORD).read_text())["files"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        known = {}
    return next((name for name, path in _files(folder).items() if known.get(name) != _stamp(path)), None)


def _files(folder: Path) -> dict[str, Path]:
    """All that is no folder, by its name below `folder`."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): path for path in found if path.name != RECORD}


def _stamp(path: Path) -> list[int]:
    status = path.lstat()
    return [status.st_size, status.st_mtime_ns]
