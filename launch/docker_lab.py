"""The Docker lab as it runs: where its services answer, what executors its workers hold, the laptop's key to its S3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from base import compose, env_files, paths, releases, sizing
from base.compose import DockerError, Service
from base.defaults import INSTANCE_TYPE, REGION
from base.errors import UsageError
from base.releases import Release
from base.sizing import Executors, Node
from base.waiting import attempts
from launch.s3_access import Access, Key

MASTER = "master"
# A lab that `make up` found healthy answers at once; cores of a run that was just stopped come back within seconds.
ANSWER_S, FREE_S, POLL_S = 10.0, 20.0, 0.5


class LabError(UsageError):
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
        release: that it was started with.
    """

    s3: str
    master: str
    pages: dict[str, str]
    nodes: Nodes
    release: Release


def find() -> Lab:
    """Ask Docker and the Spark master.

    Raises:
        LabError: the lab is not up, or no worker is.
    """
    services = _services()
    ports = {name: service.published for name, service in services.items()}
    for name in ("minio", MASTER):
        if not ports.get(name):
            raise LabError(_down(name, services))
    master = f"http://127.0.0.1:{ports[MASTER][8080]}"
    pages = {"Spark": master, "storage": f"http://127.0.0.1:{ports['minio'][9001]}"}
    if history := ports.get("history"):
        pages["history"] = f"http://127.0.0.1:{history[18080]}"
    for _ in attempts(timeout_s=ANSWER_S, interval_s=POLL_S):
        if workers := list(_alive(_ask(master))):
            break
    else:
        raise LabError("no worker of the lab is alive; run: make up (make logs shows what happened)")
    memory_mb = min(int(worker["memory"]) for worker in workers)
    vcpu = min(int(worker["cores"]) for worker in workers)
    node = Node(name=_instance_type(), vcpu=vcpu, memory_mb=memory_mb, yarn_mb=memory_mb)
    return Lab(
        s3=f"http://127.0.0.1:{ports['minio'][9000]}",
        master=master,
        pages=pages,
        nodes=Nodes(len(workers), node),
        release=_release(services[MASTER].image),
    )


def address(service: str, port: int, *, start: str) -> str:
    """Where `port` of a service of the lab answers, like http://127.0.0.1:9000.

    Raises:
        LabError: it does not run; `start` is the command that starts it.
    """
    container = _services().get(service)
    if container is None or port not in container.published:
        raise LabError(f"the lab's {service} does not run; run: {start}")
    return f"http://127.0.0.1:{container.published[port]}"


