"""SIGTERM and SIGHUP end a command as Ctrl-C does: it puts away what it has begun, and says so."""

from __future__ import annotations

import signal
from types import FrameType

# SIGTERM: kill, docker stop, YARN, timeout, a service manager. SIGHUP: a closed terminal.
TERMINATION = (signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C asks for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install_handlers() -> None:
    """Raise Stopped at the first of these signals, and hear none of them from then on: the end takes its time.

    One that was being ignored when this process began (nohup) stays ignored. To be called on the main thread.
    """
    for number in TERMINATION:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def exit_code(stopped: KeyboardInterrupt) -> int:
    """As a shell has it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)


def _stop(number: int, _: FrameType | None) -> None:
    for each in TERMINATION:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)
