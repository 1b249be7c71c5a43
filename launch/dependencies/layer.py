"""A job's Python packages on the lab's nodes: an environment of their own there, as the bootstrap action makes on EMR.

The nodes reach no index and their root file systems stay as built: the packages, unpacked on this machine, go through
Docker to each node's data volume, once.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from base import compose, paths
from base.compose import DockerError
from base.errors import EmrlabError
from launch.docker_lab import MASTER

PLACE = "/mnt/spark/packages"  # docker/node/entrypoint leaves it when a daemon starts anew
TIMEOUT_S = 600
UNUSED_DAYS = 7
# Exit code 0 where it is there; what nobody has used for days is removed.
_LOOK = f"""
if [ -x "$1/bin/python" ]; then touch "$1"; else exit 1; fi
find {PLACE} -mindepth 1 -maxdepth 1 -mtime +{UNUSED_DAYS} -exec rm -rf {{}} +
"""
# Without pip, which the nodes' Python has not got. Where another run made the same in between, that one stays.
_UNPACK = """
set -e
half="$1.half.$$"
trap 'rm -rf "$half"' EXIT
python3 -m venv --without-pip "$half"
tar -x -C "$half"/lib/python3.*/site-packages
mv -T "$half" "$1" 2>/dev/null || [ -x "$1/bin/python" ]
"""


class LayerError(EmrlabError):
    """The packages cannot be brought to a node: one line with the cause and what to do."""


def bring(packages: Path) -> str:
    """Lay the packages out on master and workers, where they are not yet; the path of their `python` there.

    Args:
        packages: folder of what is unpacked for the nodes, named after its content, as `wheels.unpack` leaves it.

    Raises:
        LayerError: a node does not take them.
    """
    place = f"{PLACE}/{packages.name}"
    try:
        services = [each.name for each in compose.services() if each.state == "running"]
    except DockerError as error:
        raise LayerError(f"{error}; run: make doctor") from error
    nodes = [name for name in services if name == MASTER or name.startswith("worker-")]
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        list(pool.map(lambda node: _bring(node, packages, place), nodes))
    return f"{place}/bin/python"


def _bring(node: str, packages: Path, place: str) -> None:
    if _run(node, _LOOK, place).returncode == 0:
        return
    done = _run(node, _UNPACK, place, packages=packages)
    if done.returncode:
        said = compose.telling_line(done.stderr.decode(errors="replace")) or f"exit code {done.returncode}"
        raise LayerError(f"the job's packages cannot be brought to {node}: {said}; make logs SERVICE={node} has more")


def _run(node: str, script: str, place: str, *, packages: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command: Sequence[str] = compose.exec_command(node, ["sh", "-c", script, "sh", place])
    with subprocess.Popen(
        command, cwd=paths.LAB, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            with suppress(BrokenPipeError):  # it has ended, and says why
                if packages:
                    _write(packages, cast(IO[bytes], process.stdin))
            _, errors = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise LayerError(f"{node} has not taken the job's packages in {TIMEOUT_S} s; run again") from error
    return subprocess.CompletedProcess(command, process.returncode, b"", errors)


def _write(packages: Path, sink: IO[bytes]) -> None:
    """A tar of the folder, as it comes; what this machine's Python compiled is none of the nodes'."""
    with tarfile.open(fileobj=sink, mode="w|") as archive:
        archive.add(packages, arcname=".", filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if entry.name.endswith("/__pycache__"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o444 | (0o111 if entry.isdir() else 0)
    return entry
