"""The notebook from top to bottom, and a session for other clients, here and on the lab's nodes."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from base import releases
from base.paths import ROOT
from launch import notebook
from tests import notebook_page, session_file
from tests.lab import commands
from tests.lab.conftest import LISTED, REJECTED

NOTEBOOK_S = 900
RELEASE = releases.find(os.environ.get("RELEASE"))
ASK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("counted", spark.range(1000).selectExpr("sum(id)").first()[0])
"""
LOOK = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
print("read", spark.read.parquet("s3://emrlab/{prefix}/predictions").count())
spark.range(1).write.parquet("s3://emrlab/images/mine")
"""


@pytest.mark.parametrize("target", ["local", "lab"])
def test_the_notebook_comes_to_the_same_as_a_run(undisturbed, photos, model, tmp_path, target):
    page, before = tmp_path / "page.html", (notebook.NOTEBOOKS / notebook.NAME).read_bytes()
    command = [
        sys.executable,
        "-m",
        "launch",
        "notebook",
        "--target",
        target,
        "--input",
        str(photos),
        "--html",
        str(page),
    ]
    command += ["--output", str(tmp_path / "out"), *model]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=NOTEBOOK_S)
    assert done.returncode == 0, done.stdout + done.stderr
    keys = commands.keys().values()
    notebook_page.check(page, undisturbed.folder, listed=LISTED, rejected=REJECTED, secrets=keys)
    assert (notebook.NOTEBOOKS / notebook.NAME).read_bytes() == before


@contextmanager
def session(*arguments):
    """`python -m launch session`: the variables that it leaves for clients."""
    command = [sys.executable, "-m", "launch", "session", "--target", "lab", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as opened:
        assert opened.stdout is not None
        try:
            said = ""
            for line in opened.stdout:
                said += line
                if found := re.search(r" (\S+\.env)", line):
                    break
            else:
                raise AssertionError(said)
            yield session_file.variables(Path(found[1].rstrip(",")))
        finally:
            opened.terminate()
            opened.communicate(timeout=60)


def ask(code, environment):
    """A program of a user's, with what is told of the session alone."""
    python = notebook.environment(environment["EMRLAB_PYTHON"], spark=RELEASE.spark)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | environment
    return subprocess.run(
        [python, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=240
    )


def test_a_client_needs_what_the_session_tells_and_has_the_jobs_rights(undisturbed):
    with session() as environment:
        assert "counted 499500" in ask(ASK, environment).stdout
        looked = ask(LOOK.format(prefix=undisturbed.prefix), environment)
        assert f"read {LISTED - REJECTED}" in looked.stdout, looked.stderr
        assert "AccessDenied" in looked.stderr, "photographs are read and not written"
        without = {name: value for name, value in environment.items() if "TOKEN" not in name}
        for other in (without, {**environment, "SPARK_CONNECT_AUTHENTICATE_TOKEN": "wrong"}):
            refused = ask(ASK, other)
            assert "counted" not in refused.stdout
            assert "UNAUTHENTICATED" in refused.stderr
        second = subprocess.run(
            [sys.executable, "-m", "launch", "session", "--target", "lab"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert second.returncode == 1
        assert second.stderr.startswith("error: another session has the port; end it first")
    commands.wait_until(lambda: not commands.active_applications(), "end of the session's application")
