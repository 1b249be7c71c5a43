"""Java on this machine: finds it, starts Spark on it directly, and keeps an archive of classes that makes it start fast.

`bin/spark-submit` is a shell script that starts one JVM only to print the command line of another. Here SparkSubmit is
started at once, with the same arguments.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
TRAINING_TIMEOUT_S = 180

# What Spark needs to reach inside Java 17: org.apache.spark.launcher.JavaModuleOptions, without its incubator module for
# vector instructions, which prints a warning and which only Spark ML's own linear algebra would use.
_OPENED = (
    *(f"java.base/java.{name}" for name in ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util")),
    *(f"java.base/java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    *(f"java.base/{name}" for name in ("jdk.internal.ref", "sun.nio.ch", "sun.nio.cs", "sun.security.action")),
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
# The JVM only schedules: images and features stay in Python. One thread of garbage collection and the first compiler
# alone start fastest and leave the cores to the model.
_FLAGS = (
    *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
)


class JavaError(Exception):
    """No Java that Spark runs on: one line with the fix."""


def find() -> Path:
    """The `java` to use: JAVA_HOME's, else the one on PATH, else macOS' own answer.

    Raises:
        JavaError: there is none, or it is another version than the release's.
    """
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    wanted = _release_java()
    if not home and sys.platform == "darwin":  # PATH has a stub that only asks to install one
        asked = subprocess.run(
            ["/usr/libexec/java_home", "-v", str(wanted)], capture_output=True, text=True, check=False
        )
        found = f"{asked.stdout.strip()}/bin/java" if asked.returncode == 0 else None
    fix = f"install it: apt-get install openjdk-{wanted}-jre-headless, or on macOS: brew install openjdk@{wanted}"
    if not found or not Path(found).exists():
        where = f"JAVA_HOME={home} has no bin/java" if home else "no Java on PATH"
        raise JavaError(f"{where}; Spark needs Java {wanted}; {fix}")
    version = _version(Path(found))
    if version not in {wanted, 21}:  # Spark 4 runs on both
        raise JavaError(f"{found} is Java {version}; Spark needs Java {wanted} or 21; {fix}, and point JAVA_HOME to it")
    return Path(found)


def command(arguments: Sequence[str], *, memory: str, archive: Path | None, verbose: bool = False) -> list[str]:
    """The command line that runs SparkSubmit with `arguments` in this one JVM.

    Args:
        arguments: as for spark-submit.
        memory: of the heap, like `1g`; the driver is this JVM, so that Spark's own setting would come too late.
        archive: of classes, from `make_archive`; one that does not fit is passed over by Java, without a word.
        verbose: Spark's log from INFO up instead of errors only.

    Raises:
        JavaError: see `find`.
    """
    shared = (
        [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]
        if archive
        else []
    )
    log = HERE / ("log4j2-verbose.properties" if verbose else "log4j2.properties")
    return [
        str(find()),
        *_FLAGS,
        f"-Xmx{memory}",
        *shared,
        f"-Dlog4j2.configurationFile={log.as_uri()}",
        "-cp",
        os.pathsep.join(map(str, _jars())),
        "org.apache.spark.deploy.SparkSubmit",
        *arguments,
    ]


def environment() -> dict[str, str]:
    """What SparkSubmit and Python below it need beside what is set: Spark's folder, this Python."""
    return {**os.environ, "SPARK_HOME": str(_spark()), "PYSPARK_PYTHON": sys.executable}


def archive_path(cache: Path) -> Path:
    """Where the archive for this Java, these jars and these flags lies."""
    java = find()
    known = [str(java.resolve()), str(java.resolve().stat().st_mtime_ns), *_FLAGS]
    known += [f"{jar.name} {jar.stat().st_size}" for jar in _jars()]
    return cache / "cds" / f"{sha256(repr(known).encode()).hexdigest()[:12]}.jsa"


def make_archive(cache: Path) -> Path:
    """Run a small job of every stage once and archive the classes that it loaded; nothing where that is done.

    Raises:
        JavaError: Java is missing or the job fails.
    """
    path = archive_path(cache)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".half")
    with tempfile.TemporaryDirectory() as folder:
        started = command(["--master", "local[2]", str(HERE / "cds_training.py"), folder], memory="1g", archive=None)
        started.insert(1, f"-XX:ArchiveClassesAtExit={half}")
        done = subprocess.run(
            started, env=environment(), capture_output=True, text=True, check=False, timeout=TRAINING_TIMEOUT_S
        )
    if done.returncode or not half.exists():
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise JavaError(f"Spark does not start on {find()}: {last}; try another Java, or make setup once more")
    half.replace(path)
    return path


def _version(java: Path) -> int:
    """Java's major version: from the `release` file of its folder, else by asking it, which takes 50 ms."""
    try:
        text = (java.resolve().parent.parent / "release").read_text()
    except OSError:
        asked = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        text = asked.stderr
    found = re.search(r'(?:JAVA_VERSION=|version )"(\d+)', text)
    return int(found[1]) if found else 0


def _release_java() -> int:
    releases = tomllib.loads((HERE.parent / "releases.toml").read_text())
    return int(releases[releases["default"]]["java"])


def _spark() -> Path:
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise JavaError("pyspark is not installed; run: make setup")
    return Path(spec.origin).parent


def _jars() -> list[Path]:
    """Named one by one and in order: the archive holds for one class path only."""
    return sorted((_spark() / "jars").glob("*.jar"))
