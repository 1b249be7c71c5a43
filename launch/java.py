"""Java on this machine: finds it, starts Spark on it directly, keeps an archive of classes that makes it start fast.

`bin/spark-submit` is a shell script that starts one JVM only to print the command line of another. Here SparkSubmit is
started at once, with the same arguments. `python -m bench.startup` measures what that and the archive bring.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from base import releases
from base.errors import UsageError
from base.spark_conf import Setting

HERE = Path(__file__).parent
TRAINING_TIMEOUT_S = 600

# What Spark reaches inside Java: org.apache.spark.launcher.JavaModuleOptions (4.1.1), without jdk.incubator.vector:
# with that module Java warns at every start, and only Spark ML's linear algebra would use it.
_OPENED = (
    *(f"java.base/java.{name}" for name in ("lang", "lang.invoke", "lang.reflect", "io", "net", "nio", "util")),
    *(f"java.base/java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    *(f"java.base/{name}" for name in ("jdk.internal.ref", "sun.nio.ch", "sun.nio.cs", "sun.security.action")),
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)
SERIAL_GC = "-XX:+UseSerialGC"
FLAGS = (
    *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    # The JVM only schedules: images and features stay in Python. One thread of garbage collection and the first
    # compiler alone start fastest and leave the cores to the model.
    SERIAL_GC,
    "-XX:TieredStopAtLevel=1",
    # Nobody attaches a monitor: no shared file for one, no flight recorder set up for Netty's buffers.
    "-XX:-UsePerfData",
    "-Dio.netty.jfr.enabled=false",
)
# Java's own remarks, mostly on an archive that it passes over; what ends the JVM is printed all the same.
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")
# What a user's shell may say of another Spark, and of clients of one.
_OF_ANOTHER_SPARK = frozenset(
    {"SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_DRIVER_PYTHON", "SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"}
)
_VERBOSE = ("-Demrlab.log=info", "-Demrlab.task.log=info")


class JavaError(UsageError):
    """No Java that Spark runs on: one line with the fix."""


def find() -> Path:
    """The `java` to use: JAVA_HOME's, else the one on PATH, else on macOS what its own tool and Homebrew have.

    Raises:
        JavaError: there is none, or it is another version than the release's.
    """
    needed = releases.find().java
    accepted = {needed, 21}  # Spark 4 is tested on both
    fix = f"install it: apt-get install openjdk-{needed}-jre-headless, or on macOS: brew install openjdk@{needed}"
    home = os.environ.get("JAVA_HOME")
    installed = [java for java in ([Path(home, "bin", "java")] if home else _candidates(needed)) if java.is_file()]
    if not installed:
        where = f"JAVA_HOME={home} has no bin/java" if home else "no Java on PATH"
        raise JavaError(f"{where}; Spark needs Java {needed}; {fix}")
    versions = {java: _version(java) for java in installed}
    for java, version in versions.items():
        if version in accepted:
            return java
    java, version = next(iter(versions.items()))
    what = f"is Java {version}" if version else "does not say its version"
    raise JavaError(f"{java} {what}; Spark needs Java {needed} or 21; {fix}, and point JAVA_HOME to it")


def driver_command(
    arguments: Sequence[str], *, conf: Iterable[Setting], cache: Path, verbose: bool = False
) -> list[str]:
    """As `command`, for a driver that has these settings; start it with `environment(conf)`.

    The driver is this JVM: what it starts with is taken from the settings before it starts, as spark-submit's launcher
    does it (org.apache.spark.launcher.SparkSubmitCommandBuilder, 4.1.1).

    Args:
        arguments: as for spark-submit.
        conf: with spark.driver.memory at least.
        cache: where the archive of classes may lie.
        verbose: as of `command`.

    Raises:
        JavaError: see `find`; or the driver's options for Java cannot be.
    """
    values, archive = {setting.key: setting.value for setting in conf}, archive_path(cache)
    names = ("spark.driver.defaultJavaOptions", "spark.driver.extraJavaOptions")
    return command(
        arguments,
        memory=values["spark.driver.memory"],
        archive=archive if archive.exists() else None,
        verbose=verbose,
        options=[word for name in names for word in _options(name, values.get(name, ""))],
        class_path=values.get("spark.driver.extraClassPath", ""),
    )


def command(
    arguments: Sequence[str],
    *,
    memory: str,
    archive: Path | None,
    verbose: bool = False,
    options: Sequence[str] = (),
    class_path: str = "",
) -> list[str]:
    """The command line that runs SparkSubmit with `arguments` in this one JVM; start it with `environment()`.

    Args:
        arguments: as for spark-submit. What its launcher alone heeds (--driver-java-options, --driver-class-path,
            --driver-memory) has no effect.
        memory: of the heap, like `1g`.
        archive: of classes, from `make_archive`; one that is missing or does not fit is passed over without a word.
        verbose: Spark's log from INFO up, and Java's remarks, instead of errors only.
        options: of Java, which come after ours and before which ours give way.
        class_path: what comes before Spark's jars; the archive does not fit then.

    Raises:
        JavaError: see `find`.
    """
    # Java refuses two collectors; of its other flags the last one holds.
    collects = any(re.fullmatch(r"-XX:\+Use\w+GC", option) for option in options)
    return [
        str(find()),
        *(flag for flag in FLAGS if not (collects and flag == SERIAL_GC)),
        f"-Xmx{memory}",
        *([f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"] if archive else []),
        *(_VERBOSE if verbose else _QUIET),
        f"-Dlog4j2.configurationFile={(HERE / 'log4j2.properties').as_uri()}",
        *options,
        "-cp",
        os.pathsep.join([*filter(None, [class_path]), *map(str, _jars())]),
        "org.apache.spark.deploy.SparkSubmit",
        *arguments,
    ]


def environment(conf: Iterable[Setting] = ()) -> dict[str, str]:
    """What SparkSubmit and the Python processes below it run with; of a driver's settings `conf` the path of libraries.

    Without SPARK_HOME they import pyspark as it is installed, compiled, and not from Spark's pyspark.zip, whose sources
    every process compiles anew; and nobody's conf/spark-defaults.conf is read. Nor is the driver started by the Jupyter
    of one's shell, or work sent to the session that a shell knows: see docs/sessions.md.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_SPARK}
    own = {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONHASHSEED": "0",  # as bin/spark-submit sets it: workers must agree on a string's hash
        "PYTHONSAFEPATH": "1",  # a pipeline/ or a numpy.py in the user's folder is none of the workers'
        "SPARK_LOCAL_IP": "127.0.0.1",  # no look-up of this machine's name
        # The driver's one factorisation takes 0.6 s on one thread, and ten times that when its threads wait in turn for
        # cores that Spark is using.
        "OPENBLAS_NUM_THREADS": "1",
    }
    variable = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    paths = [inherited.get(variable), *(each.value for each in conf if each.key == "spark.driver.extraLibraryPath")]
    libraries = {variable: os.pathsep.join(filter(None, paths))} if any(paths) else {}
    return inherited | own | libraries


