"""Processes on a node: started in a session of their own, followed, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 10.0
POLL_S = 0.05
# In the environment of each process, and so of all that it starts, whichever session they move to: what YARN's
# containers do.
MARK = "EMRLAB_NODE"


class ProcessError(Exception):
    """A process cannot be started: one line with the cause."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was started here, and the files of its output."""

    popen: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where one ended it."""
        return self.popen.poll()


def start(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path, mark: str) -> Process:
    """Start `argv` with the whole environment `env`; its output is appended to the two files.

    Args:
        argv: the program, found on `env`'s PATH, and its arguments.
        env: all of its environment but the mark.
        cwd: where it starts.
        stdout: may be the same file as `stderr`.
        stderr: see `stdout`.
        mark: by which `end_all` finds it again.

    Raises:
        ProcessError: there is no such program or folder, or no more room.
    """
    try:
        for path in (stdout, stderr):
            path.parent.mkdir(parents=True, exist_ok=True)
        with stdout.open("ab") as out, stderr.open("ab") as err:
            popen = subprocess.Popen(
                argv,
                env={**env, MARK: mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        raise ProcessError(f"{argv[0]} cannot be started: {getattr(error, 'strerror', None) or error}") from error
    return Process(popen=popen, stdout=stdout, stderr=stderr)


def end(process: Process) -> None:
    """TERM for the process and its group, KILL for those that are still there after ten seconds; then it is gone."""

    def there() -> bool:
        process.popen.poll()
        return _send(process.pid, 0, to=os.killpg)

    _end(there, lambda number: _send(process.pid, number, to=os.killpg))
    process.popen.wait()


def end_all(processes: Iterable[Process], *, mark: str) -> None:
    """End the `processes` and whatever they started that is still there, all at once."""
    known = list(processes)

    def there() -> bool:
        for process in known:
            process.popen.poll()
        return bool(_marked(mark))

    def send(number: int) -> None:
        for pid in _marked(mark):
            _send(pid, number, to=os.kill)

    _end(there, send)
    for process in known:
        process.popen.wait()


def _end(there: Callable[[], bool], send: Callable[[int], object]) -> None:
    send(signal.SIGTERM)
    end_of_grace = time.monotonic() + GRACE_S
    while there():
        if time.monotonic() > end_of_grace:
            send(signal.SIGKILL)
        time.sleep(POLL_S)


def _send(pid: int, number: int, *, to: Callable[[int, int], None]) -> bool:
    """Whether there was anything to receive the signal."""
    try:
        to(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _marked(mark: str) -> list[int]:
    """The processes with the mark, zombies excepted: those have no environment any more."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        # Of another user, or just ended.
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found
