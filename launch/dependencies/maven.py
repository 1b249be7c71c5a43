"""Maven's coordinates become jars, with all that they need, as `spark-submit --packages` finds them.

They are found on this machine and shipped, as the nodes reach no repository. What the release's Spark brings is left
out: its own classes come first in any case.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from base.errors import UsageError
from base.releases import Release
from launch import jar_hashes, java
from launch.dependencies import ivy
from launch.dependencies.ivy import IvyError
from launch.dependencies.lock import FetchError

HASHES = "SHA256SUMS"
_COORDINATE = re.compile(r"([A-Za-z0-9._-]+):([A-Za-z0-9._-]+):([0-9][A-Za-z0-9._-]*)")
# Whatever their versions: a second one beside the release's own cannot work.
_OF_EVERY_RELEASE = ("org.apache.hadoop", "org.apache.logging.log4j", "org.scala-lang", "org.slf4j")


class PackagesError(UsageError):
    """A coordinate is none, or names nothing: one line with what to do."""


def jars(coordinates: Sequence[str], release: Release, *, cache: Path) -> list[Path]:
    """The jars for `--jars`, named group_artifact-version.jar, fetched into `cache` where they are not there yet.

    Beside them lie their SHA-256 in SHA256SUMS, to which what is used again is held.

    Args:
        coordinates: group:artifact:version.
        release: whose Spark, Scala and Hadoop are there already.
        cache: folder of what was fetched before.

    Raises:
        PackagesError: one cannot be read, is for another Scala, or Maven Central has not got it.
        FetchError: Maven Central does not answer.
        JavaError: there is no Java to fetch them with.
        OSError: the cache cannot be written.
    """
    check(coordinates, release)
    if not coordinates:
        return []
    modules = _modules(coordinates, release)
    folder = cache / "maven" / sha256(modules.encode()).hexdigest()[:12]
    if not _is_whole(folder):
        _fetch(folder, modules, cache=cache)
    return sorted(folder.glob("*.jar"))


def jar_name(coordinate: str) -> str:
    """The name of a coordinate's own jar."""
    group, artifact, version = coordinate.split(":")
    return f"{group}_{artifact}-{version}.jar"


def check(coordinates: Iterable[str], release: Release) -> None:
    """See that they are coordinates, for the release's Scala.

    Raises:
        PackagesError: one is not.
    """
    for text in coordinates:
        if not (found := _COORDINATE.fullmatch(text)) or text.endswith("-SNAPSHOT"):
            raise PackagesError(
                f"packages: {text!r} is no group:artifact:version with a version that stays; correct it"
            )
        scala = re.search(r"_(2\.1\d|3)$", found[2])
        if scala and scala[1] != release.scala:
            fits = f"{found[2].removesuffix(scala[0])}_{release.scala}"
            raise PackagesError(
                f"packages: {text} is for Scala {scala[1]}, and {release.label} has {release.scala}; write {fits}"
            )


def _modules(coordinates: Iterable[str], release: Release) -> str:
    """The ivy.xml; letters that XML would take for its own are in no coordinate."""
    wanted = [text.split(":") for text in sorted(set(coordinates))]
    lines = [f'<dependency org="{group}" name="{name}" rev="{version}"/>' for group, name, version in wanted]
    # As in Spark's jars of this machine: of the release's the names are the same.
    parts = {found[1] for jar in _own_jars() if (found := re.match(r"(spark-.*)_2\.\d+-", jar))}
    lines += [f'<exclude org="org.apache.spark" module="{part}_{release.scala}"/>' for part in sorted(parts)]
    lines += [f'<exclude org="{group}"/>' for group in _OF_EVERY_RELEASE]
    return (
        '<ivy-module version="2.0">\n<info organisation="emrlab" module="job"/>\n'
        '<configurations><conf name="default"/></configurations>\n'
        '<dependencies defaultconf="default->default">\n' + "\n".join(lines) + "\n</dependencies>\n</ivy-module>\n"
    )


def _fetch(folder: Path, modules: str, *, cache: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.half-"))
    try:
        asked = half / "ivy.xml"
        asked.write_text(modules)
        ivy.retrieve(asked, half, cache=cache, name=f"[organisation]_{ivy.JAR}")
        own = _own_jars()
        for jar in half.glob("*.jar"):
            if jar.name.partition("_")[2] in own:
                jar.unlink()
        hashes = jar_hashes.digests(sorted(half.glob("*.jar")))
        (half / HASHES).write_text("".join(f"{digest}  {name}\n" for name, digest in hashes.items()))
        if _is_whole(folder):  # another run has made it meanwhile, and may be sending it
            return
        shutil.rmtree(folder, ignore_errors=True)  # one that is damaged
        half.replace(folder)
    except IvyError as error:
        if error.missing:
            raise PackagesError(f"packages: Maven Central has no {', no '.join(error.missing)}; correct it") from error
        raise FetchError(
            f"packages cannot be fetched from Maven Central: {error}; check the network, run again"
        ) from error
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether all that was fetched is there, and nothing else; what has changed is fetched anew."""
    if not (folder / HASHES).is_file():
        return False
    try:
        jar_hashes.check(folder.glob("*.jar"), folder / HASHES)
    except jar_hashes.HashError:
        return False
    return len((folder / HASHES).read_text().splitlines()) == len(list(folder.glob("*.jar")))


def _own_jars() -> set[str]:
    """Names of the files that this machine's Spark brings."""
    return {jar.name for jar in (java.spark_home() / "jars").glob("*.jar")}
