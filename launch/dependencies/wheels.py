"""A lock's packages, fetched on any laptop for any machine: as a tar of wheels, or unpacked in a folder.

A node of EMR installs the tar without an index (launch/emr/bootstrap.sh). Where nothing is to be installed, on this
machine and in the Docker lab, a folder of them goes in front of Python's path.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from base.paths import ROOT
from launch.dependencies import lock as locks
from launch.dependencies.lock import GLIBC_MINOR, TIMEOUT_S, FetchError, Platform
from pipeline.redaction import redacted

# The image pipeline's: what pyproject.toml's group `job` leads to on a node, in the versions of requirements.lock.
JOB_LOCK = ROOT / "job.lock"


@dataclass(frozen=True)
class Wheelhouse:
    """A tar of wheels and their requirements.txt; `wheelhouse-<12 digits of its sha256>.tar` in the cache."""

    path: Path
    sha256: str


def build(lock: str, target: Platform, *, cache: Path, index_options: str = "") -> Wheelhouse:
    """Fetch the wheels and pack them, the same bytes each time, where `cache` has not got them yet.

    Args:
        lock: `name==version` with hashes, a package an entry; as `lock.resolve` makes it.
        target: the nodes.
        cache: folder of what was built before.
        index_options: lines that say where packages are found, as `lock.index_options` gives them.

    Raises:
        FetchError: they cannot be fetched.
        OSError: the cache cannot be written.
    """
    if built := find(lock, target, cache=cache):
        return built
    folder = _folder(cache, lock, target)
    with _half(folder) as half:
        (half / "requirements.txt").write_text(lock)
        download(half, target, index_options=index_options)
        content = pack(half)
    sha256 = hashlib.sha256(content).hexdigest()
    # Another run may make the same, or send it: `find` passes over what is damaged, and nothing is removed here.
    folder.mkdir(exist_ok=True)
    path = folder / f"wheelhouse-{sha256[:12]}.tar"
    written = folder / f"{os.getpid()}.half"
    written.write_bytes(content)
    written.replace(path)
    return Wheelhouse(path, sha256)


def find(lock: str, target: Platform, *, cache: Path) -> Wheelhouse | None:
    """The wheelhouse that was built of the lock, or None; nothing is fetched."""
    for path in _folder(cache, lock, target).glob("wheelhouse-*.tar"):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.stem.endswith(sha256[:12]):  # else it is damaged
            return Wheelhouse(path, sha256)
    return None


def unpack(lock: str, target: Platform, *, cache: Path, index_options: str = "") -> Path:
    """Lay the packages out in a folder of `cache`, for Python's path; arguments and errors as of `build`.

    Returns:
        The folder, named after what is in it.
    """
    recipe = f"{target!r} {sys.platform if target.machine is None else GLIBC_MINOR}\n{lock}"
    folder = cache / "packages" / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    with _half(folder) as half, _index_file(index_options) as index:
        (half / "requirements.txt").write_text(lock)
        options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(half / "packages")]
        options += ["--link-mode", "hardlink"]  # whatever the user set: links into uv's cache lead nowhere on a node
        options += [] if target.machine else ["--compile-bytecode"]
        wanted = ["--requirement", str(half / "requirements.txt"), *index]
        what = f"the job's packages for {target}"
        locks.run_uv("install", *options, *locks.uv_platform(target), *wanted, what=what)
        (half / "packages").mkdir(exist_ok=True)
        try:
            (half / "packages").replace(folder)
        except OSError:
            if not folder.is_dir():  # else another run has made the same meanwhile
                raise
    return folder


def download(folder: Path, target: Platform, *, index_options: str = "") -> None:
    """Fetch every wheel of requirements.txt in `folder` into it, whatever system and Python this one is.

    Raises:
        FetchError: pip cannot, or takes over TIMEOUT_S.
    """
    machine, python = target.machine, target.python
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    command += ["--python-version", python, *(arg for name in platforms for arg in ("--platform", name))]
    command += ["--require-hashes", "--requirement", str(folder / "requirements.txt"), "--dest", str(folder)]
    with _index_file(index_options) as index:
        try:
            ran = subprocess.run(
                [*command, *index],
                env=locks.environment(),
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise FetchError(
                f"the nodes' wheels did not arrive in {TIMEOUT_S} s; check the network, run again"
            ) from error
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.strip()] or ["pip says nothing"]
        cause = next((line for line in lines if line.startswith("ERROR")), lines[-1]).removeprefix("ERROR: ")
        raise FetchError(f"the nodes' wheels cannot be fetched: {redacted('', cause)}; check the network, run again")


def pack(folder: Path) -> bytes:
    """A tar of the files in `folder` by name, without who packed them and when; names may have over 100 characters."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return sink.getvalue()


def _folder(cache: Path, lock: str, target: Platform) -> Path:
    digest = hashlib.sha256(f"{target.machine} {target.python} {GLIBC_MINOR}\n{lock}".encode()).hexdigest()
    return cache / "wheelhouse" / f"{target.machine}-{digest[:12]}"


@contextmanager
def _half(folder: Path) -> Iterator[Path]:
    """A folder of this process beside `folder`, gone at the end: two runs may make the same at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.half-"))
    try:
        yield half
    finally:
        shutil.rmtree(half, ignore_errors=True)


@contextmanager
def _index_file(options: str) -> Iterator[list[str]]:
    """Flags that name a file of index options that nobody else can read: there may be a password in them."""
    if not options:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="emrlab-") as folder:
        path = Path(folder, "index.txt")
        path.write_text(options)
        yield ["--requirement", str(path)]
