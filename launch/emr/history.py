"""Spark's pages of runs whose event logs lie in a bucket: the lab's history server over a copy of them.

The logs are fetched with the caller's own key, which the container never sees: it has the folder, read-only, and a port
on 127.0.0.1.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from base.defaults import EVENT_LOGS
from base.waiting import attempts
from launch.docker_lab import LabError, ask_docker
from launch.emr import aws
from launch.emr.aws import EmrError
from pipeline.names import escape

PORT = 18080  # of the server, in its container
READY_S = 120.0
POLL_S = 0.5

Show = Callable[[str], None]


def fetch(s3: Any, bucket: str, folder: Path, *, show: Show) -> int:
    """Bring the bucket's event logs into `folder`, where they are not there yet; returns how many there are.

    Raises:
        EmrError: there are none.
        ClientError, BotoCoreError: S3 refuses.
        OSError: the folder cannot be written.
    """
    listed = list(aws.pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=EVENT_LOGS))
    sizes = {name: int(each["Size"]) for each in listed if (name := str(each["Key"]).removeprefix(EVENT_LOGS))}
    held = {name: size for name, size in sizes.items() if _is_inside(name)}
    if not held:
        raise EmrError(f"s3://{bucket}/{EVENT_LOGS} holds no event log; a run that has ended leaves one there")
    for name in sorted(sizes.keys() - held.keys()):
        show(f"left out: {escape(name)}, which is no name of a log")
    for name, size in held.items():
        path = folder / name
        # A log grows until its run has ended.
        if not path.is_file() or path.stat().st_size != size:
            _readable(path.parent, below=folder)
            half = path.with_name(f".{path.name}.half")
            with half.open("wb") as file:
                s3.download_fileobj(bucket, EVENT_LOGS + name, file)
            half.chmod(0o644)  # for the container's user; the folders above may be as closed as they like
            half.replace(path)
    return len(held)


def serve(folder: Path, image: str, *, show: Show) -> None:
    """Show `folder` until Ctrl-C, at an address that is said.

    Raises:
        LabError: the image is missing, or the server does not come up.
        KeyboardInterrupt: that is its end; the container has been stopped.
    """
    name = f"emrlab-history-{secrets.token_hex(4)}"
    if not ask_docker(["docker", "image", "ls", "--quiet", image]).strip():
        raise LabError(f"the lab's image {image} is not built; run: make up")
    # Apart from the terminal: its Ctrl-C would reach Docker's client before us.
    with subprocess.Popen(
        command(folder, image, name=name),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            show(f"history     {_address(server, name)} (Ctrl-C ends it)")
            server.wait()
        finally:
            for _ in attempts(timeout_s=READY_S, interval_s=POLL_S):
                with suppress(LabError):  # it is gone, or not there yet
                    ask_docker(["docker", "rm", "--force", name])
                if server.poll() is not None:
                    break
    raise LabError(f"the history server has ended with exit code {server.returncode}; start it again")


def command(folder: Path, image: str, *, name: str) -> list[str]:
    """The command line that runs Spark's history server over `folder` in a container as closed as the lab's."""
    options = f"-Dspark.history.fs.logDirectory=file:/events -Dspark.history.ui.port={PORT}"
    return [
        *("docker", "run", "--rm", "--init", "--name", name, "--pull", "never"),
        *("--read-only", "--tmpfs", "/tmp:exec,mode=1777,size=512m"),  # noqa: S108 - in the container
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--memory", "1g", "--pids-limit", "512"),
        *("--publish", f"127.0.0.1:0:{PORT}", "--volume", f"{folder.resolve()}:/events:ro"),
        *("--env", "SPARK_DAEMON_MEMORY=512m", "--env", f"SPARK_HISTORY_OPTS={options}"),
        *(image, "/usr/lib/spark/bin/spark-class", "org.apache.spark.deploy.history.HistoryServer"),
    ]


def _address(server: subprocess.Popen[str], name: str) -> str:
    """Where it answers, once it does."""
    for _ in attempts(timeout_s=READY_S, interval_s=POLL_S):
        if server.poll() is not None:
            errors = (server.stderr.read() if server.stderr else "").strip().splitlines() or ["no word"]
            raise LabError(f"the history server did not start: {errors[-1]}")
        try:
            host = ask_docker(["docker", "port", name, str(PORT)]).split()[0]
            if _answers(host):
                return f"http://{host}"
        except (LabError, IndexError):  # the container is not there yet
            pass
    raise LabError(f"the history server did not answer in {READY_S:.0f} s; run: make doctor")


def _answers(host: str) -> bool:
    connection = HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", "/api/v1/applications?limit=1")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _is_inside(name: str) -> bool:
    """Whether a key is a file's place below a folder; anybody who may write to a bucket chooses its names."""
    parts: Sequence[str] = name.split("/")
    return all(part not in {"", ".", ".."} and not part.startswith(".") and "\0" not in part for part in parts)


def _readable(folder: Path, *, below: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder, *folder.parents):
        if each.is_relative_to(below):
            each.chmod(0o755)  # for the container's user
