"""What the job's processes import, and what not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from base.paths import ROOT

pytestmark = pytest.mark.timeout(120)


def loaded(script: str, *names: str) -> dict[str, bool]:
    """Which of the modules `names` a new process has after `script`."""
    asked = f"\nimport json, sys\nprint(json.dumps({{name: name in sys.modules for name in {names!r}}}))"
    done = subprocess.run(
        [sys.executable, "-c", script + asked], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def test_arrays_and_tables_are_made_without_pandas():
    of_the_job = """
import numpy as np, pyarrow as pa
from pipeline import results
results.vectors(np.ones((2, 3)))
pa.Table.from_pylist([{"path": "a"}])
pa.array(["a", None], pa.string())
pa.table({"numbers": [1, 2]})
"""
    script = f"exec({of_the_job!r}, {{'__name__': 'pipeline.another'}})"
    assert loaded(script, "pandas", "pipeline.results") == {"pandas": False, "pipeline.results": True}


def test_who_asks_for_pandas_has_it():
    """A module of the user's or of Spark's, and pyarrow itself where a table is to become one of pandas."""
    script = """
from pipeline import results
import pyarrow as pa
table = pa.table({"numbers": [1, 2]})
assert table.to_pandas()["numbers"].sum() == 3
import pandas
assert pandas.DataFrame({"a": [1]}).a.sum() == 1
"""
    assert loaded(script, "pandas") == {"pandas": True}


def test_pyspark_knows_of_numpy_without_its_tests():
    script = """
import numpy as np
from pyspark.sql import types
from pipeline import imports
imports.keep_tests_from_pyspark()
scalar, array = types.NumpyScalarConverter(), types.NumpyArrayConverter()
assert scalar.can_convert(np.int64(1)) and scalar.can_convert(np.float32(1))
assert not scalar.can_convert(1) and not scalar.can_convert(np.ones(2))
assert array.can_convert(np.ones(2))
assert not array.can_convert(np.ones((2, 2))) and not array.can_convert([1]) and not array.can_convert(np.int64(1))
"""
    assert loaded(script, "pyspark.testing", "unittest") == {"pyspark.testing": False, "unittest": False}
