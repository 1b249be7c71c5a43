"""The jars for s3:// are fetched once, or their lack is one line."""

import subprocess
from pathlib import Path

import pytest

from launch import jars, java

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


def test_the_jars_are_fetched_once_in_the_releases_versions(ivy, tmp_path):
    asked = ivy(["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"])
    first = jars.s3a_jars(tmp_path)
    assert [jar.name for jar in first] == ["hadoop-aws-3.4.2.jar", "s3-2.29.52.jar"]
    assert jars.s3a_jars(tmp_path) == first
    assert len(asked) == 1
    assert {f"-D{name}={java.release()[name]}" for name in ("hadoop", "spark", "scala")} <= set(asked[0])


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
        raise subprocess.TimeoutExpired(command, jars.TIMEOUT_S)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(java, "find", lambda: Path("/java"))
    with pytest.raises(jars.JarsError, match="did not arrive from Maven Central in 600 s; check the network"):
        jars.s3a_jars(tmp_path)
