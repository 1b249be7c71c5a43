"""What the tests do to the lab, as a user would: launch a run, call Docker Compose, ask a page, look into S3."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from base import env_files, paths
from base.compose import exec_command
from base.defaults import REGION
from base.paths import ROOT
from launch import docker_lab, transfer
from tests import labs

BUCKET = "emrlab"
RUN_S = 420
NODES = ("master", "worker-1", "worker-2", "history")
Found = TypeVar("Found")


def start_run(source: str, target: str, *more: str, place: str = "lab") -> subprocess.Popen[str]:
    """`python -m launch run`, in a process group of its own, as a terminal's jobs are."""
    command = [sys.executable, "-m", "launch", "run", "--target", place, "--input", source, "--output", target]
    return subprocess.Popen(
        [*command, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end_of(job: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for its end."""
    try:
        out, error = job.communicate(timeout=RUN_S)
    except subprocess.TimeoutExpired:
        job.kill()
        out, error = job.communicate()
        message = f"no end after {RUN_S} s; it said: {out}{error}"
        raise AssertionError(message) from None
    return subprocess.CompletedProcess(job.args, job.returncode, out, error)


def run(source: str, target: str, *more: str, place: str = "lab") -> subprocess.CompletedProcess[str]:
    """A run from start to end."""
    return end_of(start_run(source, target, *more, place=place))


def execute(service: str, *command: str, check: bool = True, stdin: str = "") -> str:
    """What a command in a container prints, on both streams."""
    return labs.said(exec_command(service, command), check=check, stdin=stdin)


def inspect() -> dict[str, Any]:
    """`docker inspect` of every container of the lab, by service; one that is gone too."""
    ids = labs.compose("ps", "--all", "--quiet").split()
    found = json.loads(labs.said(["docker", "inspect", *ids]))
    return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}


def health(service: str) -> str:
    """What its health check last found: starting, healthy or unhealthy."""
    return str(inspect()[service]["State"]["Health"]["Status"])


def keys() -> dict[str, str]:
    """The variables of `.env`."""
    return env_files.read(paths.ENV_FILE)


def s3(user: str) -> Any:
    """A client with the key of `user`: JOB, DATA, HISTORY or ROOT."""
    names = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD")
    if user != "ROOT":
        names = (f"{user}_ACCESS_KEY_ID", f"{user}_SECRET_ACCESS_KEY")
    return s3_client(*(keys()[name] for name in names))


def s3_client(key_id: str, secret: str) -> Any:
    """A client with this key."""
    return boto3.client(
        "s3",
        endpoint_url=docker_lab.find().s3,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        region_name=REGION,
        config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 2}, max_pool_connections=16),
    )


def sizes(client: Any, prefix: str) -> dict[str, int]:
    """Names of all objects below `prefix`, relative to it, and their bytes."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return {entry["Key"].removeprefix(prefix): entry["Size"] for page in pages for entry in page.get("Contents", ())}


def images(folder: Path) -> str:
    """The prefix in the lab's bucket where the photographs of a folder here have their place."""
    return f"images/{transfer.place(folder)}"


def results(folder: Path) -> str:
    """The prefix in the lab's bucket where the results of a run to a folder here have theirs."""
    return f"results/{transfer.place(folder)}"


def wait_for_features(job: subprocess.Popen[str], output: str, *, share: float, of: str) -> None:
    """Wait until the run to the prefix `output` has this share of the features that the run to `of` came to."""
    client = s3("DATA")
    wanted = share * sum(sizes(client, f"{of}/features/").values())

    def there() -> bool:
        has = sum(sizes(client, f"{output}/_incomplete/features/").values())
        return has >= wanted or job.poll() is not None

    wait_until(there, f"{share:.0%} of the features", timeout_s=240)
    assert job.poll() is None, job.communicate()


def copy(source: str, target: str) -> None:
    """Copy every object of a prefix to another, in the server."""
    root = s3("ROOT")

    def one(name: str) -> None:
        root.copy_object(Bucket=BUCKET, Key=target + name, CopySource={"Bucket": BUCKET, "Key": source + name})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, sizes(root, source)))


def ask(address: str, path: str) -> str:
    """The page at `path`, or nothing where nobody answers."""
    connection = HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, HTTPException):
        return ""
    finally:
        connection.close()
    return text if answer.status == 200 else ""


def application_page() -> str:
    """Address of the running job's own page; nobody answers there while no job is running."""
    return labs.compose("port", "master", "4040").strip()


def active_applications() -> list[Any]:
    """What the Spark master has running."""
    found: list[Any] = json.loads(ask(docker_lab.find().master, "/json/"))["activeapps"]
    return found


def driver_processes() -> list[str]:
    """Command lines of the job's processes on the master: the signal relay, SparkSubmit, the driver's Python."""
    look = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$f 2>/dev/null | cut -c-200; echo; done"
    lines = execute("master", "sh", "-c", look).splitlines()
    return [line for line in lines if "SparkSubmit" in line or "main.py" in line]


def wait_until(look: Callable[[], Found], what: str, *, timeout_s: float = 120) -> Found:
    """The first look that shows something."""
    end = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end, f"no {what} after {timeout_s} s"
        time.sleep(0.3)
    return found
