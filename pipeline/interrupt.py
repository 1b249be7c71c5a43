"""Ctrl-C while Spark works: ends the tasks and the job without a word too many."""

from __future__ import annotations

import signal
from threading import Thread, current_thread, main_thread

from pyspark import SparkContext

CANCEL_S = 5.0


def hear() -> None:
    """Raise KeyboardInterrupt at Ctrl-C, to which whoever submits may be deaf.

    Spark has to be started on another thread: on the main one pyspark sets a handler of its own, which talks to the JVM
    in the middle of what the main thread is saying to it.
    """
    if current_thread() is main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def cancel_jobs() -> None:
    """End Spark's tasks quietly: from another thread, as the main one's line to the JVM has half an answer on it."""
    context = SparkContext._active_spark_context

    def cancel() -> None:
        if context is not None:
            context.setLogLevel("OFF")
            context.cancelAllJobs()

    thread = Thread(target=cancel, daemon=True)
    thread.start()
    thread.join(CANCEL_S)
