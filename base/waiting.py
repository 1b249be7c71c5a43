"""Waiting for something that another program does."""

from __future__ import annotations

import time
from collections.abc import Iterator


def attempts(*, timeout_s: float, interval_s: float) -> Iterator[None]:
    """Yield at once, then every `interval_s` seconds, for the last time when `timeout_s` seconds are over.

    Whoever waits looks in the body of a `for`, leaves it when it sees what it waits for, and says in its `else` that
    the time is over.
    """
    end = time.monotonic() + timeout_s
    while True:
        yield
        if time.monotonic() > end:
            return
        time.sleep(interval_s)
