"""The Docker lab as it runs: where its services answer, what executors its workers hold, the laptop's key to its S3."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from lab import sizing
from lab.sizing import Executors, Node
from launch.storage import Access, Key

ROOT = Path(__file__).parent.parent
ENV_FILE = ROOT / ".env"
COMPOSE = ("docker", "compose")  # in ROOT
MASTER = "master"
BUCKET, REGION = "emrlab", "eu-west-3"
COMMAND_TIMEOUT_S = 60
# A lab that `make up` found healthy answers at once; cores of a run that was just stopped come back within seconds.
ANSWER_S, FREE_S, POLL_S = 10.0, 20.0, 0.5


class LabError(Exception):
    """The lab cannot run a job as it is: one line with the cause and what to do."""


@dataclass(frozen=True)
class Nodes:
    """The workers: how many, and what the least of them has."""

    count: int
    each: Node


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab that is up.

    Attributes:
        s3, master: addresses of the S3 server and of the Spark master's page, like http://127.0.0.1:8080.
        pages: name and address of what a user may look at.
        nodes: the workers that are alive.
    """

    s3: str
    master: str
    pages: dict[str, str]
    nodes: Nodes


def find() -> Lab:
    """Ask Docker and the Spark master.

    Raises:
        LabError: the lab is not up, or no worker is.
    """
    services = _services()
    for name in ("minio", MASTER):
        if not (name in services and _ports(services[name])):
            raise LabError(_down(name, services))
    ports = {name: _ports(row) for name, row in services.items()}
    master = f"http://127.0.0.1:{ports[MASTER][8080]}"
    pages = {"Spark": master, "storage": f"http://127.0.0.1:{ports['minio'][9001]}"}
    if history := ports.get("history"):
        pages["history"] = f"http://127.0.0.1:{history[18080]}"
    end = time.monotonic() + ANSWER_S
    while not (workers := list(_alive(_ask(master, end=end)))):
        if time.monotonic() > end:
            raise LabError("no worker of the lab is alive; run: make up (make logs shows what happened)")
        time.sleep(POLL_S)
    memory_mb = min(int(worker["memory"]) for worker in workers)
    vcpu = min(int(worker["cores"]) for worker in workers)
    node = Node(name=_instance_type(), vcpu=vcpu, memory_mb=memory_mb, yarn_mb=memory_mb)
    return Lab(
        s3=f"http://127.0.0.1:{ports['minio'][9000]}", master=master, pages=pages, nodes=Nodes(len(workers), node)
    )


def address(service: str, port: int, *, start: str) -> str:
    """Where `port` of a service of the lab answers, like http://127.0.0.1:9000.

    Raises:
        LabError: it does not run; `start` is the command that starts it.
    """
    found = _services().get(service)
    if found is None or port not in _ports(found):
        raise LabError(f"the lab's {service} does not run; run: {start}")
    return f"http://127.0.0.1:{_ports(found)[port]}"


