"""Writes a small job with its test: the files of `starter/`, as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

from base.errors import UsageError

SOURCES = Path(__file__).parent / "starter"
RENAMED = {"gitignore": ".gitignore"}  # under its own name it would hold here, too


def write(folder: Path) -> list[Path]:
    """Write the files into `folder`, which is made where it is missing; their names in it.

    Raises:
        UsageError: one of them is there already; nothing was written.
        OSError: one cannot be written.
    """
    names = sorted(path.relative_to(SOURCES) for path in SOURCES.rglob("*") if path.is_file())
    sources = {Path(RENAMED.get(str(name), name)): SOURCES / name for name in names if "__pycache__" not in name.parts}
    there = [name for name in sources if (folder / name).is_symlink() or (folder / name).exists()]
    if there:
        what = ", ".join(map(str, there))
        raise UsageError(f"{folder} has {what} already, and nothing is overwritten; choose another folder")
    for name, source in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as content, (folder / name).open("xb") as file:
            shutil.copyfileobj(content, file)
    return list(sources)
