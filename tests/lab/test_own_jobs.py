"""Jobs of a user's own in the lab: what they are given, what comes back, and one line when they fail."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from base import releases
from base.paths import ROOT
from tests import own_job
from tests.lab import commands


def launch(job: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch", "run", "--target", "lab", str(job), "--", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=commands.RUN_S)


@pytest.fixture(scope="module")
def job(lab, tmp_path_factory) -> Path:
    return own_job.write(tmp_path_factory.mktemp("jobs") / "own", secrets=True)


def test_modules_files_variables_inputs_and_outputs(job, monkeypatch):
    monkeypatch.setenv("API_KEY", "hunter2-hunter2")
    ran = launch(job, "0")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{own_job.SAID} 15\n" in ran.stdout
    assert own_job.written(job) == own_job.WRITTEN
    for words in ("job.py: ", "helpers/words.py in helpers.zip: ", "config.json: ", "1 file of "):
        assert words in ran.stderr
    sent = commands.sizes(commands.s3("ROOT"), "")
    assert not [name for name in sent if ".env" in name or name.endswith(".toml")]
    assert "here        " in ran.stdout
    assert commands.sizes(commands.s3("ROOT"), commands.results(job / "out") + "/")
    logs = b"".join(event_logs())
    assert b"spark.executorEnv.GREETING" in logs
    assert b"hunter2" not in logs


def test_a_job_for_another_release_is_refused_with_the_command_that_helps(job, tmp_path):
    other = own_job.write(tmp_path / "other")
    declaration = other / "emrlab.toml"
    declaration.write_text(f'release = "{releases.labels()[-1]}"\n{declaration.read_text()}')
    ran = launch(other, "0")
    assert ran.returncode == 2
    assert ran.stderr.endswith(f"run: make up RELEASE={releases.labels()[-1]}\n")


def event_logs() -> list[bytes]:
    """Their text, out of zstd."""
    client = commands.s3("ROOT")
    names = commands.sizes(client, "spark-events/")
    logs = [
        client.get_object(Bucket=commands.BUCKET, Key=f"spark-events/{name}")["Body"].read() for name in names if name
    ]
    return [pa.input_stream(io.BytesIO(log), compression="zstd").read() for log in logs if log]


def test_its_exit_code_is_kept_and_its_second_output_takes_the_place_of_the_first(job, monkeypatch):
    monkeypatch.setenv("API_KEY", "x")
    ran = launch(job, "7")
    assert ran.returncode == 7, ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("error: job.py ended with exit code 7; what it wrote stays in s3://")
    assert launch(job, "0").returncode == 0
    assert own_job.written(job) == own_job.WRITTEN


def test_its_tables_are_on_all_nodes_and_no_other_runs(lab, tmp_path):
    (tmp_path / "tables.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "spark.range(8).repartition(8).write.saveAsTable('numbers')\n"
        "print('rows', spark.table('numbers').count())\n"
    )
    for ran in (launch(tmp_path / "tables.py"), launch(tmp_path / "tables.py")):
        assert ran.returncode == 0, ran.stderr
        assert "rows 8\n" in ran.stdout


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        (
            "import sys\nfor n in range(200_000): print(n)\nsys.exit(3)",
            3,
            "bare.py ended with exit code 3; its pages: http",
        ),
        ("raise ValueError('no such colour')", 1, "exit code 1: ValueError: no such colour; its pages"),
        ("import helpers", 1, "No module named 'helpers'; name it under modules or requirements"),
        (
            "from pyspark.sql import SparkSession\n"
            "SparkSession.builder.getOrCreate().range(3).write.parquet('s3://emrlab/images/mine')",
            1,
            "a job may read and write what it declares: name the place among its inputs or outputs",
        ),
    ],
    ids=["a lot to say", "an exception", "what was not named", "a place that it may not write"],
)
def test_how_it_failed_is_one_line(lab, tmp_path, script, code, words):
    (tmp_path / "bare.py").write_text(script)
    ran = launch(tmp_path / "bare.py")
    assert ran.returncode == code
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("error: bare.py ended with exit code ")
    assert words in last
    assert ("made no SparkSession" in ran.stderr) == ("SparkSession" not in script)
    if "200_000" in script:
        assert ran.stdout.splitlines()[-1] == "199999"
