"""The folder in which Docker Compose works for an installation: what the images are built from, and `.env`.

A checkout is such a folder itself. An installation's files may be closed to the user or to Docker, whose machine sees a
user's home; and a build writes beside them which certificates this machine trusts.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from base import paths

IGNORED = ".dockerignore"  # names what a build sees
MADE = Path("docker", "certificates")  # by docker/base


def bring_up_to_date() -> None:
    """Make the files of `paths.LAB` those of `paths.ROOT`; what is no longer among them goes, but what a build made.

    A file is replaced as a whole, and readable for a container's user whatever this user's umask is.

    Raises:
        OSError: the folder cannot be written.
    """
    wanted = {path.relative_to(paths.ROOT): path for path in _files()}
    for name, path in wanted.items():
        place = paths.LAB / name
        if not (place.is_file() and filecmp.cmp(path, place, shallow=False)):
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, place)
    tops = {paths.LAB / name.parts[0] for name in wanted if len(name.parts) > 1}
    for path in [path for top in tops for path in top.rglob("*") if path.is_file()]:
        name = path.relative_to(paths.LAB)
        if name not in wanted and MADE not in name.parents:
            path.unlink(missing_ok=True)


def _files() -> Iterator[Path]:
    """compose.yaml, `.dockerignore`, and what this lets into a build."""
    lines = (paths.ROOT / IGNORED).read_text().splitlines()
    for name in ("compose.yaml", IGNORED, *(line[1:] for line in lines if line.startswith("!"))):
        path = paths.ROOT / name
        within = path.rglob("*") if path.is_dir() else (path,)
        yield from (each for each in within if each.is_file() and "__pycache__" not in each.parts)


def _copy(path: Path, place: Path) -> None:
    descriptor, half = tempfile.mkstemp(dir=paths.LAB, prefix=".half-")
    os.close(descriptor)
    try:
        shutil.copyfile(path, half)
        Path(half).chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        Path(half).replace(place)
    except BaseException:
        Path(half).unlink(missing_ok=True)
        raise
