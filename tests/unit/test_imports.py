"""What the processes of a run import, and what not; and Ctrl-C meanwhile."""

from __future__ import annotations

import json
import os
import signal
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


def test_the_launcher_does_without_what_a_built_model_does_without():
    """It stands before all else: what it takes to start is added to every run."""
    script = "import launch.__main__"
    names = ("numpy", "PIL", "tensorflow", "boto3", "ssl", "pyspark", "launch.model")
    assert loaded(script, *names) == dict.fromkeys(names, False) | {"launch.model": True}


# As a user whose Ctrl-C comes while a module is imported.
STOPPED = """
import os, signal, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "base.sizing":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
"""


@pytest.mark.parametrize("program", ["launch", "emrlab"])
def test_ctrl_c_in_the_first_half_second_is_no_traceback(tmp_path, program):
    (tmp_path / "sitecustomize.py").write_text(STOPPED)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", program, "run", "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
