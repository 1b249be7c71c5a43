"""Makes what Spark does in a Python worker process between two tasks cheap: 140 ms of it were of no use.

It is for Spark 3.5 to 4.1, those of releases.toml, where Python workers are given their tasks over TCP. There is no
switch, for there is nothing to choose: each part changes how long a task waits, never what it computes, and does
nothing where what it works around is not there. Each part says when it can go.
"""

from __future__ import annotations

import gc
import os
import socket
import stat
import sys
from itertools import count
from pathlib import Path
from zipimport import zipimporter

_TASKS = count()


def tune_worker() -> None:
    """Call at the start of every task.

    Before each task Spark calls importlib.invalidate_caches() (pyspark/worker_util.py), at which Python reads the
    directory of every archive that it ever imported from anew: pyspark.zip once a sub-package, and Spark's own jar.
    What is imported is imported: forgetting the importers leaves nothing to read, and the next import makes a new one.
    This part can go once Python reads the directory only when it is asked for a module.

    After each task Spark collects garbage (pyspark/daemon.py): what the imports and the first task made will never be
    any, and is not looked through again. This part can go once Spark freezes it itself.
    """
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter):
            del sys.path_importer_cache[path]
    if next(_TASKS) < 2:
        gc.freeze()
    if hasattr(socket, "TCP_QUICKACK"):
        _acknowledge()


def _acknowledge() -> None:
    """Tell the JVM now that the task has come: it holds the task's first rows back until it hears so.

    The JVM writes a task in two small pieces and does not set TCP_NODELAY: Nagle's algorithm keeps the second until
    the first is acknowledged, which Linux delays by 40 ms, as a worker has nothing to answer yet. TCP_QUICKACK sends
    what is delayed; it does not last (tcp(7)). The socket is pyspark's own and has no name here: it is looked for
    among the open files. Unix sockets (Spark 4.1) do without, but print a traceback whenever a run is stopped. This
    part can go with them, or once Spark sets TCP_NODELAY.
    """
    for opened in Path("/proc/self/fd").iterdir():
        try:
            if stat.S_ISSOCK(os.fstat(int(opened.name)).st_mode):
                with socket.socket(fileno=os.dup(int(opened.name))) as connection:
                    if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.type == socket.SOCK_STREAM:
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except OSError:  # closed meanwhile, by another thread
            continue
