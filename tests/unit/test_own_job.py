"""A job of a user's own on this machine's Spark, as a user runs it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from base.paths import ROOT
from launch import __main__ as cli
from launch import causes, outputs
from tests import own_job


def start(job, *args, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "launch", "run", str(job), "--", *args],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_is_declared_is_there_and_the_exit_code_is_kept(tmp_path):
    job = own_job.write(tmp_path / "own", secrets=True)
    of_a_shell = {"PYSPARK_DRIVER_PYTHON": "jupyter", "SPARK_REMOTE": "sc://localhost:15002"}  # with other work in it
    ran = start(job, "7", API_KEY="hunter2", **of_a_shell)
    out, error = ran.communicate(timeout=600)
    assert ran.returncode == 7, out + error
    assert f"{own_job.SAID} 7\n" in out
    assert own_job.written(job) == own_job.WRITTEN
    assert error.splitlines()[-1] == "error: job.py ended with exit code 7; what it wrote to its outputs stays"
    recorded = json.loads((job / "out" / outputs.RECORD).read_text())["files"]
    assert "_SUCCESS" in recorded
    outputs.check(job / "out", words="r")  # the next run's results may take the place of these


def test_a_secret_that_is_not_there_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.delenv("API_KEY", raising=False)
    ran = start(own_job.write(tmp_path / "own", secrets=True), "0")
    out, error = ran.communicate(timeout=600)
    assert (ran.returncode, out) == (2, "")
    assert error.endswith("secrets API_KEY: no such variable here; set it, and run again\n")


def test_an_output_that_holds_what_no_run_left_is_refused_before_anything_starts(tmp_path):
    job = own_job.write(tmp_path / "own")
    (job / "out").mkdir()
    (job / "out" / "thesis.txt").write_text("mine")
    ran = start(job, "0")
    out, error = ran.communicate(timeout=600)
    assert (ran.returncode, out) == (2, "")
    assert "holds thesis.txt, which no run left there" in error
    assert (job / "out" / "thesis.txt").read_text() == "mine"


def test_an_input_that_is_a_file_is_not_said_to_be_missing(tmp_path, capsys):
    job = own_job.write(tmp_path / "own")
    declaration = (job / "emrlab.toml").read_text()
    (job / "emrlab.toml").write_text(declaration.replace('data = "data"', 'data = "data/a.txt"'))
    assert cli.main(["run", str(job)]) == 2
    assert capsys.readouterr().err.endswith("data/a.txt is a file; name the folder that it lies in\n")


def test_a_job_that_does_not_end_is_killed(tmp_path):
    (tmp_path / "deaf.py").write_text(
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(600)\n"
    )
    ran = start(tmp_path / "deaf.py")
    assert ran.stdout.readline() == "deaf\n"
    ran.send_signal(signal.SIGTERM)
    _, error = ran.communicate(timeout=300)
    assert ran.returncode == 143
    assert "deaf.py was asked to end, did not, and was killed after 15 s" in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("Traceback\n  File x\nValueError: no such colour\n", "ValueError: no such colour", ""),
        ("x\nAssertionError\n", "AssertionError", ""),
        ("pyspark.errors.exceptions.captured.AnalysisException: [PATH_NOT_FOUND] it\n", "[PATH_NOT_FOUND] it", ""),
        (
            "java.lang.OutOfMemoryError: Java heap space\n",
            "out of memory on the driver (Java heap space)",
            "raise spark",
        ),
        ("ModuleNotFoundError: No module named 'a'\n", "No module named 'a'", "name it under modules"),
        (
            "java.nio.file.AccessDeniedException: s3://b/x: PUT (Service: S3, Status Code: 403)\n",
            "s3://b/x",
            "declares",
        ),
        ('Exception in thread "main" java.lang.ClassNotFoundException: A\n', "ClassNotFoundException: A", ""),
    ],
)
def test_the_cause_is_told_by_what_was_written_last(text, said, fix):
    found = causes.find(text, causes.JOB)
    assert found
    assert said in found.text
    assert fix in found.fix
    assert "\n" not in found.text


def test_of_words_without_a_cause_none_is_made_up():
    assert causes.find("42 rows\nall done\n", causes.JOB) is None
