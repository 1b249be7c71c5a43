"""How far the extraction is: a live line on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol, TextIO


class Count(Protocol):
    """What grows while the work goes on, as Spark's accumulators do."""

    @property
    def value(self) -> int:
        """How many were counted so far."""
        ...


TERMINAL_S = 0.5
LOG_S = 10.0


# What `line` writes, but for the rejected.
PATTERN = re.compile(r"[0-9,]+/[0-9,]+ images · [0-9,]+ images/s · ETA (?:[0-9]+ s|not known yet)")


def line(done: int, rejected: int, *, total: int, seconds: float) -> str:
    """`1,200/20,160 images · 412 images/s · ETA 46 s · rejected 3`."""
    rate = (done + rejected) / seconds if seconds > 0 else 0.0
    left = f"{(total - done - rejected) / rate:.0f} s" if rate else "not known yet"
    return f"{done + rejected:,}/{total:,} images · {rate:,.0f} images/s · ETA {left} · rejected {rejected:,}"


@contextmanager
def shown(done: Count, rejected: Count, *, total: int, live: bool, out: TextIO = sys.stderr) -> Iterator[None]:
    """Show the two counts while the body runs, and once more at its end; `live` redraws one line."""
    ended, started = Event(), time.monotonic()

    def show(*, last: bool = False) -> None:
        text = line(done.value, rejected.value, total=total, seconds=time.monotonic() - started)
        out.write(f"\r\033[K{text}" + ("\n" if last else "") if live else f"{text}\n")
        out.flush()

    def watch() -> None:
        while not ended.wait(TERMINAL_S if live else LOG_S):
            show()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        show(last=True)
