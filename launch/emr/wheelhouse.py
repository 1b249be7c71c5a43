"""The package for nodes: wheels of what the job imports, fetched on any laptop, in one tar, the same bytes each time.

What a node gets is job.lock: what pyproject.toml's `dependencies` lead to on a node, in the versions of
requirements.lock, with hashes. A node installs them without an index (bootstrap.sh).
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from base.errors import EmrlabError
from base.paths import ROOT

LOCK = ROOT / "job.lock"
BOOTSTRAP = Path(__file__).parent / "bootstrap.sh"
# Amazon Linux 2023 has glibc 2.34; wheels for any version up to it run there.
GLIBC_MINOR = 34
TIMEOUT_S = 900


class WheelhouseError(EmrlabError):
    """The wheels cannot be had: one line with the cause and what to do."""


@dataclass(frozen=True)
class Wheelhouse:
    """A tar of wheels and their requirements.txt; `wheelhouse-<12 digits of its sha256>.tar` in the cache."""

    path: Path
    sha256: str


def imported_on_nodes() -> list[str]:
    """The modules that the bootstrap action imports at its end: what pyproject.toml says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [str(module) for module in project["tool"]["emrlab"]["imported-on-nodes"]]


def architecture(instance_type: str) -> str:
    """The processor of an instance type: Graviton's families have a g behind their number."""
    return "aarch64" if re.match(r"[a-z]+[0-9]+g", instance_type) else "x86_64"


def build(cache: Path, *, machine: str, python: str) -> Wheelhouse:
    """Fetch the wheels and pack them, where `cache` has not got them yet.

    Args:
        cache: folder of what was built before.
        machine: x86_64 or aarch64.
        python: of the nodes, like 3.11.

    Raises:
        WheelhouseError: they cannot be fetched.
        OSError: the cache cannot be written.
    """
    if built := find(cache, machine=machine, python=python):
        return built
    lock = LOCK.read_text()
    folder = _folder(cache, lock, machine=machine, python=python)
    half = folder.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    (half / "requirements.txt").write_text(lock)
    download(half, machine=machine, python=python)
    content = pack(half)
    sha256 = hashlib.sha256(content).hexdigest()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / f"wheelhouse-{sha256[:12]}.tar"
    path.write_bytes(content)
    shutil.rmtree(half)
    return Wheelhouse(path, sha256)


def find(cache: Path, *, machine: str, python: str) -> Wheelhouse | None:
    """The wheelhouse that was built for the lock as it is, or None; nothing is fetched."""
    for path in _folder(cache, LOCK.read_text(), machine=machine, python=python).glob("wheelhouse-*.tar"):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.stem.endswith(sha256[:12]):  # else it is damaged
            return Wheelhouse(path, sha256)
    return None


def _folder(cache: Path, lock: str, *, machine: str, python: str) -> Path:
    digest = hashlib.sha256(f"{machine} {python} {GLIBC_MINOR}\n{lock}".encode()).hexdigest()
    return cache / "wheelhouse" / f"{machine}-{digest[:12]}"


def download(folder: Path, *, machine: str, python: str) -> None:
    """Fetch every wheel of requirements.txt in `folder` into it, whatever system and Python this one is.

    Raises:
        WheelhouseError: pip cannot, or takes over TIMEOUT_S.
    """
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--abi", f"cp{python.replace('.', '')}"]
    command += ["--python-version", python, *(arg for name in platforms for arg in ("--platform", name))]
    command += ["--require-hashes", "--requirement", str(folder / "requirements.txt"), "--dest", str(folder)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise WheelhouseError(
            f"the nodes' wheels did not arrive in {TIMEOUT_S} s; check the network, run again"
        ) from error
    if ran.returncode:
        lines = [line for line in ran.stderr.splitlines() if line.strip()] or ["pip says nothing"]
        cause = next((line for line in lines if line.startswith("ERROR")), lines[-1]).removeprefix("ERROR: ")
        raise WheelhouseError(f"the nodes' wheels cannot be fetched: {cause}; check the network, run again")


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
