"""Ctrl-C or SIGTERM while Spark works: ends the tasks and the job without a word too many."""

from __future__ import annotations

import signal
from contextlib import suppress
from threading import Thread, current_thread, main_thread

from py4j.protocol import Py4JError
from pyspark import SparkContext

from pipeline import signals

CANCEL_S = 5.0


def install_handlers() -> None:
    """Raise KeyboardInterrupt at Ctrl-C, to which whoever submits may be deaf, and at SIGTERM and SIGHUP.

    Spark has to be started on another thread: on the main one pyspark sets a handler of its own, which talks to the JVM
    in the middle of what the main thread is saying to it.
    """
    if current_thread() is main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signals.install_handlers()


def cancel_jobs() -> None:
    """End Spark's tasks quietly: from another thread, as the main one's line to the JVM has half an answer on it."""
    context = SparkContext._active_spark_context

    def cancel() -> None:
        with suppress(Py4JError, OSError):  # the JVM may have had the same signal, and be gone
            if context is not None and hasattr(context, "_jsc"):  # else Spark is just starting
                context.setLogLevel("OFF")
                context.cancelAllJobs()

    thread = Thread(target=cancel, daemon=True)
    thread.start()
    thread.join(CANCEL_S)
