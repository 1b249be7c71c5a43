"""The jars for s3:// are fetched once, or their lack is one line."""

import hashlib
import re
import runpy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template

import pytest

from base import releases
from base.paths import ROOT
from launch import jar_hashes, jars, java
from launch.dependencies import ivy as ivy_itself

SAID = """
:: problems summary ::
		Host maven.example not found. url=https://maven.example/hadoop-aws.pom
"""


@pytest.fixture
def ivy(monkeypatch):
    """Stands in for Ivy: `ivy(names, says)` sets the jars that it brings and what it prints."""
    asked = []

    def behave(names: list[str], says: str = "") -> list[list[str]]:
        def run(command, **_):
            asked.append(command)
            folder = Path(command[command.index("-retrieve") + 1]).parent
            folder.mkdir(parents=True)
            for name in names:
                (folder / name).write_bytes(b"x")
            return subprocess.CompletedProcess(command, 0 if names else 1, says, "")

        monkeypatch.setattr(subprocess, "run", run)
        return asked

    monkeypatch.setattr(java, "find", lambda: Path("/java"))
    return behave


@pytest.fixture(autouse=True)
def lock(monkeypatch, tmp_path):
    """jars.lock for what `ivy` brings; its path."""
    path = tmp_path / "jars.lock"
    digest = hashlib.sha256(b"x").hexdigest()
    path.write_text(f"{digest}  hadoop-aws-3.4.2.jar\n{digest}  s3-2.29.52.jar\n")
    monkeypatch.setattr(jar_hashes, "LOCK", path)
    return path


def test_the_jars_are_fetched_once_in_the_releases_versions(ivy, tmp_path):
    asked = ivy(["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"])
    first = jars.s3a_jars(tmp_path)
    assert [jar.name for jar in first] == ["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"]
    assert jars.s3a_jars(tmp_path) == first
    assert len(asked) == 1
    release = releases.find()
    assert {f"-Dhadoop={release.hadoop}", f"-Dspark={release.spark}", f"-Dscala={release.scala}"} <= set(asked[0])


def test_runs_that_want_them_at_the_same_time_all_get_them_whole(ivy, tmp_path, monkeypatch):
    """As workers of pytest-xdist do, each of which has a SparkSession."""
    ivy(["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"])
    bring, another, overlaps = subprocess.run, threading.Event(), list[bool]()

    def run(command, **more):
        if overlaps:
            another.set()
        overlaps.append(another.wait(0.5))
        return bring(command, **more)

    monkeypatch.setattr(subprocess, "run", run)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(jars.s3a_jars, [tmp_path] * 2)
    assert [jar.name for jar in first] == ["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"]
    assert first == second
    assert all(jar.exists() for jar in first)
    assert overlaps[0] is False, "one process at a time uses Ivy's cache"
    assert [path.name for path in (tmp_path / "jars").iterdir()] == [first[0].parent.name]


@pytest.mark.parametrize(
    ("address", "flags"),
    [
        ("", []),
        ("http://someone:hunter2@proxy.example:3128", ["proxyHost=proxy.example", "proxyPort=3128"]),
        ("http://proxy.example", ["proxyHost=proxy.example", "proxyPort=80"]),
    ],
)
def test_the_environments_proxy_is_asked_here_as_in_builds(ivy, tmp_path, monkeypatch, address, flags):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address)
    asked = ivy(["hadoop-aws-3.4.2.jar"])
    jars.s3a_jars(tmp_path)
    wanted = [f"-Dhttps.{flag}" for flag in flags]
    assert [word for word in asked[0] if word.startswith("-Dhttps.")] == wanted
    monkeypatch.setitem(sys.modules, "jar_hashes", jar_hashes)  # as it lies beside it in a build
    assert runpy.run_path(str(ROOT / "docker" / "node" / "assemble_spark.py"))["proxy"]() == wanted


def test_a_proxy_that_is_none_is_one_line(ivy, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:here")
    with pytest.raises(jars.JarsError, match="Maven Central: https_proxy has a port that is no number; check the net"):
        jars.s3a_jars(tmp_path)


def test_no_network_is_one_line_and_the_next_run_tries_again(ivy, tmp_path):
    ivy([], SAID)
    with pytest.raises(jars.JarsError) as caught:
        jars.s3a_jars(tmp_path)
    assert str(caught.value) == (
        "the jars for s3:// cannot be fetched from Maven Central: "
        "Host maven.example not found. url=https://maven.example/hadoop-aws.pom; check the network, run again"
    )
    ivy(["hadoop-aws-3.4.2.jar"])
    assert len(jars.s3a_jars(tmp_path)) == 1


def test_an_answer_that_does_not_come_is_one_line(monkeypatch, tmp_path):
    def run(command, **_):
        raise subprocess.TimeoutExpired(command, ivy_itself.TIMEOUT_S)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(java, "find", lambda: Path("/java"))
    with pytest.raises(
        jars.JarsError, match="cannot be fetched from Maven Central: no end in 600 s; check the network"
    ):
        jars.s3a_jars(tmp_path)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("s3-2.29.52.jar", "s3-2.29.51.jar", "s3-2.29.52.jar is not in jars.lock; make lock writes it anew"),
        (r"[0-9a-f]{64}", "0" * 64, "hadoop-aws-3.4.2.jar has the SHA-256 2d711642"),
    ],
)
def test_a_jar_that_is_not_the_locked_one_is_refused_and_not_kept(ivy, lock, tmp_path, before, after, words):
    good = lock.read_text()
    lock.write_text(re.sub(before, after, good))
    asked = ivy(["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"])
    (tmp_path / "ivy").mkdir()
    with pytest.raises(jars.JarsError, match=f"the jars for s3:// are refused: {words}"):
        jars.s3a_jars(tmp_path)
    assert not list((tmp_path / "jars").iterdir())
    assert not (tmp_path / "ivy").exists(), "what was fetched is fetched anew"
    lock.write_text(good)
    assert len(jars.s3a_jars(tmp_path)) == 2
    assert len(asked) == 2


def test_the_lock_has_what_every_release_asks_for():
    """Ivy itself is asked by `make lock`; here: each module that the files name, in each release's version."""
    locked = {line.split()[1] for line in (ROOT / "launch" / "jars.lock").read_text().splitlines()}
    for release in map(releases.find, releases.labels()):
        versions = {"hadoop": release.hadoop, "scala": release.scala, "spark": release.spark_hadoop_cloud}
        for wanted in (jars.WANTED, *jars.IN_IMAGES):
            text = Template(wanted.read_text()).substitute(versions)
            for name, revision in re.findall(r'name="([^"]+)" rev="([^"]+)"', text):
                assert f"{name}-{revision}.jar" in locked, release.label
