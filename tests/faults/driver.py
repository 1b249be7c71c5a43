"""A driver that runs the job as often as it is told, in one Spark: of a run of seconds, starting Spark is most.

What spark-submit starts in the place of the job's main.py. DRIVER_PORT says where it is told a run's arguments and how
many rows it compares itself, and tells exit code and words.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from multiprocessing.connection import Client

from pipeline import comparison, main


def serve() -> None:
    """Until there is nobody to tell."""
    with contextlib.suppress(EOFError, ConnectionError), Client(("127.0.0.1", int(os.environ["DRIVER_PORT"]))) as line:
        while True:
            (args, comparison.MOST_ROWS), said = line.recv(), io.StringIO()
            logging.getLogger("pipeline").handlers.clear()  # main adds its own
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = main.main(args)
            line.send((code, said.getvalue()))


if __name__ == "__main__":
    serve()
