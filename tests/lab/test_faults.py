"""What goes wrong in a cluster while a job runs, or between runs: the results are those of a run left alone."""

import time

import pytest
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider

from base.defaults import REGION
from launch import docker_lab
from tests import contract, labs
from tests.lab import commands
from tests.lab.conftest import LISTED, REJECTED

HALF = 0.4  # by the time that it is acted upon, about a half


@pytest.fixture
def run_and(undisturbed, photos, model, tmp_path):
    """Run the job and do something to the lab when it is half through the extraction."""

    def call(name, disturb):
        job = commands.start_run(str(photos), str(tmp_path / name), *model)
        commands.wait_for_features(job, commands.results(tmp_path / name), share=HALF, of=undisturbed.prefix)
        disturb()
        return commands.end_of(job)

    return call


@pytest.fixture
def mended():
    """Whatever was done to the lab, it is whole again for the next test."""
    yield
    labs.compose("unpause", "minio", check=False)
    # A server that was paused is unhealthy until it is asked again, and Compose waits for no service that is.
    commands.wait_until(lambda: commands.health("minio") == "healthy", "healthy server")
    labs.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "worker-1", "worker-2", "history")


def test_a_worker_killed_at_half_of_the_extraction(run_and, undisturbed, mended, tmp_path):
    done = run_and("worker", lambda: labs.compose("kill", "worker-1"))
    assert done.returncode == 0, done.stdout + done.stderr
    tables = contract.check(f"s3://emrlab/{commands.results(tmp_path / 'worker')}", listed=LISTED, rejected=REJECTED)
    contract.assert_same(tables, contract.read(undisturbed.output))


def test_the_server_paused_for_twenty_seconds(run_and, undisturbed, mended, tmp_path):
    def pause():
        labs.compose("pause", "minio")
        time.sleep(20)
        labs.compose("unpause", "minio")

    done = run_and("paused", pause)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = contract.check(f"s3://emrlab/{commands.results(tmp_path / 'paused')}", listed=LISTED, rejected=REJECTED)
    contract.assert_same(tables, contract.read(undisturbed.output))


@pytest.fixture
def quota():
    """Set how many bytes an object in the bucket may have before the server says that it is full; 0 is no limit."""
    keys, address = commands.keys(), docker_lab.find().s3.removeprefix("http://")
    root = StaticProvider(keys["MINIO_ROOT_USER"], keys["MINIO_ROOT_PASSWORD"])
    admin = MinioAdmin(endpoint=address, credentials=root, region=REGION, secure=False)

    def call(limit_b):
        if limit_b:
            admin.bucket_quota_set(commands.BUCKET, limit_b)
        else:
            admin.bucket_quota_clear(commands.BUCKET)

    yield call
    call(0)


def test_no_room_for_the_results_is_said_and_the_last_complete_run_still_stands(undisturbed, quota, photos, tmp_path):
    output = commands.results(tmp_path / "full")
    commands.copy(f"{undisturbed.prefix}/", f"{output}/")
    other_model = ["--model", "lite0", "--image-size", "64"]  # so that everything is extracted anew
    job = commands.start_run(str(photos), str(tmp_path / "full"), *other_model)
    commands.wait_for_features(job, output, share=0.05, of=undisturbed.prefix)
    quota(10_000)
    done = commands.end_of(job)
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: no space left on the device; free some; what was extracted is kept, run again")
    last, stands = contract.read(undisturbed.output), contract.read(f"s3://emrlab/{output}")
    assert stands.run == last.run
    contract.assert_same(stands, last)
    there = commands.sizes(commands.s3("DATA"), f"{output}/")
    assert {name: there.get(name) for name in last.run["files"]} == last.run["files"]


def test_a_master_that_is_gone_is_said(photos, model, tmp_path):
    labs.compose("stop", "master", "--timeout", "5")
    try:
        done = commands.run(str(photos), str(tmp_path / "x"), *model)
    finally:
        labs.compose("start", "master")
        commands.wait_until(lambda: _workers() == 2, "workers with the new master", timeout_s=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the lab's master is exited, exit code ")
    assert len(done.stderr.splitlines()) == 1


def test_a_restart_of_the_server_loses_nothing(undisturbed):
    before = commands.sizes(commands.s3("ROOT"), "")
    labs.compose("restart", "--timeout", "5", "minio")
    labs.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "history")
    assert commands.sizes(commands.s3("ROOT"), "").items() >= before.items()
    assert f"{undisturbed.prefix}/run.json" in before


def _workers():
    try:
        return docker_lab.find().nodes.count
    except docker_lab.LabError:
        return 0
