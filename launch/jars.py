"""The jars that Spark from PyPI lacks for s3://, fetched once by the Ivy that Spark brings along."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

from launch import java

WANTED = Path(__file__).parent / "s3a.xml"
TIMEOUT_S = 600


class JarsError(Exception):
    """The jars cannot be had: one line with the cause and what to do."""


def s3a_jars(cache: Path) -> list[Path]:
    """The jars for `--jars`, fetched into `cache` where they are not there yet.

    Raises:
        JarsError: they cannot be fetched.
        JavaError: there is no Java to fetch them with.
    """
    release = java.release()
    versions = [f"-D{name}={release[name]}" for name in ("hadoop", "spark", "scala")]
    folder = cache / "jars" / sha256(WANTED.read_bytes() + " ".join(versions).encode()).hexdigest()[:12]
    if not folder.is_dir():
        half = folder.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        _fetch(half, versions=versions, cache=cache)
        half.replace(folder)
    return sorted(folder.glob("*.jar"))


def _fetch(folder: Path, *, versions: list[str], cache: Path) -> None:
    (ivy,) = (java.spark_home() / "jars").glob("ivy-*.jar")
    command = [str(java.find()), *versions, "-cp", str(ivy), "org.apache.ivy.Main", "-ivy", str(WANTED), "-warn"]
    places = ["-cache", str(cache / "ivy"), "-retrieve", f"{folder}/[artifact]-[revision].[ext]"]
    try:
        ran = subprocess.run([*command, *places], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise JarsError(
            f"the jars for s3:// did not arrive from Maven Central in {TIMEOUT_S} s; check the network, run again"
        ) from error
    if ran.returncode or not list(folder.glob("hadoop-aws-*.jar")):
        said = (ran.stdout + ran.stderr).splitlines()
        cause = next((line.strip() for line in said if "not found" in line or "Exception" in line), "no word from Ivy")
        raise JarsError(
            f"the jars for s3:// cannot be fetched from Maven Central: {cause}; check the network, run again"
        )
