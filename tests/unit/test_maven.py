"""Maven's coordinates: which are taken, what is asked of Ivy, and what of its answer is shipped."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from base import releases
from launch import java
from launch.dependencies import maven
from launch.dependencies.lock import FetchError
from launch.dependencies.maven import PackagesError

RELEASE = releases.find("emr-spark-8.1.0")
KAFKA = "org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.1"
UNKNOWN = """
:: problems summary ::
		module not found: no.such#thing_2.13;1
		:: no.such#thing_2.13;1: not found
"""
OFFLINE = (
    UNKNOWN
    + "	Server access error at url https://maven.example/x.pom (java.net.ConnectException: Connection refused)\n"
)


@pytest.fixture
def ivy(monkeypatch):
    """Stands in for Ivy: `ivy(names, says)` sets what it brings and prints; returns the files that it was asked by."""
    asked = []

    def behave(names, says=""):
        def run(command, **_):
            asked.append(Path(command[command.index("-ivy") + 1]).read_text())
            folder = Path(command[command.index("-retrieve") + 1]).parent
            for name in names:
                (folder / name).write_bytes(name.encode())
            return subprocess.CompletedProcess(command, 0 if names else 1, says, "")

        monkeypatch.setattr(subprocess, "run", run)
        return asked

    monkeypatch.setattr(java, "find", lambda: Path("/java"))
    return behave


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("org.apache.spark:spark-avro_2.13", "is no group:artifact:version"),
        ("a:b:1.0-SNAPSHOT", "is no group:artifact:version with a version that stays"),
        ("a:b:latest.release", "is no group:artifact:version with a version that stays"),
        ('a:b"/><exclude:1', "is no group:artifact:version"),
        ("a:b:1\n", "is no group:artifact:version"),
        (
            "org.apache.spark:spark-avro_2.12:3.5.8",
            "for Scala 2.12, and emr-spark-8.1.0 has 2.13; write spark-avro_2.13",
        ),
    ],
)
def test_what_is_no_coordinate_for_the_release_is_refused(ivy, tmp_path, text, words):
    asked = ivy(["never.jar"])
    with pytest.raises(PackagesError) as refused:
        maven.jars([text], RELEASE, cache=tmp_path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert asked == []


def test_what_the_release_has_is_neither_fetched_nor_shipped(ivy, tmp_path):
    same = next(jar.name for jar in (java.spark_home() / "jars").glob("snappy-java-*.jar"))
    names = ["org.apache.spark_spark-sql-kafka-0-10_2.13-4.1.1.jar", "org.apache.kafka_kafka-clients-3.9.1.jar"]
    asked = ivy([*names, f"org.xerial.snappy_{same}"])
    shipped = maven.jars([KAFKA], RELEASE, cache=tmp_path)
    assert sorted(jar.name for jar in shipped) == sorted(names)
    assert '<dependency org="org.apache.spark" name="spark-sql-kafka-0-10_2.13" rev="4.1.1"/>' in asked[0]
    excluded = set(re.findall('<exclude org="org.apache.spark" module="(.*)"/>', asked[0]))
    assert {"spark-core_2.13", "spark-sql_2.13"} <= excluded
    assert "spark-sql-kafka-0-10_2.13" not in excluded
    assert '<exclude org="org.apache.hadoop"/>' in asked[0]


def test_it_is_fetched_once_and_again_when_damaged(ivy, tmp_path):
    asked = ivy(["a_b-1.jar", "a_c-2.jar"])
    first = maven.jars(["a:b:1"], RELEASE, cache=tmp_path)
    assert maven.jars(["a:b:1"], RELEASE, cache=tmp_path) == first
    digest = hashlib.sha256(b"a_b-1.jar").hexdigest()
    assert f"{digest}  a_b-1.jar\n" in (first[0].parent / maven.HASHES).read_text()
    assert len(asked) == 1
    first[0].write_bytes(b"another file")
    assert maven.jars(["a:b:1"], RELEASE, cache=tmp_path) == first
    assert first[0].read_bytes() == b"a_b-1.jar"
    first[1].unlink()
    assert maven.jars(["a:b:1"], RELEASE, cache=tmp_path) == first
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (UNKNOWN, PackagesError, "packages: Maven Central has no no.such:thing_2.13:1; correct it"),
        (OFFLINE, FetchError, "packages cannot be fetched from Maven Central: Server access error at url"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_nothing_is_kept(ivy, tmp_path, says, error, words):
    ivy([], says)
    with pytest.raises(error) as failed:
        maven.jars(["no.such:thing_2.13:1"], RELEASE, cache=tmp_path)
    assert words in str(failed.value)
    assert "\n" not in str(failed.value)
    assert list((tmp_path / "maven").iterdir()) == []


def test_no_coordinates_no_jars(ivy, tmp_path):
    assert maven.jars([], RELEASE, cache=tmp_path) == []
