"""Servers of Spark Connect that this machine starts and ends: on its own Spark, and on the lab's master."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from base import compose, env_files, paths
from base.compose import DockerError
from base.errors import EmrlabError, UsageError
from base.paths import CACHE
from base.spark_conf import Setting
from launch import docker_lab, jars, java, submit, targets

MAIN = "org.apache.spark.sql.connect.service.SparkConnectServer"
NO_MAIN = "spark-internal"  # spark-submit wants a file to start; the class is Spark's own
STARTED = re.compile(r"Spark Connect server started at: \S*:([0-9]+)")
START_S, STOP_S = 180.0, 15.0
LAB_PORT = 15002  # in the master's container; compose.yaml publishes it
TOKEN = "SPARK_CONNECT_TOKEN"  # noqa: S105 - the name in `.env`
TOKEN_FILE = "/run/connect/token"  # noqa: S105 - where lab/credentials.py hands it out
VARIABLE = "SPARK_CONNECT_AUTHENTICATE_TOKEN"  # Spark's own, of servers and of clients
Look = Callable[[], bool]


class SessionError(EmrlabError):
    """A session cannot be opened: one line with the cause and what to do."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers on this machine's `port` whoever shows its `token`.

    Attributes:
        where: it runs, in words.
        port: of 127.0.0.1.
        token: its secret.
        python: the minor version of the Python that the nodes run functions on.
        spark: its version.
        slots: task slots of its cluster, at most.
        is_open: whether it still runs.
    """

    where: str
    port: int
    token: str
    python: str
    spark: str
    slots: int
    is_open: Look


@contextmanager
def local(conf_overrides: Mapping[str, str], locations: Sequence[str]) -> Iterator[Server]:
    """On this machine's own Spark, at a free port of 127.0.0.1, with a token of its own.

    Raises:
        JavaError: there is no Java for it.
        SessionError: it does not start.
    """
    conf = targets.session(targets.local(locations, conf_overrides))
    on_s3 = any(location.startswith("s3://") for location in locations)
    s3a = jars.s3a_jars(CACHE) if on_s3 else ()
    arguments = _arguments(conf, address="127.0.0.1", port=0, jars=[*s3a])
    command, token = java.driver_command(arguments, conf=conf, cache=CACHE), secrets.token_urlsafe(30)
    environment = java.environment(conf) | {VARIABLE: token}
    with _running([sys.executable, "-I", "-S", "-c", submit.RELAY, *command], environment=environment) as running:
        yield Server(
            where="this machine",
            port=running.port,
            token=token,
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            spark=metadata.version("pyspark"),
            slots=os.cpu_count() or 1,
            is_open=running.is_open,
        )


@contextmanager
def lab(conf_overrides: Mapping[str, str], _: Sequence[str]) -> Iterator[Server]:
    """On the lab's master, as large as a run; executors that nobody uses go back to the lab.

    Raises:
        LabError: the lab is not up, or not as it must be.
        SizingError: executors of this size do not fit.
        SessionError: it does not start.
    """
    found = docker_lab.find()
    shape = docker_lab.executors(found.nodes, conf_overrides)
    docker_lab.check(shape, found.nodes)
    address = docker_lab.address(docker_lab.MASTER, LAB_PORT, start="make up")
    token = env_files.read_dotenv().get(TOKEN)
    if not token:
        raise UsageError(f"{paths.ENV_FILE} has no {TOKEN}; run: make up")
    python = _lab_python()
    conf = targets.session(targets.lab(shape, conf_overrides, own=[targets.tables(secrets.token_hex(8))]), shared=shape)
    # Its token comes by a variable, out of a file: others on the machine see what stands on a command line. Tasks run
    # on the Python that the environment of the server names, whatever the settings say.
    start = f'{VARIABLE}=$(cat {TOKEN_FILE}) && export {VARIABLE} && exec spark-submit "$@"'
    arguments = _arguments(conf, address="0.0.0.0", port=LAB_PORT)  # noqa: S104 - Docker publishes it on 127.0.0.1
    relayed = [
        "env",
        f"PYSPARK_PYTHON={targets.PYTHON}",
        "python3",
        "-c",
        submit.RELAY,
        "sh",
        "-c",
        start,
        "spark-submit",
        *arguments,
    ]
    with _running(compose.exec_command(docker_lab.MASTER, relayed), cwd=paths.LAB) as running:
        yield Server(
            where=f"the lab, {found.master}",
            port=int(address.rpartition(":")[2]),
            token=token,
            python=python,
            spark=found.release.spark,
            slots=shape.cores * shape.instances,
            is_open=running.is_open,
        )


def _lab_python() -> str:
    """The minor version of the Python that the lab's nodes run functions on.

    Raises:
        SessionError: the master does not say.
    """
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return compose.run(compose.exec_command(docker_lab.MASTER, [targets.PYTHON, "-c", question])).strip()
    except DockerError as error:
        raise SessionError(f"the lab's master: {error}; run: make up") from error


def _arguments(conf: Sequence[Setting], *, address: str, port: int, jars: Sequence[Path] = ()) -> list[str]:
    """What follows `spark-submit`."""
    settings = [f"{setting.key}={setting.value}" for setting in conf]
    settings += [f"spark.connect.grpc.binding.address={address}", f"spark.connect.grpc.binding.port={port}"]
    more = ["--jars", ",".join(map(str, jars))] if jars else []
    return [
        *("--class", MAIN, "--name", "session"),
        *more,
        *(word for setting in settings for word in ("--conf", setting)),
        NO_MAIN,
    ]


@dataclass(frozen=True)
class _Running:
    port: int
    is_open: Look


@contextmanager
def _running(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[_Running]:
    """The relayed server from the moment it listens; ended when the body is left.

    Raises:
        SessionError: it ends, or does not listen in time.
    """
    with subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
        start_new_session=True,  # the terminal's Ctrl-C is ours: the server ends after its client
    ) as server:
        ports = Queue[int | None]()
        said: list[str] = []
        Thread(target=_listen, args=(server, ports, said), daemon=True).start()
        try:
            try:
                port = ports.get(timeout=START_S)
            except Empty:
                raise SessionError(f"the session's server says nothing after {START_S:.0f} s; run it again") from None
            if port is None:
                raise _why(said)
            yield _Running(port, lambda: server.poll() is None)
        finally:
            _end(server)


def _listen(server: subprocess.Popen[bytes], ports: Queue[int | None], said: list[str]) -> None:
    """Read what the server says, to its end: the port where it listens, or None where it ends before."""
    with suppress(ValueError):  # the pipe is closed: the session is over
        for content in server.stdout or ():
            line = content.decode(errors="replace")
            if found := STARTED.search(line):
                ports.put(int(found[1]))
            elif len(said) < 1000:
                said.append(line)
    ports.put(None)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ask the relay to end the server, and see that it does: it is deaf to Ctrl-C."""
    assert server.stdin is not None  # noqa: S101 - it is a pipe
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError):  # it has ended
            server.stdin.write(f"{number.name}\n".encode())
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=STOP_S)
            return
    server.kill()


def _why(said: Sequence[str]) -> SessionError:
    text = "".join(said)
    if "Failed to load class" in text or "ClassNotFoundException" in text:
        return SessionError(
            "this release has no Spark Connect: sessions are there since emr-spark-8.0.0; run: make up RELEASE="
        )
    # The lab's log has Spark's line alone, without its cause: what it could not do then is to listen.
    if any(
        words in text for words in ("Address already in use", "BindException", "Error starting Spark Connect server")
    ):
        return SessionError("another session has the port; end it first, by Ctrl-C where it was started")
    return SessionError(f"the session's server did not start: {compose.telling_line(text) or 'it said nothing'}")
