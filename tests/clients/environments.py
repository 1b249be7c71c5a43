"""The clients' own environments, each made of its lock in the cache: what one needs is none of another's business."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base.paths import CACHE, ROOT

HERE = Path(__file__).parent
PLACE = CACHE / "clients"


def python(name: str) -> Path:
    """The `bin` of a Python with what tests/clients/NAME/requirements.lock says."""
    uv, folder = ROOT / ".venv" / "bin" / "uv", PLACE / name
    interpreter, lock = folder / "bin" / "python", HERE / name / "requirements.lock"
    with _alone(name):
        if not interpreter.exists():
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        packages = ["--require-hashes", str(lock)]
        subprocess.run([uv, "pip", "sync", "--quiet", "--python", interpreter, *packages], check=True)
    return folder / "bin"


def version(name: str, package: str) -> str:
    """The version of a package in NAME's Python."""
    question = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run(
        [python(name) / "python", "-c", question], capture_output=True, text=True, check=True
    ).stdout.strip()


def javascript() -> Path:
    """A folder with the program of tests/clients/javascript beside the modules that its lock names."""
    folder = PLACE / "javascript"
    with _alone("javascript"):
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {path.name: path.read_bytes() for path in (HERE / "javascript").iterdir() if path.is_file()}
        modules, lock = folder / "node_modules", folder / "package-lock.json"
        if not (modules.exists() and lock.exists() and lock.read_bytes() == wanted["package-lock.json"]):
            for file_name in ("package.json", "package-lock.json"):
                (folder / file_name).write_bytes(wanted[file_name])
            install = ["npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(install, cwd=folder, check=True)
        (folder / "steps.mjs").write_bytes(wanted["steps.mjs"])
    return folder


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time makes an environment."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
