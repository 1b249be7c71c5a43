"""Java is found or its lack is one line; Spark's start says nothing, whatever the archive is like."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.paths import CACHE
from base.spark_conf import Setting
from launch import java

FIX = "install it: apt-get install openjdk-17-jre-headless, or on macOS: brew install openjdk@17"


@pytest.fixture
def bare(monkeypatch, tmp_path) -> Path:
    """A machine without Java: neither JAVA_HOME nor anything on PATH."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def install(home: Path, version: str) -> Path:
    """A `java` that says its version as Java does; it has no `release` file."""
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    path.chmod(0o755)
    return path


def message() -> str:
    with pytest.raises(java.JavaError) as caught:
        java.find()
    return str(caught.value)


def test_no_java(bare):
    assert message() == f"no Java on PATH; Spark needs Java 17; {FIX}"


def test_java_home_without_java(bare, monkeypatch):
    install(bare, "17.0.15")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert message() == f"JAVA_HOME=/nowhere has no bin/java; Spark needs Java 17; {FIX}"


@pytest.mark.parametrize(("version", "major"), [("11.0.2", 11), ("1.8.0_402", 8), ("25", 25)])
def test_another_version(bare, version, major):
    path = install(bare, version)
    assert message() == f"{path} is Java {major}; Spark needs Java 17 or 21; {FIX}, and point JAVA_HOME to it"


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "no program\n"])
def test_a_java_that_does_not_run(bare, script):
    path = install(bare, "17")
    path.write_text(script)
    assert message().startswith(f"{path} does not say its version; Spark needs Java 17 or 21; ")


@pytest.mark.parametrize("version", ["17.0.15", "17", "21.0.1"])
def test_java_on_path(bare, version):
    path = install(bare, version)
    assert java.find() == path


