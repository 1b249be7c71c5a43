"""The job's Python beside its JVM: whichever ends first, the other does not stay, and nothing is said twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError

from launch import driver
from pipeline import main, stages
from pipeline.signals import Stopped

ROOT = Path(__file__).parents[2]
# How a task's error comes through Spark: Python's trace, with the server's answer in its last line, in Java's.
FULL = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted: Task 3 failed: Traceback (most recent call last):
  File "/pipeline/store.py", line 9, in write
obstore.exceptions.GenericError: Generic S3 error: PUT http://s3/b/k: 507: <?xml version="1.0"?>
<Error><Code>StorageFull</Code><Message>minimum free drive threshold</Message></Error>

Debug source:
Generic { store: "S3" }

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:1)
"""
LOST = """An error occurred while calling o1.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 3 failed 4 times
\tat org.apache.spark.Scheduler.run(Scheduler.scala:1)
Caused by: java.io.IOException: it is gone
\tat org.apache.spark.Disk.read(Disk.scala:1)
"""
# A JVM as the driver sees it: it says where it listens, and ends with its stdin.
JVM = """
import os, struct, sys
path = os.environ["_PYSPARK_DRIVER_CONN_INFO_PATH"]
with open(path + ".half", "wb") as half:
    half.write(struct.pack(">ii", 4711, 6) + b"secret")
os.rename(path + ".half", path)
sys.stdin.read()
print("JVM ended", flush=True)
"""
# One whose threads keep it after its hooks, and a job that has a line to it.
LINGERING = JVM.replace(
    'print("JVM ended", flush=True)',
    """
import pathlib, time
pathlib.Path("hooks").write_text("have run")
pathlib.Path(pathlib.Path("until-exit").read_text()).unlink()
time.sleep(600)
""",
)
DONE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from pyspark import SparkContext
def file(name):
    return SimpleNamespace(deleteOnExit=lambda: Path("until-exit").write_text(name))
