"""Photographs to try the job on: a known data set, or any zip, tar or tar.gz of class folders.

    python -m data fruits360 [--dest FOLDER|s3://bucket/prefix]

A file is fetched once and kept in .cache/data; what was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from base import command_line, paths
from base.errors import UsageError
from data import destination, fetch, program, unpack
from data.members import ArchiveError, is_archive
from data.unpack import Contents
from launch import storage
from pipeline import settings, signals
from pipeline.names import escape

CACHE = paths.CACHE / "data"
SETS = Path(__file__).with_name("sets.toml")
OUT = paths.OUT / "data"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set of SETS: its address, and what its makers say of it."""

    title: str
    licence: str
    url: str
    images: int
    classes: int


def main(argv: Sequence[str], *, prog: str = "python -m data") -> int:
    """Run the command under the name `prog`; the exit code, as `program.run` tells."""
    return program.run(lambda: _data(_parser(prog).parse_args(argv)), stopped="what arrived is kept, run again")


def _parser(prog: str) -> argparse.ArgumentParser:
    sets = _sets()
    parser = command_line.Parser(prog=prog, description=__doc__.replace("python -m data", prog), allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", metavar="DATASET", help=f"{', '.join(sets)}, or https://…, or a file here")
    parser.add_argument(
        "--dest", metavar="URI", help=f"a folder that is not there yet, or s3://bucket/prefix (out/{OUT.name}/NAME)"
    )
    parser.add_argument("--sha256", type=_sha256, metavar="HEX", help="what the file must have")
    destination.add_arguments(parser)
    return parser


def _data(parsed: argparse.Namespace) -> int:
    live = sys.stdout.isatty()
    known = _sets().get(parsed.dataset)
    dest = settings.location(parsed.dest, flag="--dest") if parsed.dest else str(OUT / _name(parsed.dataset))
    remote = dest.startswith("s3://")
    access = destination.access(parsed) if remote else None
    if known:
        sys.stdout.write(f"{known.title}; licence: {known.licence}\n")
    archive, sha256 = _archive(known.url if known else parsed.dataset, expected=parsed.sha256 or "", live=live)
    folder = OUT / _name(parsed.dataset) if remote else Path(dest)
    try:
        contents = unpack.unpack(archive, folder, sha256=sha256, live=live)
    except ArchiveError as error:
        if error.damaged and archive.is_relative_to(CACHE):
            fetch.discard(archive.parent)
            raise ArchiveError(f"{error}; it was removed, run again") from error
        raise
    _compare(contents, known)
    hidden = f"; {contents.hidden:,} hidden ones were passed over" * bool(contents.hidden)
    others = f", and {contents.files - contents.images:,} other files" * (contents.files > contents.images)
    sys.stdout.write(
        f"{contents.images:,} images of {contents.classes:,} classes{others} in {escape(str(folder))}{hidden}\n"
    )
    if access:
        mirrored = storage.mirror(folder, dest, access, live=live, prune=False)
        sys.stderr.write(mirrored.warning(str(folder)))
        sys.stdout.write(f"{mirrored.files:,} files in {dest}: {mirrored.sent:,} sent\n")
    return 0


def _archive(source: str, *, expected: str, live: bool) -> tuple[Path, str]:
    """The file, fetched where it is not of this machine, and its SHA-256.

    Raises:
        UsageError: there is no such file, or it has another SHA-256.
        FetchError: it cannot be fetched; with what to do by hand.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
        try:
            fetched = fetch.fetch(source, CACHE, is_archive=is_archive, expected=expected, live=live)
        except fetch.FetchError as error:
            raise fetch.FetchError(f"{error}; fetch it by hand, then: make data DATASET=/path/to/the/file") from error
        return fetched.path, fetched.sha256
    path = Path(source)
    with suppress(RuntimeError):  # a home of nobody's is no file
        path = path.expanduser()
    if not path.is_file():
        raise UsageError(
            f"DATASET={escape(source)} is no file and no data set; give {', '.join(_sets())}, https://… or a file"
        )
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if expected not in {"", digest}:
        raise UsageError(f"{escape(source)} has the SHA-256 {digest}, not {expected}; look where both come from")
    return path, digest


def _compare(contents: Contents, known: DataSet | None) -> None:
    if known and (contents.images, contents.classes) != (known.images, known.classes):
        sys.stderr.write(
            f"warning: its makers speak of {known.images:,} images of {known.classes:,} classes; "
            f"the archive has {contents.images:,} of {contents.classes:,}\n"
        )


def _sets() -> dict[str, DataSet]:
    return {name: DataSet(**values) for name, values in tomllib.loads(SETS.read_text()).items()}


def _name(dataset: str) -> str:
    """What its folder is called: a known name, or the file's without what tells its format."""
    name = re.sub(r"(\.zip|\.tar|\.tar\.gz|\.tgz)$", "", fetch.shown(dataset).rstrip("/").rpartition("/")[2])
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "photographs"


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256; give its 64 hexadecimal digits")
    return text.lower()


if __name__ == "__main__":
    signals.install_handlers()
    sys.exit(main(sys.argv[1:]))
