"""What a job needs besides itself: the same declaration on every target, as far as it goes without Docker."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from base import releases
from base.errors import UsageError
from launch import listing, needs, package, submit, targets, transfer
from launch.dependencies import layer, lock, maven
from launch.job import Job
from tests import wheel

RELEASE = releases.find()


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Asks for the package `tiny`, whose wheel lies beside it."""
    monkeypatch.setattr(needs, "CACHE", tmp_path / "cache")
    (tmp_path / "wheels").mkdir()
    wheel.make(tmp_path / "wheels", "1.0")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\n--find-links wheels\ntiny\npyspark\n")
    wheel.make(tmp_path / "wheels", "0.10.9.9", name="py4j")
    entry = tmp_path / "job.py"
    entry.write_text("print()\n")
    return Job(name="job.py", entry=entry, requirements=requirements, declared_in="emrlab.toml")


def test_packages_are_listed_before_they_go(job, tmp_path):
    needed = needs.packages(job, needs.of_nodes(RELEASE, "x86_64"))
    built = package.build(job.entry, (), cache=tmp_path / "cache")
    assert "Python packages: tiny 1.0" in listing.lines(job, built, needed)


def test_what_is_hidden_in_an_input_does_not_go(job, tmp_path):
    """A repository of data has the key to where it comes from in .git/config."""
    for name in ("a.csv", ".b.csv", ".git/config", "below/.dvc/tmp/lock"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("x")
    job = replace(job, requirements=None, inputs={"data": str(tmp_path / "data")})
    built = package.build(job.entry, (), cache=tmp_path / "cache")
    assert f"1 file of {tmp_path}/data, its input data: 1 bytes" in listing.lines(job, built)
    (tmp_path / "data" / "a.csv").unlink()
    with pytest.raises(UsageError, match="holds no file; correct the path"):
        transfer.check(job)


def test_a_file_larger_than_the_memory_has_its_place(job, tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(b"x")
    built = package.build(job.entry, (), cache=tmp_path / "cache")
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=MemoryError))
    located = transfer.locate(replace(job, files=(tmp_path / "weights.bin",)), built, bucket="b")
    assert located.files == (f"s3://b/artifacts/files/{hashlib.sha256(b'x').hexdigest()[:12]}/weights.bin",)


def test_the_labs_nodes_get_what_the_job_asks_for(job, monkeypatch):
    brought = []

    def bring(folder):
        brought.append(folder)
        return "/there/python"

    monkeypatch.setattr(layer, "bring", bring)
    needed = needs.packages(job, needs.of_nodes(RELEASE, "x86_64"))
    assert needed
    assert needed.python_in_lab() == "/there/python"
    assert (brought[0] / "tiny.py").exists()


def test_a_job_without_requirements_or_with_sparks_own_alone_needs_nothing(job):
    assert needs.packages(Job(name="x", entry=job.entry), lock.here()) is None
    job.requirements.write_text("--no-index\n--find-links wheels\npyspark\n")
    assert needs.packages(job, lock.here()) is None


def test_jars_of_packages_are_the_jobs_own_from_there_on(job, monkeypatch):
    monkeypatch.setattr(maven, "jars", lambda coordinates, release, cache: [Path("a_b-1.jar")] if coordinates else [])
    with_packages = Job(name="x", entry=job.entry, jars=(Path("mine.jar"),), packages=("a:b:1",))
    assert needs.with_jars(with_packages, RELEASE).jars == (Path("mine.jar"), Path("a_b-1.jar"))
    assert needs.with_jars(job, RELEASE) is job


def test_here_the_jobs_packages_come_before_this_machines(job, monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    conf = targets.local([])
    command = submit.local_by_spark([], conf=conf, cache=tmp_path, env={}, packages=tmp_path / "packages")
    assert command.environment["PYTHONPATH"] == f"{tmp_path / 'packages'}{os.pathsep}/theirs"
