"""A lab for tests: a Docker Compose project of its own, on ports that are free, with keys of its own.

The command starts and ends it, in processes of their own: a test's process has the user's modules, whose names may be
those of the rooms.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE if (HERE / "base").is_dir() else HERE.parent  # in an installation, in a checkout
KEPT = "emrlab-pytest"  # the project that stays
START_TIMEOUT_S = 3600  # with the images' build, on a machine that has none


class LabError(Exception):
    """The lab does not start: what the command said."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab for one session of tests, with all its workers, or one that many sessions use after each other.

    Attributes:
        folder: its state, of this user alone.
        project: Docker Compose's name for it.
        kept: whether it stays when the session ends.
    """

    folder: Path
    project: str
    kept: bool

    def start(self, *command: str) -> None:
        """Start what `command` says, unless this session has.

        Raises:
            LabError: it does not start.
        """
        started = self.folder / f"{'-'.join(command)}.started"
        with self._alone():
            if self.kept or not started.exists():
                (self.folder / "begun").touch()
                self._run(*command, timeout_s=START_TIMEOUT_S)
                started.touch()

    def variables(self, *, root: bool) -> dict[str, str]:
        """The AWS_* variables of a client, with the key of S3's root or the laptop's.

        Raises:
            LabError: it does not run.
        """
        lines = self._run("env", *["--root"] * root).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def end(self) -> None:
        """Remove the lab with its data, where it is not to be kept and was begun, and the folder.

        Raises:
            LabError: Docker does not remove it; the folder stays.
        """
        if self.kept:
            return
        if (self.folder / "begun").exists():
            self._run("clean")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """What its commands run with."""
        ports = re.findall(r"\$\{([A-Z0-9_]+_PORT):-", (ROOT / "compose.yaml").read_text())
        path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        own = {"COMPOSE_PROJECT_NAME": self.project, "XDG_STATE_HOME": str(self.folder), "PYTHONPATH": path}
        return {**os.environ, **dict.fromkeys(ports, "0"), **own}

    def _run(self, *command: str, timeout_s: float = 600) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "emrlab", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        if ran.returncode:
            lines = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
            raise LabError(f"emrlab {' '.join(command)}: {(lines or ['no word'])[-1].removeprefix('error: ')}")
        return ran.stdout

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time starts something: workers of one session, sessions that share what is kept."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def make(*, kept: bool) -> Lab:
    """A lab that nothing runs of yet.

    Raises:
        OSError: its folder cannot be made.
    """
    if not kept:
        return Lab(
            folder=Path(tempfile.mkdtemp(prefix="emrlab-")), project=f"{KEPT}-{secrets.token_hex(4)}", kept=False
        )
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    state = named if named.is_absolute() else Path.home() / ".local" / "state"
    folder = state / "emrlab" / "pytest"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Lab(folder=folder, project=KEPT, kept=True)


def settings_of_spark(variables: Mapping[str, str]) -> str:
    """JSON of what a SparkSession on this machine needs for the S3 that the AWS_* `variables` name.

    Raises:
        LabError: its jars cannot be had, or there is no Java.
    """
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "launch.session_settings"],
        env={**os.environ, **variables, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        raise LabError((ran.stderr.strip().splitlines() or ["no word"])[-1].removeprefix("error: "))
    return ran.stdout
