"""Class folders of images -> tar archives, a thousand images of which the job reads by one request.

    python -m data.shards --input photos --output FOLDER|s3://bucket/prefix

The same images give the same bytes, wherever and whenever: what is whole at the output stays, so that a run that was
cut off goes on where it stopped. Members keep their paths below the input, and with them classes and split.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path

from base import command_line
from base.errors import EmrlabError, UsageError
from data import destination, program
from data.meter import TERMINAL_S, Meter
from launch import storage
from launch.s3_access import Access
from pipeline import folder, settings, shards, signals
from pipeline.images import SUFFIXES
from pipeline.names import escape, unescape
from pipeline.shards import SHARD_B
from pipeline.tar import Member, padded

WORKERS = 4


class ShardsError(EmrlabError):
    """An archive cannot be made or put where it belongs: one line with the cause."""


@dataclass(frozen=True)
class Photo:
    """An image file: `name` in its archive as `names.escape` writes it, `size` in bytes."""

    path: Path
    name: str
    size: int

    @property
    def packed_b(self) -> int:
        """What it takes in an archive."""
        return tarfile.BLOCKSIZE + padded(self.size)


@dataclass
class Plan:
    """Which image goes into which archive.

    Attributes:
        archives: the images of each, by its name.
        skipped: files that are no images.
        first_skipped: the name of one.
        unreadable: why an image or folder cannot be had, by its name.
    """

    archives: dict[str, list[Photo]] = field(default_factory=dict)
    skipped: int = 0
    first_skipped: str = ""
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images all archives have."""
        return sum(map(len, self.archives.values()))

    @property
    def total_b(self) -> int:
        """In all archives, without their indexes."""
        return sum(photo.packed_b for photos in self.archives.values() for photo in photos)


