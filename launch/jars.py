"""The jars that Spark from PyPI lacks for s3://, fetched once by the Ivy that Spark brings along.

`python -m launch.jars`, a part of `make lock`, writes jars.lock: the hashes of these jars and of those that the images
fetch, for every release.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from base import releases
from base.errors import UsageError
from base.paths import ROOT
from base.releases import Release
from launch import jar_hashes, java
from launch.dependencies import ivy
from launch.dependencies.ivy import IvyError

WANTED = Path(__file__).parent / "s3a.xml"
IN_IMAGES = (ROOT / "docker" / "node" / "hadoop.xml", ROOT / "docker" / "node" / "emr" / "daemons.xml")


class JarsError(UsageError):
    """The jars cannot be had: one line with the cause and what to do."""


def s3a_jars(cache: Path) -> list[Path]:
    """The jars for `--jars`, fetched into `cache` where they are not there yet.

    Raises:
        JarsError: they cannot be fetched.
        JavaError: there is no Java to fetch them with.
        OSError: the cache cannot be written.
    """
    versions = _versions(releases.find())
    key = WANTED.read_bytes() + jar_hashes.LOCK.read_bytes() + " ".join(versions).encode()
    folder = cache / "jars" / sha256(key).hexdigest()[:12]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="half-") as half:
            fetched = Path(half, "jars")
            _fetch(fetched, WANTED, versions=versions, cache=cache)
            try:
                jar_hashes.check(sorted(fetched.glob("*.jar")), jar_hashes.LOCK)
            except jar_hashes.HashError as error:
                shutil.rmtree(cache / "ivy", ignore_errors=True)  # what it was fetched into
                raise JarsError(f"the jars for s3:// are refused: {error}") from error
            _put(fetched, folder)
    return sorted(folder.glob("*.jar"))


def lock() -> None:
    """Write jars.lock anew, from jars that are fetched anew.

    Raises:
        JarsError: they cannot be fetched.
        JavaError: there is no Java to fetch them with.
    """
    hashes = dict[str, str]()
    with tempfile.TemporaryDirectory() as work:
        for label in releases.labels():
            for ivy_file in (WANTED, *IN_IMAGES):
                folder = Path(work) / label / ivy_file.stem
                _fetch(folder, ivy_file, versions=_versions(releases.find(label)), cache=Path(work))
                hashes |= jar_hashes.digests(folder.glob("*.jar"))
    jar_hashes.LOCK.write_text("".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes)))


def _versions(release: Release) -> list[str]:
    """Java's flags for the versions that the modules' files leave open."""
    return [f"-Dhadoop={release.hadoop}", f"-Dspark={release.spark_hadoop_cloud}", f"-Dscala={release.scala}"]


def _put(fetched: Path, folder: Path) -> None:
    try:
        fetched.replace(folder)
    except OSError:
        if not folder.is_dir():  # else another run has made the same meanwhile
            raise


def _fetch(folder: Path, ivy_file: Path, *, versions: list[str], cache: Path) -> None:
    try:
        ivy.retrieve(ivy_file, folder, cache=cache, flags=versions)
    except IvyError as error:
        raise JarsError(
            f"the jars for s3:// cannot be fetched from Maven Central: {error}; check the network, run again"
        ) from error


if __name__ == "__main__":
    try:
        lock()
    except (JarsError, java.JavaError) as error:
        sys.exit(f"error: {error}")
