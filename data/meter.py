"""A line of progress in bytes: redrawn on a terminal, elsewhere one every ten seconds."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

TERMINAL_S, LOG_S = 0.5, 10.0


@dataclass(kw_only=True)
class Meter:
    """Shows how far something is.

    Attributes:
        words: what was done to the bytes, like "fetched".
        total_b: how many there are; None: not known.
        start_b: of these, what was done before and took none of this run's time.
        live: redraw one line, for a terminal.
        out: where it is shown.
    """

    words: str
    total_b: int | None = None
    start_b: int = 0
    live: bool = False
    out: TextIO = field(default_factory=lambda: sys.stderr)
    _started: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _open: bool = False

    def show(self, done_b: int) -> None:
        """Say how far it is, where the last time is long enough ago."""
        now = time.monotonic()
        if now - self._shown >= (TERMINAL_S if self.live else LOG_S):
            self._shown = now
            text = line(done_b, self.total_b, start_b=self.start_b, seconds=now - self._started, words=self.words)
            self.out.write(f"\r\033[K{text}" if self.live else f"{text}\n")
            self.out.flush()
            self._open = self.live

    def end(self) -> None:
        """Leave the line that is redrawn, so that what comes next has its own."""
        if self._open:
            self.out.write("\n")
            self._open = False


def line(done_b: int, total_b: int | None, *, start_b: int, seconds: float, words: str) -> str:
    """`fetched 35.2 of 812.0 MB · 4.1 MB/s · ETA 190 s`; without the total only what is known."""
    rate = (done_b - start_b) / seconds if seconds > 0 else 0.0
    if total_b is None:
        return f"{words} {done_b / 1e6:,.1f} MB · {rate / 1e6:,.1f} MB/s"
    left = f"{(total_b - done_b) / rate:,.0f} s" if rate else "not known yet"
    return f"{words} {done_b / 1e6:,.1f} of {total_b / 1e6:,.1f} MB · {rate / 1e6:,.1f} MB/s · ETA {left}"