def rehearsed(instance_type: str) -> Node:
    """What a node of the rehearsal has on Docker's host: as `make emr-up` sizes it.

    Raises:
        LabError: Docker does not answer.
        SizingError: the instance type is not known, or the host too small.
    """
    asked = ["docker", "info", "--format", "{{.NCPU}} {{.MemTotal}}"]
    cpus, memory = ask_docker(asked).split()
    return sizing.worker(sizing.instance(instance_type), sizing.Host(cpus=int(cpus), memory_mb=int(memory) // 1024**2))


def paper() -> Nodes:
    """The workers of a lab on a machine that is large enough.

    Raises:
        SizingError: INSTANCE_TYPE is not known.
    """
    return Nodes(sizing.WORKERS, sizing.instance(_instance_type()))


def access(lab: Lab) -> Access:
    """The laptop's own key, which `make up` put into ENV_FILE.

    Raises:
        LabError: it is not there.
    """
    try:
        lines = ENV_FILE.read_text().splitlines()
    except OSError as error:
        raise LabError(f"{ENV_FILE}: {error.strerror}; run: make up") from error
    keys = dict(text.split("=", 1) for text in lines if "=" in text and not text.startswith("#"))
    try:
        key = Key(key_id=keys["DATA_ACCESS_KEY_ID"], secret=keys["DATA_SECRET_ACCESS_KEY"])
    except KeyError as error:
        raise LabError(f"{ENV_FILE} has no {error.args[0]}; run: make up") from error
    return Access(key=lambda: key, region=REGION, address=lab.s3)


def executors(nodes: Nodes, given: Mapping[str, str]) -> Executors:
    """The executors that a run gets on `nodes`: the sizing's, but for the settings that are `given`.

    Raises:
        LabError: a given value is no number, or follows from others.
        SizingError: a given value is no memory size.
    """
    if "spark.cores.max" in given:
        raise LabError("--conf spark.cores.max is instances x cores; give spark.executor.instances or …cores instead")
    usual = sizing.executors(vcpu=nodes.each.vcpu, yarn_mb=nodes.each.yarn_mb, workers=nodes.count)
    return Executors(
        cores=_whole(given, "spark.executor.cores", usual.cores),
        heap_mb=_memory_mb(given, "spark.executor.memory", usual.heap_mb),
        overhead_mb=_memory_mb(given, "spark.executor.memoryOverhead", usual.overhead_mb),
        instances=_whole(given, "spark.executor.instances", usual.instances),
    )


def check(wanted: Executors, nodes: Nodes) -> None:
    """Refuse what would not run, by YARN's arithmetic and by cores: in standalone Spark it would wait for ever.

    Raises:
        SizingError: YARN would not give it on nodes with this memory.
        LabError: there are not enough cores.
    """
    sizing.check(wanted, nodes.each, workers=nodes.count)
    room = nodes.count * (nodes.each.vcpu // wanted.cores)
    if wanted.instances > room:
        raise LabError(
            f"spark.executor.instances {wanted.instances}: of executors with spark.executor.cores {wanted.cores} the "
            f"lab's {nodes.count} workers with {nodes.each.vcpu} cores each hold {room}; lower one of them"
        )


def wait_for_cores(wanted: Executors, lab: Lab) -> None:
    """Let an application that is just ending give its cores back.

    Raises:
        LabError: another one keeps them.
    """
    end = time.monotonic() + FREE_S
    needed = wanted.cores * wanted.instances
    while True:
        page = _ask(lab.master, end=time.monotonic() + ANSWER_S)
        free = sum(int(worker["cores"]) - int(worker["coresused"]) for worker in _alive(page))
        if free >= needed:
            return
        if time.monotonic() > end:
            raise LabError(
                f"{free} cores of the lab are free and this run asks for {needed}: "
                f"another run has the others, see {lab.master}; wait for its end"
            )
        time.sleep(POLL_S)


def exec_command(service: str, command: Sequence[str]) -> list[str]:
    """The command line, for ROOT, that runs `command` in a container of the lab, its stdout and stderr apart."""
    return [*COMPOSE, "exec", "-T", service, *command]


def ask_docker(command: Sequence[str]) -> str:
    """What Docker's command line says.

    Raises:
        LabError: it is not there, does not answer, or refuses.
    """
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
    except FileNotFoundError as error:
        raise LabError("no docker on PATH; run: make doctor") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"docker did not answer in {COMMAND_TIMEOUT_S} s; run: make doctor") from error
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no word"])[-1]
        raise LabError(f"docker: {last}; run: make doctor")
    return ran.stdout


def _services() -> dict[str, dict[str, Any]]:
    """What Docker Compose says of each container, by the name of its service."""
    said = ask_docker([*COMPOSE, "ps", "--all", "--format", "json"])
    # Compose before 2.21 prints one array, later versions one object a line.
    found = [json.loads(text) for text in said.splitlines()]
    return {row["Service"]: row for each in found for row in (each if isinstance(each, list) else [each])}


def _ports(service: Mapping[str, Any]) -> dict[int, int]:
    """Ports on this machine by the container's own; empty where the container does not run."""
    return {port["TargetPort"]: port["PublishedPort"] for port in service["Publishers"] or () if port["PublishedPort"]}


def _down(name: str, services: Mapping[str, Mapping[str, Any]]) -> str:
    if not any(service["State"] == "running" for service in services.values()):
        return "the lab is not up; run: make up"
    there = services.get(name)
    state = f"{there['State']}, exit code {there['ExitCode']}" if there else "not there"
    return f"the lab's {name} is {state}; run: make up (make logs shows what happened)"


def _ask(master: str, *, end: float) -> dict[str, Any]:
    """The Spark master's page as JSON, asked until it answers; no proxy comes in between."""
    while True:
        connection = HTTPConnection(master.removeprefix("http://"), timeout=ANSWER_S)
        try:
            connection.request("GET", "/json/")
            page: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            if time.monotonic() > end:
                said = " ".join(str(error).split()) or type(error).__name__
                raise LabError(f"no answer from the Spark master at {master}: {said}; run: make up") from error
            time.sleep(POLL_S)
        else:
            return page
        finally:
            connection.close()


def _alive(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (worker for worker in page["workers"] if worker["state"] == "ALIVE")


def _instance_type() -> str:
    return os.environ.get("INSTANCE_TYPE") or "m5.xlarge"


def _whole(given: Mapping[str, str], key: str, usual: int) -> int:
    text = given.get(key, str(usual))
    if not text.isdecimal() or int(text) < 1:
        raise LabError(f"--conf {key}={text}: give a whole number from 1")
    return int(text)


def _memory_mb(given: Mapping[str, str], key: str, usual_mb: int) -> int:
    return sizing.memory_mb(given[key]) if key in given else usual_mb