def plan(source: Path) -> Plan:
    """Every image of a folder in its order by name, in archives of equal size, SHARD_B at most, about.

    Raises:
        OSError: the folder cannot be read.
    """
    made, photos = Plan(), list[Photo]()
    for entry in folder.walk(str(source)):
        name = entry.path.rstrip("/").rpartition("/")[2]
        is_image = name.lower().endswith(SUFFIXES) and not name.startswith(".")
        if entry.message and (is_image or entry.path.endswith("/")):
            made.unreadable[entry.path] = entry.message
        elif is_image:
            photos.append(Photo(Path(folder.file(str(source), entry.path)), entry.path, entry.size))
        else:
            made.skipped += 1
            made.first_skipped = made.first_skipped or entry.path
    photos.sort(key=lambda photo: os.fsencode(unescape(photo.name)))
    total_b, placed_b = sum(photo.packed_b for photo in photos), 0
    count = -(-total_b // SHARD_B)
    for photo in photos:
        made.archives.setdefault(f"images-{placed_b * count // total_b:06}.tar", []).append(photo)
        placed_b += photo.packed_b
    return made


def build(photos: Sequence[Photo], path: Path) -> None:
    """Write an archive of the images, with its index.

    Raises:
        ShardsError: an image changed meanwhile.
        OSError: one cannot be read, or the archive not be written.
    """
    placed = list[Member]()
    with path.open("wb") as archive:
        for photo in photos:
            archive.write(_header(unescape(photo.name), photo.size))
            placed.append(Member(photo.name, archive.tell(), photo.size))
            with photo.path.open("rb") as image:
                shutil.copyfileobj(image, archive)
            if archive.tell() != placed[-1].offset + photo.size:
                raise ShardsError(f"{escape(str(photo.path))} changed while it was read; run again")
            archive.write(bytes(padded(photo.size) - photo.size))
        index = shards.index(placed)
        archive.write(_header(shards.INDEX, len(index)) + index)
        archive.write(bytes(padded(len(index)) - len(index) + shards.END_B))


def write(made: Plan, target: str, access: Access | None, *, live: bool) -> int:
    """Put every archive to `target`, a folder or, with `access`, a prefix in S3; those that are whole there stay.

    Returns:
        How many were written.

    Raises:
        ShardsError: an archive there is not one of these: it is left alone, and nothing is written.
        StorageError, OSError: something cannot be read or written; the archives that were written stay.
    """
    there = set(_archives(target, access))
    if strange := sorted(there - made.archives.keys()):
        raise ShardsError(f"{target} holds {strange[0]}, which is not of this input; give another OUTPUT or remove it")
    meter, done = Meter(words="packed", total_b=made.total_b, live=live), dict[str, bool]()
    put = _put_here if access is None else _put_to_s3(access)

    def work(name: str) -> None:
        with tempfile.TemporaryDirectory(dir=None if access else target, prefix=".shards-") as scratch:
            path = Path(scratch, ".half")  # a hidden file: no run would read what was left of it
            build(made.archives[name], path)
            done[name] = put(path, f"{target}/{name}")

    if access is None:
        Path(target).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            # First those that are there: beside one of another input nothing is written, they would be read together.
            for names in (made.archives.keys() & there, made.archives.keys() - there):
                running = {pool.submit(work, name) for name in sorted(names)}
                while running:
                    ended, running = wait(running, timeout=TERMINAL_S, return_when=FIRST_EXCEPTION)
                    for each in ended:
                        each.result()
                    meter.show(sum(photo.packed_b for name in list(done) for photo in made.archives[name]))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            meter.end()
    return sum(done.values())


def _header(name: str, size: int) -> bytes:
    """GNU's format: names are bytes of any length. Owner, group, time and device stay 0."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _archives(target: str, access: Access | None) -> list[str]:
    if access:
        names = list(storage.sizes(target, access))
    else:
        names = [path.name for path in Path(target).iterdir()] if Path(target).is_dir() else []
    return [name for name in names if shards.is_shard(name)]


def _put_here(path: Path, target: str) -> bool:
    place = Path(target)
    try:
        _place(path, place)
    except FileExistsError:
        if _digest(place) != _digest(path):
            raise ShardsError(f"{place} holds something else; give another OUTPUT or remove it") from None
        return False
    return True


def _place(path: Path, place: Path) -> None:
    """Have the file at `place`, whole or not at all.

    Raises:
        FileExistsError: another is there.
        OSError: the disk cannot be written.
    """
    try:
        place.hardlink_to(path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}:
            raise
        place.touch(exist_ok=False)  # exFAT, say, has no hard links: a name that was taken here is free to be replaced
        path.replace(place)


def _put_to_s3(access: Access) -> Callable[[Path, str], bool]:
    return lambda path, target: storage.put(path, target, access, replace=False)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def main(argv: Sequence[str], *, prog: str = "python -m data.shards") -> int:
    """Run the command under the name `prog`; the exit code, as `program.run` tells."""
    return program.run(
        lambda: _shards(_parser(prog).parse_args(argv)), stopped="the archives that were written stay, run again"
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog=prog, description=__doc__.replace("python -m data.shards", prog), allow_abbrev=False
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--input", required=True, metavar="FOLDER", help="class folders of images")
    parser.add_argument("--output", required=True, metavar="URI", help="a folder, or s3://bucket/prefix")
    destination.add_arguments(parser)
    return parser


def _shards(parsed: argparse.Namespace) -> int:
    source, target = (settings.location(getattr(parsed, flag), flag=f"--{flag}") for flag in ("input", "output"))
    if source.startswith("s3://"):
        raise UsageError(f"--input {source} is in S3; archives are made of a folder of this machine: name that")
    if not Path(source).is_dir():
        raise UsageError(f"--input {source}: no such folder; correct the path")
    if Path(target).is_relative_to(source):
        raise UsageError(f"--output {target} lies in --input {source}; choose another folder")
    made = plan(Path(source))
    if not made.images:
        raise UsageError(f"--input {source} holds no image; it wants class folders of {', '.join(SUFFIXES)}")
    access = destination.access(parsed) if target.startswith("s3://") else None
    written = write(made, target, access, live=sys.stdout.isatty())
    if made.unreadable:
        name, why = min(made.unreadable.items())
        sys.stderr.write(f"warning: {len(made.unreadable):,} of {source} stay behind, like {name}: {why}\n")
    skipped = f"; skipped as no images: {made.skipped:,} files, like {made.first_skipped}" * bool(made.skipped)
    archives = f"{len(made.archives):,} archive{'s' * (len(made.archives) != 1)}"
    sys.stdout.write(
        f"{made.images:,} images in {archives} in {target}: {written:,} written, "
        f"{len(made.archives) - written:,} were there{skipped}\n"
    )
    return 0


if __name__ == "__main__":
    signals.install_handlers()
    sys.exit(main(sys.argv[1:]))