def emr_lab_node(instance_type: str) -> Node:
    """What a node of the EMR lab has on Docker's host: as `make emr-up` sizes it.

    Raises:
        LabError: Docker does not answer.
        SizingError: the instance type is not known, or the host too small.
    """
    command = ["docker", "info", "--format", "{{.NCPU}} {{.MemTotal}}"]
    cpus, memory = ask_docker(command).split()
    return sizing.worker(sizing.instance(instance_type), sizing.Host(cpus=int(cpus), memory_mb=int(memory) // 1024**2))


def paper() -> Nodes:
    """The workers of a lab on a machine that is large enough.

    Raises:
        SizingError: INSTANCE_TYPE is not known.
    """
    return Nodes(sizing.WORKERS, sizing.instance(_instance_type()))


def access(lab: Lab) -> Access:
    """The lab's S3 and the laptop's own key to it, which `make up` put into `.env`.

    Raises:
        LabError: it is not there.
    """
    return _access(lab.s3)


def access_to_s3(*, start: str) -> Access:
    """The same, also where the EMR lab has taken the place of Spark's services.

    Raises:
        LabError: no S3 runs, `start` is the command that starts it; or there is no key.
    """
    return _access(address("minio", 9000, start=start))


def _access(server: str) -> Access:
    try:
        keys = env_files.read_dotenv()
        key = Key(key_id=keys["DATA_ACCESS_KEY_ID"], secret=keys["DATA_SECRET_ACCESS_KEY"])
    except OSError as error:
        raise LabError(f"{paths.ENV_FILE}: {error.strerror}; run: make up") from error
    except KeyError as error:
        raise LabError(f"{paths.ENV_FILE} has no {error.args[0]}; run: make up") from error
    return Access(key=lambda: key, region=REGION, address=server)


def executors(nodes: Nodes, conf_overrides: Mapping[str, str]) -> Executors:
    """The executors that a run gets on `nodes`: the sizing's, but for `conf_overrides`.

    Raises:
        LabError: an override's value is no number, or follows from others.
        SizingError: an override's value is no memory size.
    """
    if "spark.cores.max" in conf_overrides:
        raise LabError("--conf spark.cores.max is instances x cores; give spark.executor.instances or …cores instead")
    sized = sizing.executors(vcpu=nodes.each.vcpu, yarn_mb=nodes.each.yarn_mb, workers=nodes.count)
    return Executors(
        cores=_whole(conf_overrides, "spark.executor.cores", sized.cores),
        heap_mb=_memory_mb(conf_overrides, "spark.executor.memory", sized.heap_mb),
        overhead_mb=_memory_mb(conf_overrides, "spark.executor.memoryOverhead", sized.overhead_mb),
        instances=_whole(conf_overrides, "spark.executor.instances", sized.instances),
    )


def check(shape: Executors, nodes: Nodes) -> None:
    """Refuse what would not run, by YARN's arithmetic and by cores: in standalone Spark it would wait for ever.

    Raises:
        SizingError: YARN would not give it on nodes with this memory.
        LabError: there are not enough cores.
    """
    sizing.check(shape, nodes.each, workers=nodes.count)
    room = nodes.count * (nodes.each.vcpu // shape.cores)
    if shape.instances > room:
        raise LabError(
            f"spark.executor.instances {shape.instances}: of executors with spark.executor.cores {shape.cores} the "
            f"lab's {nodes.count} workers with {nodes.each.vcpu} cores each hold {room}; lower one of them"
        )


def wait_for_cores(shape: Executors, lab: Lab) -> None:
    """Let an application that is just ending give its cores back.

    Raises:
        LabError: another one keeps them.
    """
    needed, free = shape.cores * shape.instances, 0
    for _ in attempts(timeout_s=FREE_S, interval_s=POLL_S):
        free = sum(int(worker["cores"]) - int(worker["coresused"]) for worker in _alive(_ask(lab.master)))
        if free >= needed:
            return
    raise LabError(
        f"{free} cores of the lab are free and this run asks for {needed}: "
        f"another run has the others, see {lab.master}; wait for its end"
    )


def applications(lab: Lab) -> frozenset[str]:
    """The ids of the Spark applications that the master knows, those that have ended too.

    Raises:
        LabError: the master does not answer.
    """
    page = _ask(lab.master)
    return frozenset(str(each["id"]) for kind in ("activeapps", "completedapps") for each in page.get(kind, ()))


def ask_docker(command: Sequence[str]) -> str:
    """What Docker's command line prints.

    Raises:
        LabError: it is not there, does not answer, or refuses.
    """
    try:
        return compose.run(command)
    except DockerError as error:
        raise LabError(f"{error}; run: make doctor") from error


def _services() -> dict[str, Service]:
    """The lab's containers by the names of their services."""
    try:
        return {service.name: service for service in compose.services()}
    except DockerError as error:
        raise LabError(f"{error}; run: make doctor") from error


def _down(name: str, services: Mapping[str, Service]) -> str:
    if not any(service.state == "running" for service in services.values()):
        return "the lab is not up; run: make up"
    container = services.get(name)
    state = f"{container.state}, exit code {container.exit_code}" if container else "not there"
    return f"the lab's {name} is {state}; run: make up (make logs shows what happened)"


def _release(image: str) -> Release:
    """The release of emrlab/spark:LABEL; of an image whose name another has taken since Docker tells the hash alone."""
    if image.startswith("sha256:"):
        raise LabError("the lab's image was built anew since the lab was started; run: make up")
    return releases.find(image.rpartition(":")[2].removeprefix("default"))


def _ask(master: str) -> dict[str, Any]:
    """The Spark master's page as JSON, asked until it answers; no proxy comes in between."""
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - 40 ms, of no use to a run on this machine

    cause = ""
    for _ in attempts(timeout_s=ANSWER_S, interval_s=POLL_S):
        connection = HTTPConnection(master.removeprefix("http://"), timeout=ANSWER_S)
        try:
            connection.request("GET", "/json/")
            page: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            cause = " ".join(str(error).split()) or type(error).__name__
        else:
            return page
        finally:
            connection.close()
    raise LabError(f"no answer from the Spark master at {master}: {cause}; run: make up")


def _alive(page: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (worker for worker in page["workers"] if worker["state"] == "ALIVE")


def _instance_type() -> str:
    return compose.setting("INSTANCE_TYPE") or INSTANCE_TYPE


def _whole(conf_overrides: Mapping[str, str], key: str, default: int) -> int:
    text = conf_overrides.get(key, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise LabError(f"--conf {key}={text}: give a whole number from 1")
    return int(text)


def _memory_mb(conf_overrides: Mapping[str, str], key: str, default_mb: int) -> int:
    return sizing.memory_mb(conf_overrides[key]) if key in conf_overrides else default_mb
