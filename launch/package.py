"""Packages a job: the same bytes for the same sources, on every target, and nothing that was not named."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from base.errors import UsageError
from pipeline.names import escape

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip can hold: when a file was checked out says nothing


@dataclass(frozen=True)
class Package:
    """The job as files: `archive` for --py-files, None where it has no modules; `main` to start; named by `sha256`."""

    archive: Path | None
    main: Path
    sha256: str


def build(entry: Path, modules: Sequence[Path], *, cache: Path) -> Package:
    """Copy `entry`, and zip the `modules` it imports, into `cache`, where they are not there yet.

    Args:
        entry: the file to start.
        modules: packages (folders) and modules (files).
        cache: folder of what was built before.

    Raises:
        UsageError: a module holds what cannot be shipped.
        OSError: something cannot be read, or the cache not be written.
    """
    main = entry.read_bytes()
    content = _zip(modules) if modules else b""
    digest = sha256(sha256(main).digest() + content).hexdigest()
    folder = cache / "package" / digest[:12]
    folder.mkdir(parents=True, exist_ok=True)
    package = Package(folder / _archive_name(entry, modules) if modules else None, folder / entry.name, digest)
    for path, data in ((package.archive, content), (package.main, main)):
        if path is not None and not path.exists():
            half = path.with_name(f"{path.name}.{os.getpid()}.half")
            half.write_bytes(data)
            half.replace(path)
    return package


def members(module: Path) -> Iterator[tuple[str, Path]]:
    """Name in the archive and path of all files of a module: what is hidden, and what Python compiled, stays behind.

    Raises:
        UsageError: it holds a link that leads out of it, or what is no file.
    """
    if module.is_file():
        yield module.name, module
        return
    root = module.resolve()
    for path in sorted(_walk(module)):
        words = escape(str(path))
        if not path.relative_to(module).as_posix().isprintable():
            raise UsageError(f"{words} has a name that cannot be shipped; rename it")
        if path.is_symlink() and not path.exists():
            raise UsageError(f"{words} is a link to nothing; take it away")
        if not path.resolve().is_relative_to(root):
            raise UsageError(f"{words} is a link that leads out of {module}; put a copy there, or take it away")
        if not path.is_file() or (path.is_symlink() and path.is_dir()):
            raise UsageError(f"{words} is no file and cannot be shipped; take it away")
        yield f"{module.name}/{path.relative_to(module).as_posix()}", path


def _walk(folder: Path) -> Iterator[Path]:
    """Files, and links whatever they lead to."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path


def _archive_name(entry: Path, modules: Sequence[Path]) -> str:
    return f"{modules[0].name if len(modules) == 1 and modules[0].is_dir() else entry.stem + '-modules'}.zip"


def _zip(modules: Sequence[Path]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for module in modules:
            for name, path in members(module):
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return sink.getvalue()
