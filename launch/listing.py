"""What of a user's job leaves this machine, told before it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from launch import package, storage
from launch.job import Job, is_remote
from launch.package import Package
from pipeline.names import escape

if TYPE_CHECKING:
    from launch.needs import Packages

SHOWN = 20  # names of one module or input


def show(job: Job, built: Package, needed: Packages | None) -> None:
    """Write a line for each thing that goes, with its size; nothing of a job of ours."""
    if job.is_own:
        sys.stderr.write("".join(f"sends       {line}\n" for line in lines(job, built, needed)))


def lines(job: Job, built: Package, needed: Packages | None = None) -> list[str]:
    """What goes: the entry point, the modules' files, files, jars, packages, and how much of each input."""
    said = [_line(job.entry.name, job.entry.stat().st_size)]
    for module in job.modules:
        members = list(package.members(module))
        said += [_line(f"{name} in {built.archive.name}" if built.archive else name, _size(path))
                 for name, path in members[:SHOWN]]  # fmt: skip
        if rest := members[SHOWN:]:
            said.append(_line(f"{len(rest):,} more of {module.name}", sum(_size(path) for _, path in rest)))
    said += [_line(path.name, _size(path)) for path in (*job.files, *job.jars)]
    if needed:
        said.append(f"Python packages: {', '.join(needed.names())}")
    for name, source in job.inputs.items():
        if not is_remote(source):
            sizes = [file.size for file in storage.files(Path(source), hidden_folders=False)]
            said.append(
                _line(
                    f"{len(sizes):,} {'file' if len(sizes) == 1 else 'files'} of {escape(source)}, its input {name}",
                    sum(sizes),
                )
            )
    return said


def _size(path: Path) -> int:
    return path.stat().st_size


def _line(what: str, size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{what}: {size:,.0f} {unit}"
        size = round(size / 1000)
    return f"{what}: {size:,} GB"