def spark_home() -> Path:
    """The folder of the installed pyspark, found without importing it.

    Raises:
        JavaError: there is none.
    """
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise JavaError(f"no pyspark in {sys.prefix}; run: make setup")
    return Path(spec.origin).parent


def archive_path(cache: Path) -> Path:
    """Where the archive for this Java, these jars and these flags lies, made or not.

    Raises:
        JavaError: see `find`.
    """
    java = find().resolve()
    # Java compares time and size of each jar, and refuses the archive when one differs.
    files = [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in (java, *_jars())]
    recipe = repr([files, FLAGS, (HERE / "cds_training.py").read_text()])
    return cache.resolve() / "cds" / f"{sha256(recipe.encode()).hexdigest()[:12]}.jsa"


def make_archive(cache: Path) -> Path:
    """Run a small job of every stage once and archive the classes that it loaded; nothing where that is done.

    Takes some 20 s and leaves 150 MB; archives of other versions are removed.

    Raises:
        JavaError: Java is missing or the job fails.
    """
    path = archive_path(cache)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="half-") as half:
        made, folder = Path(half, path.name), Path(half, "job")
        arguments = ["--master", "local[2]", "--conf", "spark.ui.enabled=false"]
        started = command([*arguments, str(HERE / "cds_training.py"), str(folder)], memory="1g", archive=None)
        started.insert(1, f"-XX:ArchiveClassesAtExit={made}")
        try:
            done = subprocess.run(
                started, env=environment(), capture_output=True, text=True, check=False, timeout=TRAINING_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise JavaError(f"{find()}: Spark's first start took over {TRAINING_TIMEOUT_S} s; run it again") from error
        if done.returncode or not made.exists():
            # SparkSubmit sends the driver's stderr to stdout.
            last = ((done.stderr + done.stdout).strip().splitlines() or ["no word"])[-1]
            raise JavaError(f"Spark does not start on {find()}: {last}; try another Java, or make setup once more")
        made.replace(path)
    for other in path.parent.glob("*.jsa"):
        if other != path:
            other.unlink(missing_ok=True)
    return path


def _options(name: str, text: str) -> list[str]:
    """The words of Java's options in a setting of this name, quoted as in a shell."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise JavaError(f"{name}={text}: {str(error).lower()}; close the quotes, as in a shell") from error
    if "Xmx" in text:  # spark-submit refuses it as well
        raise JavaError(f"{name}={text}: the heap's size is spark.driver.memory's to say; take out -Xmx, and set that")
    return words


def _candidates(needed: int) -> Iterator[Path]:
    """Where a `java` may be without JAVA_HOME. macOS has a stub on PATH that only asks to install one."""
    if sys.platform == "darwin":
        java_home = subprocess.run(
            ["/usr/libexec/java_home", "-v", str(needed)], capture_output=True, text=True, check=False
        )
        if java_home.returncode == 0:
            yield Path(java_home.stdout.strip(), "bin", "java")
        for prefix in ("/opt/homebrew", "/usr/local"):  # Homebrew's versions are not put on PATH
            yield Path(prefix, "opt", f"openjdk@{needed}", "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)


def _version(java: Path) -> int:
    """Java's major version: from the `release` file of its folder, else by asking it, in 50 ms; 0 if unknown."""
    try:
        text = (java.resolve().parent.parent / "release").read_text()
    except OSError:
        try:
            text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=20).stderr
        except (OSError, subprocess.TimeoutExpired):
            return 0
    version = re.search(r'(?:JAVA_VERSION=|version )"(?:1\.)?(\d+)', text)
    return int(version[1]) if version else 0


def _jars() -> list[Path]:
    """Named one by one and in order: an archive holds for one class path only."""
    return sorted((spark_home() / "jars").glob("*.jar"))
