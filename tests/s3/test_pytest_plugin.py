"""`pytest --emrlab` in a user's project: what is started, and that all of it goes. S3 is moto's, Docker made up."""

import os
import re
import subprocess
import sys
from unittest.mock import Mock
from urllib.parse import urlsplit

import boto3
import pytest

from base import defaults, paths
from base.paths import ROOT
from emrlab import pytest_plugin
from launch import starter
from tests.installation import installed, wheel
from tests.unit.fake_docker import FakeDocker, row, rows

__all__ = ["installed", "wheel"]

TESTS = """\
import pytest

def test_writes(emrlab_s3):
    emrlab_s3.client.put_object(Bucket=emrlab_s3.bucket, Key="a/b", Body=b"x")
    assert emrlab_s3.uri("a/b") == f"s3://{emrlab_s3.bucket}/a/b"
    assert emrlab_s3.environment["AWS_ENDPOINT_URL_S3"].startswith("http://127.0.0.1:")
    assert emrlab_s3.environment["AWS_SESSION_TOKEN"] == "", "a developer's own is none of the lab's"

@pytest.mark.parametrize("number", range(4))
def test_of_another_worker(emrlab_s3, number):
    emrlab_s3.client.put_object(Bucket=emrlab_s3.bucket, Key=f"c/{number}", Body=b"x")
"""
GONE = {"compose --profile * down": "", "ps --all": "", "volume ls --quiet": "", "volume ls --format": "another"}


@pytest.fixture
def docker(server, tmp_path):
    """A `docker` whose lab has moto for its S3."""
    (tmp_path / "bin").mkdir()
    fake = FakeDocker(tmp_path / "bin")
    fake.write(GONE | {"compose ps": rows(minio=row("minio", ports=[(9000, urlsplit(server).port)]))})
    return fake


@pytest.fixture
def pytest_in_a_project(docker, installed, tmp_path):
    """Run pytest there, as one who has installed emrlab; what it said."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_it.py").write_text(TESTS)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "emrlab").symlink_to(paths.CACHE)  # with the jars for s3://

    def run(*args):
        state = {
            "XDG_CACHE_HOME": str(cache),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(installed),
        }
        path = f"{docker.folder}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
        return subprocess.run(
            [*command, *args],
            cwd=project,
            env=os.environ | state | {"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def calls(docker, beginning):
    return [call for call in docker.calls() if call.startswith(beginning)]


def test_without_the_flag_nothing_is_started(pytest_in_a_project, docker):
    ran = pytest_in_a_project()
    assert ran.returncode == 0, ran.stdout
    assert "5 skipped" in ran.stdout
    assert "needs pytest --emrlab, which starts a lab in Docker" in ran.stdout
    assert not docker.calls()


def test_workers_share_one_lab_which_goes_at_the_end(pytest_in_a_project, docker, tmp_path):
    ran = pytest_in_a_project("--emrlab", "-n", "2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "5 passed" in ran.stdout
    assert len(calls(docker, "compose up")) == 1
    assert len(calls(docker, "compose --profile * down --volumes")) == 1
    assert docker.calls()[-1].startswith("volume ls --format")
    assert not list(tmp_path.glob("emrlab-*")), "the lab's folder with its keys"


def test_a_lab_that_is_kept_is_left_without_what_the_session_made(pytest_in_a_project, docker, server, tmp_path):
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-3"}
    s3 = boto3.client("s3", endpoint_url=server, **keys)
    before = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    ran = pytest_in_a_project("--emrlab", "--emrlab-keep")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not calls(docker, "compose --profile * down")
    kept = tmp_path / "state" / "emrlab" / "pytest"
    assert (kept / "emrlab" / "lab" / ".env").stat().st_mode & 0o777 == 0o600
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == before


CLUSTER = """\
def test_a_cluster_that_waits(emrlab_emr):
    emr, instances = emrlab_emr.client, {"KeepJobFlowAliveWhenNoSteps": True, "TerminationProtected": True}
    emr.run_job_flow(Name="protected", Instances=instances)
"""


def test_clusters_of_a_kept_lab_end_with_their_session(pytest_in_a_project, docker, server, tmp_path):
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "eu-west-3"}
    s3, emr = (boto3.client(name, endpoint_url=server, **keys) for name in ("s3", "emr"))
    s3.create_bucket(Bucket=defaults.BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    port = urlsplit(server).port
    lab = rows(minio=row("minio", ports=[(9000, port)]), emr=row("emr", ports=[(5000, port)]), history=row("history"))
    docker.write({"compose ps": lab})
    (tmp_path / "project" / "test_emr.py").write_text(CLUSTER)
    try:
        ran = pytest_in_a_project("--emrlab", "--emrlab-keep", "test_emr.py")
    finally:
        s3.delete_bucket(Bucket=defaults.BUCKET)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    states = {each["Name"]: each["Status"]["State"] for each in emr.list_clusters()["Clusters"]}
    assert states["protected"] == "TERMINATED"


def test_what_a_cluster_writes_at_its_end_is_waited_for(monkeypatch):
    monkeypatch.setattr(pytest_plugin, "POLL_S", 0)
    states = iter(["RUNNING", "TERMINATING", "TERMINATING", "TERMINATED_WITH_ERRORS"])
    emr = Mock(describe_cluster=lambda ClusterId: {"Cluster": {"Status": {"State": next(states)}}})  # noqa: N803
    pytest_plugin.end_clusters(emr, ["j-1"])
    assert not list(states)
    emr.terminate_job_flows.assert_called_once_with(JobFlowIds=["j-1"])
    emr.set_termination_protection.assert_not_called()


def test_a_lab_that_does_not_start_fails_the_test_in_one_line_and_leaves_nothing(pytest_in_a_project, docker, tmp_path):
    docker.write({"compose build": OSError("no space left on device")})
    ran = pytest_in_a_project("--emrlab", "-x")
    assert ran.returncode == 1
    assert "emrlab up --s3-only: no space left on device" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not list(tmp_path.glob("emrlab-*"))


TASKS = """\
import sys

def test_tasks_run_on_the_python_of_the_tests(emrlab_spark):
    found = emrlab_spark.sparkContext.parallelize([0], 1).map(lambda _: sys.executable)
    assert found.collect() == [sys.executable]
"""


def test_the_example_of_its_page_holds(pytest_in_a_project, docker, tmp_path, monkeypatch):
    for name, value in {"SPARK_HOME": "/opt/spark", "SPARK_REMOTE": "sc://localhost:15002"}.items():
        monkeypatch.setenv(name, value)  # of a Spark that is none of the tests'
    page = (ROOT / "docs" / "fixture.md").read_text()
    examples = dict(re.findall(r"```python\n# (test_\w+\.py)\n(.*?)```", page, re.DOTALL))
    name = "test_sales.py"  # the other one wants YARN: tests/installed runs both
    (tmp_path / "project" / name).write_text(examples[name])
    (tmp_path / "project" / "test_tasks.py").write_text(TASKS)
    docker.program("python3", "#!/bin/sh\nexit 1\n")  # on PATH, as where the environment of the tests is not activated
    ran = pytest_in_a_project("--emrlab", name, "test_tasks.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "4 passed" in ran.stdout
    keys = docker.folder.parent / "state"
    assert not list(keys.rglob(".env")), "none is left where nothing is kept"


def test_the_test_of_the_first_job_holds(pytest_in_a_project, tmp_path):
    starter.write(tmp_path / "project")
    ran = pytest_in_a_project("--emrlab", "test_job.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_the_bucket_is_the_labs():
    assert pytest_plugin.BUCKET == defaults.BUCKET
