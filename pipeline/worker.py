"""Makes what Spark does in a Python worker process between two tasks cheap: 100 ms of it were of no use."""

from __future__ import annotations

import gc
import sys
from itertools import count
from zipimport import zipimporter

_TASKS = count()


def settle() -> None:
    """Call at the start of every task.

    Before each task Spark calls importlib.invalidate_caches() (pyspark/worker_util.py), at which Python reads the
    directory of every archive that it ever imported from anew: pyspark.zip once a sub-package, and Spark's own jar.
    What is imported is imported: forgetting the importers leaves nothing to read. After each task Spark collects
    garbage (pyspark/daemon.py): what the imports and the first task made will never be any.
    """
    for path, importer in list(sys.path_importer_cache.items()):
        if isinstance(importer, zipimporter):
            del sys.path_importer_cache[path]
    if next(_TASKS) < 2:
        gc.freeze()