def test_the_release_file_is_believed_before_java_is_asked(bare, monkeypatch):
    path = install(bare / "jdk", "11.0.2")
    (bare / "jdk" / "release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\n')
    monkeypatch.setenv("JAVA_HOME", str(bare / "jdk"))
    assert java.find() == path


def test_no_pyspark(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(java.JavaError, match=r"no pyspark in .*; run: make setup"):
        java.command([], memory="1g", archive=None)


def test_the_command_runs_sparksubmit_with_the_arguments_in_one_jvm():
    command = java.command(["--master", "local[2]", "job.py", "--k", "3"], memory="3g", archive=Path("/a/b.jsa"))
    assert command[0] == str(java.find())
    assert command[-6:] == ["org.apache.spark.deploy.SparkSubmit", "--master", "local[2]", "job.py", "--k", "3"]
    assert {"-Xmx3g", "-XX:SharedArchiveFile=/a/b.jsa", "-Xshare:auto"} <= set(command)
    jars = command[command.index("-cp") + 1].split(os.pathsep)
    assert jars == sorted(jars)
    assert any("spark-core" in jar for jar in jars)
    assert not any("incubator" in flag for flag in command), "Java warns of it at every start"


def test_verbose_brings_the_messages_back():
    quiet = java.command([], memory="1g", archive=None)
    verbose = java.command([], memory="1g", archive=None, verbose=True)
    assert "-Xlog:disable" in quiet
    assert "-Xlog:disable" not in verbose
    assert "-Demrlab.log=info" in verbose


def test_another_spark_of_the_user_is_kept_out(monkeypatch):
    theirs = {
        "SPARK_HOME": "/opt/spark",
        "SPARK_CONF_DIR": "/opt/spark/conf",
        "PYSPARK_DRIVER_PYTHON": "jupyter",
        "SPARK_REMOTE": "sc://localhost:15002",
        "SPARK_CONNECT_MODE_ENABLED": "1",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    environment = java.environment()
    assert not theirs.keys() & environment.keys()
    assert environment["PYSPARK_PYTHON"] == sys.executable


def driver(**settings: str) -> list[str]:
    conf = {"spark.driver.memory": "1g"} | {f"spark.driver.{name}": value for name, value in settings.items()}
    return java.driver_command(["x"], conf=[Setting(*pair, "") for pair in conf.items()], cache=Path("/none"))


def test_a_drivers_options_for_java_are_quoted_as_in_a_shell_and_come_last():
    found = driver(defaultJavaOptions="-Da=1", extraJavaOptions="""-Da=2 "-Db=two words" -Dc='"' -Dd=\\ e""")
    assert found[found.index("-Da=1") : found.index("-cp")] == ["-Da=1", "-Da=2", "-Db=two words", '-Dc="', "-Dd= e"]
    assert "-Xmx1g" in found[: found.index("-Da=1")]


def test_another_collector_takes_the_place_of_ours():
    assert java.SERIAL_GC in driver(extraJavaOptions="-XX:+PrintFlagsFinal")
    assert java.SERIAL_GC not in driver(extraJavaOptions="-XX:+UseG1GC")


def test_a_drivers_class_path_comes_before_sparks_jars(tmp_path):
    plain, found = (
        command[command.index("-cp") + 1] for command in (driver(), driver(extraClassPath=f"{tmp_path}:/b/c.jar"))
    )
    assert found == f"{tmp_path}:/b/c.jar:{plain}"


def test_a_drivers_libraries_come_after_this_machines(monkeypatch):
    variable = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    conf = [Setting("spark.driver.extraLibraryPath", "/a:/b", "")]
    monkeypatch.delenv(variable, raising=False)
    assert variable not in java.environment()
    assert java.environment(conf)[variable] == "/a:/b"
    monkeypatch.setenv(variable, "/mine")
    assert java.environment(conf)[variable] == "/mine:/a:/b"


@pytest.mark.parametrize(
    ("options", "words"),
    [("-Da='b", "no closing quotation; close the quotes"), ("-Da -Xmx4g", "spark.driver.memory's to say")],
)
def test_options_that_cannot_be_are_one_line(options, words):
    with pytest.raises(java.JavaError) as refused:
        driver(extraJavaOptions=options)
    assert str(refused.value).startswith(f"spark.driver.extraJavaOptions={options}: ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes the path of libraries from its own programs")
def test_a_drivers_jvm_has_what_its_settings_say(tmp_path):
    job, resources = tmp_path / "job.py", tmp_path / "re sources"
    resources.mkdir()
    (resources / "greeting.txt").write_text("hello")
    job.write_text(
        "from pyspark.sql import SparkSession\n"
        "lang = SparkSession.builder.getOrCreate()._jvm.java.lang\n"
        "loader = lang.ClassLoader.getSystemClassLoader()\n"
        "print(lang.System.getProperty('to'), loader.getResource('greeting.txt') is not None)\n"
        "print(lang.System.getenv('LD_LIBRARY_PATH'))\n"
    )
    settings = {
        "memory": "512m",
        "extraJavaOptions": "'-Dto=all the world' -XX:+UseParallelGC",
        "extraClassPath": str(resources),
        "extraLibraryPath": "/lib/of/mine",
    }
    conf = [Setting(f"spark.driver.{name}", value, "") for name, value in settings.items()]
    args = ["--master", "local[1]", "--conf", "spark.ui.enabled=false", str(job)]
    command, environment = java.driver_command(args, conf=conf, cache=CACHE), java.environment(conf)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("all the world True\n")
    assert done.stdout.endswith("/lib/of/mine\n")


def test_the_archives_name_follows_flags_and_jars(monkeypatch, tmp_path):
    jar = tmp_path / "jars" / "spark.jar"
    jar.parent.mkdir()
    jar.write_bytes(b"one")
    monkeypatch.setattr(java, "spark_home", lambda: tmp_path)
    first = java.archive_path(tmp_path)
    assert first == java.archive_path(tmp_path)
    monkeypatch.setattr(java, "FLAGS", (*java.FLAGS, "-Dx=y"))
    other_flags = java.archive_path(tmp_path)
    jar.write_bytes(b"another")
    other_jars = java.archive_path(tmp_path)
    assert len({first, other_flags, other_jars}) == 3


def test_a_failing_first_start_is_one_line_and_leaves_nothing(bare, tmp_path):
    install(bare, "17.0.15").write_text("#!/bin/sh\necho 'Error: no room' >&2\nexit 1\n")
    (bare / "release").write_text('JAVA_VERSION="17.0.15"\n')
    with pytest.raises(java.JavaError, match=r"^Spark does not start on .*: Error: no room; try another Java"):
        java.make_archive(tmp_path / "cache")
    assert list((tmp_path / "cache" / "cds").iterdir()) == []


def test_a_broken_archive_is_passed_over_and_the_drivers_exit_code_comes_through(tmp_path):
    """A run that goes well prints nothing but what the driver prints."""
    archive, job = tmp_path / "broken.jsa", tmp_path / "job.py"
    archive.write_bytes(b"no archive")
    job.write_text(
        "import sys\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "def same(batches):\n    yield from batches\n"
        "print(spark.range(0, 6, 1, 2).mapInArrow(same, 'id long').count())\n"
        "sys.exit(3)\n"
    )
    quiet = ["--conf", "spark.ui.showConsoleProgress=false", "--conf", "spark.ui.enabled=false"]
    command = java.command(["--master", "local[2]", *quiet, str(job)], memory="512m", archive=archive)
    done = subprocess.run(
        command, env=java.environment(), capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "6\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jsa", "job.py"], "no folder left behind"


def test_workers_import_nothing_of_the_folder_that_the_user_is_in(tmp_path):
    for name in ("pyspark.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('the user's own')\n")
    command = [sys.executable, "-m", "pyspark.daemon", "pyspark.worker"]  # as Spark starts them; it ends with its stdin
    done = subprocess.run(
        command, cwd=tmp_path, env=java.environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.stderr == b""
    assert len(done.stdout) == 4, "the port that it listens on"
