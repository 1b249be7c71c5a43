"""Processes on a node: started in a session of their own, followed, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emr_lab.node import keeper

GRACE_S = 10.0
POLL_S = 0.05


class ProcessError(Exception):
    """A process cannot be started: one line with the cause."""


@dataclass(kw_only=True)
class Process:
    """A process that was started here.

    Attributes:
        pid: of the process, and of its group.
        stdout: the file of its output.
        stderr: see `stdout`.
        keeper: the process that started it, which lives as long as anything that came of it.
    """

    pid: int
    stdout: Path
    stderr: Path
    keeper: subprocess.Popen[bytes]
    _report: int
    _code: int | None = None
    _asking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where one ended it."""
        with self._asking:
            if self._code is None and select.select([self._report], [], [], 0)[0]:
                # Nothing is told where the keeper was killed, and the process became somebody else's.
                self._code = int(_line(self._report) or -signal.SIGKILL)
                os.close(self._report)
            self.keeper.poll()
            return self._code


def start(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path) -> Process:
    """Start `argv` with the whole environment `env`; its output is appended to the two files.

    Args:
        argv: the program, found on `env`'s PATH, and its arguments.
        env: all of its environment.
        cwd: where it starts.
        stdout: may be the same file as `stderr`.
        stderr: see `stdout`.

    Raises:
        ProcessError: there is no such program or folder, or no more room.
    """
    report, report_end = os.pipe()
    try:
        for path in (stdout, stderr):
            path.parent.mkdir(parents=True, exist_ok=True)
        with stdout.open("ab") as out, stderr.open("ab") as err:
            keeper_process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(report_end), *argv],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[report_end],
                start_new_session=True,
            )
    except (OSError, ValueError) as error:
        os.close(report)
        raise ProcessError(f"{argv[0]} cannot be started: {getattr(error, 'strerror', None) or error}") from error
    finally:
        os.close(report_end)
    pid = int(_line(report) or 0)
    if pid <= 0:
        os.close(report)
        keeper_process.wait()
        raise ProcessError(f"{argv[0]} cannot be started: {os.strerror(-pid) if pid else 'its keeper has ended'}")
    return Process(pid=pid, stdout=stdout, stderr=stderr, keeper=keeper_process, _report=report)


def end(processes: Iterable[Process]) -> None:
    """Send TERM to the processes and whatever came of them, KILL to what is left after ten seconds; then it is gone."""
    _end(list(processes), strays=False)


def end_all(processes: Iterable[Process]) -> None:
    """As `end`; where this process adopts orphans, what came of a process whose keeper was killed ends as well.

    `processes` are all that this process started: any other child is taken for an orphan.
    """
    _end(list(processes), strays=keeper.adopts_orphans())


def kill_all(processes: Iterable[Process]) -> None:
    """As `end_all`, by KILL alone: what happens to them where a machine is switched off."""
    keepers = [process.keeper for process in processes]
    strays = keeper.adopts_orphans()
    while any(each.poll() is None for each in keepers) or (strays and _orphans(keepers)):
        _kill(keepers, strays=strays)
        time.sleep(POLL_S)


def _end(processes: Sequence[Process], *, strays: bool) -> None:
    keepers = [process.keeper for process in processes]
    _signal(_descendants(keepers, strays=strays), signal.SIGTERM)
    end_of_grace = time.monotonic() + GRACE_S
    # A keeper has ended when the kernel knows of no child of it: what a look at /proc may miss, that does not.
    while any(each.poll() is None for each in keepers) or (strays and _orphans(keepers)):
        if time.monotonic() > end_of_grace:
            _kill(keepers, strays=strays)
        time.sleep(POLL_S)


def _kill(keepers: Sequence[subprocess.Popen[bytes]], *, strays: bool) -> None:
    """Send KILL after all have been stopped: who is stopped starts no more of its kind meanwhile."""
    stopped = set[int]()
    while more := set(_descendants(keepers, strays=strays)) - stopped:
        _signal(more, signal.SIGSTOP)
        stopped |= more
    _signal(stopped, signal.SIGKILL)


def _descendants(keepers: Sequence[subprocess.Popen[bytes]], *, strays: bool) -> list[int]:
    """Return all that came of the processes, as /proc shows it at this moment; with `strays` the orphans as well."""
    children = _children()
    waiting = [child for each in keepers if each.poll() is None for child in children.get(each.pid, ())]
    if strays:
        waiting += _orphans(keepers)
    descendants = []
    while waiting:
        descendants.append(waiting.pop())
        waiting += children.get(descendants[-1], ())
    return descendants


def _orphans(keepers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the living children of this process that are none of the `keepers`."""
    orphans = set(_children().get(os.getpid(), ())) - {each.pid for each in keepers}
    for pid in list(orphans):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                orphans.discard(pid)
    return list(orphans)


def _children() -> dict[int, list[int]]:
    """Return the ids of all processes by those of their parents."""
    children: dict[int, list[int]] = {}
    # Not by a pattern with a file in it: that looks for the file itself, and fails where a process has just ended.
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # 12 (a name (with anything in it)) S 1 …
            parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    return children


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _line(descriptor: int) -> bytes:
    """Read the next line; empty where the other end was closed without one."""
    line = b""
    while (byte := os.read(descriptor, 1)) not in {b"", b"\n"}:
        line += byte
    return line
