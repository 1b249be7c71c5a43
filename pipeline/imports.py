"""Keeps libraries from importing what nobody here uses: 0.3 s of a core in each worker, twice that in the driver.

Each part says what it works around, and changes nothing where that is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import FrameType, ModuleType

import numpy as np
from pyspark.sql import types


class _PandasForOthers(MetaPathFinder):
    """Keeps pandas from pyarrow, and from nobody else."""

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        """Raise ModuleNotFoundError where pyarrow imports pandas; leave all else to the finders to come."""
        if fullname == "pandas" and _importer(sys._getframe(1)) in {"pipeline", "pyarrow"}:
            raise ModuleNotFoundError(f"no {fullname} for pyarrow", name=fullname)


def keep_pandas_from_pyarrow() -> None:
    """Call before the first array is made; again, it changes nothing.

    At the first list or array that it is given pyarrow imports pandas, to see whether that is a Series
    (pyarrow/pandas-shim.pxi, python_to_arrow.cc). Without pandas it does the same with all that is none. Its own code
    is compiled and leaves no frame: the import seems to come from the job, which has no use of pandas. To all others,
    Spark's functions on tables among them, it comes as ever.
    """
    if not any(isinstance(finder, _PandasForOthers) for finder in sys.meta_path):
        sys.meta_path.insert(0, _PandasForOthers())


def keep_tests_from_pyspark() -> None:
    """Call before Spark is started; again, it changes nothing.

    pyspark 4.1 asks of every argument of a call to Java whether it is NumPy's. To know whether there is a NumPy it
    imports the helpers of its own tests, unittest and pandas with them (pyspark/sql/types.py). There is one.
    """
    for name, can_convert in _CONVERTERS.items():
        if converter := getattr(types, name, None):
            converter.can_convert = can_convert


_CONVERTERS = {
    "NumpyScalarConverter": lambda _, given: isinstance(given, np.generic),
    "NumpyArrayConverter": lambda _, given: isinstance(given, np.ndarray) and given.ndim == 1,
}


def _importer(frame: FrameType | None) -> str:
    """The package whose code the import comes from."""
    while frame and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] if frame else ""
