"""Starts one process and keeps whatever comes of it: `python3 keeper.py FD PROGRAM ARGUMENT…`.

Who loses its parent becomes the keeper's child, whatever session it moved to and whatever it did to its environment
(PR_SET_CHILD_SUBREAPER of prctl(2)): all of them are one tree below the keeper, which ends with the last of them.
The open file FD gets the process's id, or minus the number of the error where it cannot be started, and then its exit
code, a line each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_CHILD_SUBREAPER, _GET_CHILD_SUBREAPER = 36, 37


def adopt_orphans() -> None:
    """From now on this process is the parent of every descendant that loses its own."""
    _libc().prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def adopts_orphans() -> bool:
    """Whether this process is the parent of what its children leave behind."""
    answer = ctypes.c_int()
    _libc().prctl(_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0)
    return bool(answer.value)


def main(descriptor: int, argv: list[str]) -> int:
    """Start, tell, and wait for the end of all; the exit code is 0 where the process could be started."""
    adopt_orphans()
    os.set_inheritable(descriptor, False)
    # Handlers, for what is ignored here would be ignored in the process.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        process = os.posix_spawnp(argv[0], argv, os.environ, setsid=True)
    except OSError as error:
        _tell(descriptor, -(error.errno or 1))
        return 1
    _tell(descriptor, process)
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            return 0
        if ended == process:
            _tell(descriptor, os.waitstatus_to_exitcode(status))


def _tell(descriptor: int, number: int) -> None:
    try:
        os.write(descriptor, b"%d\n" % number)
    except BrokenPipeError:  # nobody asks any more
        return


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
