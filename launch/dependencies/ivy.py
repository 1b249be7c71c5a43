"""Apache Ivy, which Spark brings along: fetches what a module's file asks for from Maven Central."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from base.errors import EmrlabError
from launch import java

TIMEOUT_S = 600
JAR = "[artifact]-[revision](-[classifier]).[ext]"


class IvyError(EmrlabError):
    """Ivy could not: the cause, part of a line.

    Attributes:
        missing: what Maven Central answered it has not, as group:artifact:version.
    """

    def __init__(self, cause: str, *, missing: Sequence[str] = ()) -> None:
        super().__init__(cause)
        self.missing = tuple(missing)


def retrieve(modules: Path, folder: Path, *, cache: Path, flags: Sequence[str] = (), name: str = JAR) -> None:
    """Fetch the jars of `modules`, an ivy.xml, with all that they need, into `folder`; one process at a time does.

    Args:
        modules: the file.
        folder: of the jars; made where it is missing.
        cache: folder below which Ivy keeps what it fetched.
        flags: Java's, like -Dscala=2.13 for what the file leaves open.
        name: Ivy's pattern of a jar's name.

    Raises:
        IvyError: it cannot be had within TIMEOUT_S.
        JavaError: there is no Java, or no Spark.
        OSError: the cache cannot be written.
    """
    (ivy,) = (java.spark_home() / "jars").glob("ivy-*.jar")
    home = (cache / "ivy").resolve()  # what lies in the user's own is no part of what everyone gets
    command = [str(java.find()), *_proxy(), *flags, f"-Divy.default.ivy.user.dir={home}", "-cp", str(ivy)]
    command += ["org.apache.ivy.Main", "-ivy", str(modules), "-warn", "-cache", str(home)]
    try:
        with _alone(cache):
            ran = subprocess.run(
                [*command, "-retrieve", f"{folder}/{name}"],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
    except subprocess.TimeoutExpired as error:
        raise IvyError(f"no end in {TIMEOUT_S} s") from error
    if ran.returncode:
        lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines()]
        telling = [line for line in lines if "not found" in line or "Exception" in line]
        offline = [line for line in telling if "Exception" in line or line.startswith("Host ")]
        absent = [line.strip(": ").removesuffix(": not found") for line in telling if line.startswith(":: ")]
        raise IvyError(
            next(iter(offline or telling), "Ivy says nothing"),
            missing=() if offline else [line.replace("#", ":").replace(";", ":") for line in absent],
        )


def _proxy() -> list[str]:
    """Java's flags for the environment's proxy, which it does not heed by itself: as in docker/node/assemble_spark.py.

    Raises:
        IvyError: its port is none.
    """
    address = urlsplit(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "")
    try:
        host, port = address.hostname, address.port or 80
    except ValueError as error:
        raise IvyError("https_proxy has a port that is no number") from error
    return [f"-Dhttps.proxyHost={host}", f"-Dhttps.proxyPort={port}"] if host else []


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Wait for other processes that use the `cache`, which Ivy by itself does not."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "ivy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
