"""Runs a command and passes it the signals that come by name on stdin; the end of stdin counts as Ctrl-C.

The text of this file is handed to a Python beside the job, on this machine and in the lab: a launcher that is killed
can pass nothing on, nor does `docker exec`, and either would leave the job behind. It is there for that, so it imports
nothing but the standard library.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from threading import Event, Thread

STOP_S = 15.0


def main(command: Sequence[str]) -> int:
    """Run `command` to its end and return its exit code; 128 + N where signal N ended it."""
    # As with a terminal's own Ctrl-C, the JVM is started deaf to it: it would fall from under the job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop_requested = Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop_requested.set())
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as job:
        Thread(target=_relay, args=(job,), daemon=True).start()
        Thread(target=_stop_when, args=(stop_requested, job), daemon=True).start()
        code = job.wait()
        _send(job, signal.SIGKILL)  # what it left behind
    return code if code >= 0 else 128 - code


def _relay(job: subprocess.Popen[bytes]) -> None:
    for name in _signal_names():
        _send(job, signal.Signals[name])
    _stop(job)


def _stop_when(stop_requested: Event, job: subprocess.Popen[bytes]) -> None:
    stop_requested.wait()
    _stop(job)


def _stop(job: subprocess.Popen[bytes]) -> None:
    _send(job, signal.SIGINT)
    try:
        job.wait(STOP_S)
    except subprocess.TimeoutExpired:
        _send(job, signal.SIGKILL)


def _signal_names() -> Iterator[str]:
    while text := os.read(sys.stdin.fileno(), 64):
        yield from text.decode().split()


def _send(job: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(job.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