SparkContext._jvm = SimpleNamespace(java=SimpleNamespace(io=SimpleNamespace(File=file)))
print("done")
sys.exit(0)
"""
NEVER_READY = 'sleep 0.5; echo starting; cat > /dev/null; echo "JVM ended"'
MAIN = """
import os, sys
print(os.environ["PYSPARK_GATEWAY_PORT"], os.environ["PYSPARK_GATEWAY_SECRET"], *sys.argv[1:], flush=True)
sys.stderr.write("the job's own word\\n")
sys.exit(5)
"""

pytestmark = pytest.mark.timeout(120)


def start(tmp_path: Path, jvm: list[str], *, script: str = MAIN) -> subprocess.Popen[str]:
    (tmp_path / "main.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, "-P", driver.__file__, str(tmp_path / "main.py"), "--input", "a b"],
        cwd=tmp_path,
        env=os.environ | {driver.COMMAND: json.dumps(jvm), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_job_finds_the_jvm_and_its_exit_code_counts(tmp_path):
    job = start(tmp_path, [sys.executable, "-c", JVM])
    said = job.communicate(timeout=60)
    assert said == ("4711 secret --input a b\nJVM ended\n", "the job's own word\n")
    assert job.returncode == 5


def test_after_a_run_that_went_well_the_jvm_is_waited_for_as_long_as_its_hooks_run(tmp_path):
    job = start(tmp_path, [sys.executable, "-c", LINGERING], script=DONE)
    assert job.communicate(timeout=60) == ("done\n", "")
    assert job.returncode == 0
    assert (tmp_path / "hooks").read_text() == "have run"
    assert not Path((tmp_path / "until-exit").read_text()).exists()


def test_the_secret_lies_on_no_disk_while_the_job_runs(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    job = start(tmp_path, [sys.executable, "-c", JVM], script="import os; print(os.listdir(os.environ['TMPDIR']))")
    assert job.communicate(timeout=60) == ("[]\nJVM ended\n", "")


def test_an_error_of_the_job_itself_is_shown(tmp_path):
    job = start(tmp_path, [sys.executable, "-c", JVM], script="1 / 0")
    assert "ZeroDivisionError" in job.communicate(timeout=60)[1]
    assert job.returncode == 1


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (0, 1)])
def test_a_jvm_that_does_not_start_ends_the_job(tmp_path, code, expected):
    job = start(tmp_path, ["sh", "-c", f"echo 'no room' >&2; exit {code}"])
    line = "error: Java ended before Spark was there, and says why above; correct it, run again\n"
    assert job.communicate(timeout=60) == ("", f"no room\n{line}")
    assert job.returncode == expected


def test_a_jvm_that_is_killed_while_it_starts_is_said_to_be(tmp_path):
    job = start(tmp_path, ["sh", "-c", "kill -KILL $$"])
    out, err = job.communicate(timeout=60)
    assert (out, job.returncode) == ("", 1)
    assert err == "error: Java was ended by SIGKILL while it started, as where memory runs out; free some, run again\n"


@pytest.mark.parametrize("error", [Py4JNetworkError("no answer"), ConnectionRefusedError(111, "no")])
def test_a_jvm_that_ends_under_the_job_is_no_server_that_does_not_answer(monkeypatch, capsys, error):
    monkeypatch.setattr(stages, "run", Mock(side_effect=error))
    assert main.main(["--input", "/in", "--output", "/out", "--model", "/model"]) == 1
    assert capsys.readouterr().err == (
        "error: Spark's Java has ended, as where memory runs out; what was extracted is kept, run again "
        "(--verbose shows Spark's messages)\n"
    )


def test_a_stop_that_pyspark_failed_on_is_a_stop(monkeypatch, capsys):
    """The first call behind a call that was broken off in the middle may fail: rdd.collect makes one on its way out."""

    def stop(_settings):
        try:
            raise Stopped(signal.SIGTERM)
        finally:
            raise Py4JNetworkError("Answer from Java side is empty")

    monkeypatch.setattr(stages, "run", stop)
    assert main.main(["--input", "/in", "--output", "/out", "--model", "/model"]) == 143
    assert capsys.readouterr().err == "error: stopped; what was extracted is kept, run again\n"


@pytest.mark.parametrize(
    ("trace", "words"),
    [
        (FULL, "no space left on the device; free some"),
        (LOST, "java.io.IOException: it is gone"),
        ("ValueError: too wide\n", "ValueError: too wide"),
    ],
)
def test_of_a_trace_the_last_cause_is_said_in_one_line(monkeypatch, capsys, trace, words):
    monkeypatch.setattr(stages, "run", Mock(side_effect=Py4JError(trace)))
    assert main.main(["--input", "/in", "--output", "/out", "--model", "/model"]) == 1
    assert capsys.readouterr().err == (
        f"error: {words}; what was extracted is kept, run again (--verbose shows Spark's messages)\n"
    )


def test_a_stop_before_the_job_heeds_it_is_no_traceback(tmp_path):
    job = start(tmp_path, [sys.executable, "-c", JVM], script="raise KeyboardInterrupt")
    assert job.communicate(timeout=60) == ("JVM ended\n", "error: stopped; run again\n")
    assert job.returncode == 130


def test_a_closed_pipe_is_no_jvm_that_has_ended(monkeypatch, capsys):
    monkeypatch.setattr(stages, "run", Mock(side_effect=BrokenPipeError(32, "Broken pipe")))
    assert main.main(["--input", "/in", "--output", "/out", "--model", "/model"]) == 1
    assert "Java" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_while_the_jvm_starts_ends_both(tmp_path, number):
    job = start(tmp_path, ["sh", "-c", NEVER_READY])
    assert job.stdout is not None
    assert job.stdout.readline() == "starting\n"
    job.send_signal(number)
    out, err = job.communicate(timeout=60)
    assert out == "JVM ended\n"
    assert err == "error: stopped; run again\n"
    assert job.returncode == 128 + number
