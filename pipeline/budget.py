"""A budget of bytes that threads share: what does not fit now waits its turn."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Budget:
    """Bytes that are taken before they are allocated, first come, first served.

    Whoever holds some never asks for more, and so always comes to an end: nobody waits for ever. The order keeps a
    large one from being overtaken by small ones without end.

    Attributes:
        total_b: all there is; whoever asks for more can never be served and should not ask.
    """

    def __init__(self, total_b: int) -> None:
        self.total_b = total_b
        self._free_b = total_b
        self._queue: deque[object] = deque()
        self._changed = Condition()

    @property
    def waiting(self) -> int:
        """How many wait their turn."""
        return len(self._queue)

    @contextmanager
    def hold(self, size_b: int) -> Iterator[None]:
        """Wait until `size_b` bytes are free and everybody who came before is served; give them back at the end.

        Raises:
            ValueError: there are never as many.
        """
        if size_b > self.total_b:
            raise ValueError(f"{size_b} bytes asked of a budget of {self.total_b}")
        turn = object()
        with self._changed:
            self._queue.append(turn)
            try:
                self._changed.wait_for(lambda: self._queue[0] is turn and size_b <= self._free_b)
                self._free_b -= size_b
            finally:
                self._queue.remove(turn)
                self._changed.notify_all()  # the next in the queue may fit beside this one
        try:
            yield
        finally:
            with self._changed:
                self._free_b += size_b
                self._changed.notify_all()


def return_freed(above_b: int) -> None:
    """Have the C library give blocks of more than `above_b` bytes back to the system when they are freed.

    glibc learns from the first large block that is freed to keep such blocks, for each thread its own: eight threads
    that decode in turn would come to hold eight pictures (mallopt(3)). Other C libraries do not, and have no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(-3, above_b)  # M_MMAP_THRESHOLD, which is no longer learnt from here on
        mallopt(-1, 4 * above_b)  # M_TRIM_THRESHOLD: what may stay free at the end of a heap
        mallopt(-8, 2)  # M_ARENA_MAX: a heap a thread reserves 64 MiB of addresses each, and keeps more
