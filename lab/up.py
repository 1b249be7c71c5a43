"""Starts the lab: what is missing is made and built, the services started and waited for, and said where they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Any

from base import command_line, compose, env_files, paths, releases, sizing
from base.compose import DockerError
from base.defaults import INSTANCE_TYPE
from base.errors import EmrlabError
from lab import credentials, docker, doctor

CERTIFICATES = "docker/certificates/host.pem"  # what docker/base makes
BUILD_TIMEOUT_S = 3600
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 120
# Of the node with the driver: its daemons and a driver of the size that EMR gives it.
SMALLEST_PRIMARY_MB = 4096
S3 = {"minio", "init"}
# What stands behind each port of compose.yaml.
_BEHIND = {
    "S3_PORT": "S3",
    "CONSOLE_PORT": "its console",
    "MASTER_UI_PORT": "the cluster",
    "APP_UI_PORT": "the running job",
    "CONNECT_PORT": "Spark Connect, while a session is open",
    "HISTORY_PORT": "finished jobs",
    "YARN_UI_PORT": "YARN",
    "EMR_PORT": "EMR's API",
    "SESSIONS_PORT": "Spark Connect, of EMR's sessions",
}


class StartError(EmrlabError):
    """The lab does not start: one line with the cause and the fix."""


def up(*, release: str | None, instance_type: str | None, emr_lab: bool = False, s3_only: bool = False) -> None:
    """Start the lab as `release` with workers of `instance_type`; None stands for the variables' or the default.

    With `emr_lab` the services that have a profile in compose.yaml (YARN, HDFS, EMR's API) are started beside S3 and
    the history server, in place of Spark's own master and workers. Those of the other of the two are stopped. With
    `s3_only` S3 is started, and nothing is stopped.

    Raises:
        releases.ReleaseError, sizing.SizingError: one of them is not known.
        UsageError: the Compose project has containers of another program or checkout.
        StartError, DockerError: something is missing on this machine, cannot be built, or does not become healthy.
    """
    chosen = releases.find(release or compose.setting("RELEASE"))
    asked = sizing.instance(instance_type or compose.setting("INSTANCE_TYPE") or INSTANCE_TYPE)
    for line in releases.warnings(chosen, today=datetime.now(UTC).date()):
        sys.stderr.write(f"warning: {line}\n")
    daemon = doctor.daemon()
    if isinstance(daemon, doctor.Finding):
        raise StartError(daemon.line)
    _refuse(doctor.needs(daemon))
    if not daemon.limits_cpus:
        sys.stderr.write("warning: this Docker cannot limit a container's CPUs; workers take what they get\n")
    given = sizing.worker(asked, daemon.host)
    cpus = min(asked.vcpu, daemon.host.cpus) if daemon.limits_cpus else 0
    # Every profile: which services are started is said by their names.
    environment = variables(chosen, asked=asked, given=given, cpus=cpus) | {"COMPOSE_PROFILES": "*"}
    compose_file = _written(environment)
    every = compose_file["services"]
    services = _needed(every, _wanted(every, emr_lab=emr_lab, s3_only=s3_only))
    _refuse(doctor.ports(services))
    docker.containers(compose_file["name"])
    fresh = not credentials.SHORTEST.keys() <= env_files.read_dotenv().keys()
    credentials.ensure(paths.ENV_FILE)
    _build(services, every, environment, daemon=daemon)
    docker.containers(compose_file["name"])  # once more: another checkout may have been started while this one built
    if not s3_only:
        _make_room(every.keys() - services.keys(), environment, command="make up" if emr_lab else "make emr-up")
    running = _start(services, environment, fresh=fresh)
    sys.stdout.write(table(running, chosen) + f"\nworkers   {sizing.words(asked, given, daemon.host)}\n")


def variables(release: releases.Release, *, asked: sizing.Node, given: sizing.Node, cpus: int) -> dict[str, str]:
    """What compose.yaml is told: the release, and the size of a worker.

    A container's limit of `cpus` is the instance's, as far as the host has as many (Docker refuses more), or 0 for
    none; how many tasks run at once is what SPARK_WORKER_CORES says.
    """
    return {
        "RELEASE": release.label,
        "INSTANCE_TYPE": asked.name,
        "WORKER_CPUS": str(cpus),
        "WORKER_MEMORY_LIMIT": f"{given.memory_mb}m",
        "PRIMARY_MEMORY_LIMIT": f"{max(given.memory_mb, SMALLEST_PRIMARY_MB)}m",
        "SPARK_WORKER_CORES": str(given.vcpu),
        "SPARK_WORKER_MEMORY": f"{given.yarn_mb}m",
    }


def table(running: Iterable[compose.Service], release: releases.Release) -> str:
    """Service, version and addresses, a line each."""
    versions = f"Spark {release.spark}, Hadoop {release.hadoop}, Python {release.python}, Java {release.java}"
    lines = [f"{release.label}: {versions}\n\n{'service':<10}{'version':<30}address\n"]
    for service in sorted(running, key=lambda service: service.name):
        if service.state != "running":
            continue
        version = _version(service.name, release)
        addresses = [
            f"{_scheme(port)}://127.0.0.1:{service.published[port.target]}  {_BEHIND[port.variable]}"
            for port in docker.ports()
            if port.target in service.published
        ]
        lines.append(f"{service.name:<10}{version:<30}{addresses[0] if addresses else ''}".rstrip() + "\n")
        lines += [f"{'':<40}{address}\n" for address in addresses[1:]]
    return "".join(lines)


def _scheme(port: docker.Port) -> str:
    return "https" if port.variable == "SESSIONS_PORT" else "http"


def _refuse(findings: Iterable[doctor.Finding]) -> None:
    for finding in findings:
        if finding.blocks:
            raise StartError(finding.line)


def _build(
    services: Mapping[str, Any], every: Mapping[str, Any], environment: Mapping[str, str], *, daemon: doctor.Daemon
) -> None:
    """Bring the images up to date: in view where one is missing, else without a word, for there is little to do."""
    images = {service["image"] for service in services.values()}
    missing = [image for image in sorted(images) if not _is_there(image)]
    if missing:
        _refuse(doctor.building(daemon))
        sys.stdout.write(f"building {', '.join(missing)} (the first time some minutes)\n")
        sys.stdout.flush()
    # In a new checkout as well: the layers that are there were built with this machine's certificates.
    if missing or not (paths.LAB / CERTIFICATES).exists():
        compose.run(["sh", "docker/base"], timeout_s=BUILD_TIMEOUT_S, shown=bool(missing))
    # Whoever builds it: the master's image is the history server's too, also where no master is started.
    built = sorted(name for name, service in every.items() if service.get("build") and service["image"] in images)
    compose.call("build", *built, environment=environment, timeout_s=BUILD_TIMEOUT_S, shown=bool(missing))


def _is_there(image: str) -> bool:
    try:
        compose.run(["docker", "image", "inspect", "--format", "{{.Id}}", image])
    except DockerError:
        return False
    return True


def _written(environment: Mapping[str, str]) -> dict[str, Any]:
    """compose.yaml, whatever the ports are set to: what is wrong with one is the doctor's to say."""
    return docker.written({**environment, **{port.variable: "0" for port in docker.ports()}})


def _wanted(every: Mapping[str, Any], *, emr_lab: bool, s3_only: bool) -> set[str]:
    if s3_only:
        return every.keys() & S3
    profiled = {name for name, service in every.items() if service.get("profiles")}
    return profiled | {"history"} if emr_lab else every.keys() - profiled


def _needed(services: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """The `wanted` services and all that they depend on."""
    names, waiting = set[str](), set(wanted)
    while waiting:
        names |= waiting
        waiting = {name for service in waiting for name in services[service].get("depends_on") or ()} - names
    return {name: services[name] for name in services if name in names}


def _make_room(others: Set[str], environment: Mapping[str, str], *, command: str) -> None:
    """Remove the containers of the `others`, for the workers of both would take twice the memory; the data stay."""
    running = sorted(service.name for service in compose.services() if service.name in others)
    if running:
        line = f"stopping {', '.join(running)}: their memory is needed; {command} starts them again\n"
        sys.stdout.write(command_line.typed(line))
        sys.stdout.flush()
        compose.call("rm", "--stop", "--force", *running, environment=environment, timeout_s=STOP_TIMEOUT_S)


def _start(services: Mapping[str, Any], environment: Mapping[str, str], *, fresh: bool) -> list[compose.Service]:
    """Start the services and wait for them; with `fresh` keys even those that run, for they know only the old ones."""
    again, ending = ["--force-recreate"] if fresh else [], docker.finishing(services)
    arguments = ["up", "--detach", "--no-build", *again, *sorted(services)]
    try:
        compose.call(*arguments, environment=environment, timeout_s=START_TIMEOUT_S)
    except DockerError as error:
        raise StartError(_why(error.output, services.keys(), ending)) from error
    return docker.wait(services.keys(), ending, timeout_s=START_TIMEOUT_S)


def _why(output: str, names: Set[str], ending: set[str]) -> str:
    """The cause of a start that failed: a port, the service on which others wait, or Docker's own `output`."""
    for port in docker.ports():
        if re.search(rf":{port.setting}\b.*(already allocated|address already in use)", output):
            return doctor.taken(port).line
    begun = [service for service in compose.services() if service.name in names and service.state != "created"]
    culprits = [service for service in begun if docker.failed(service, ending)]
    culprits += [service for service in begun if not docker.ready(service, ending)]
    return docker.cause(culprits[0]) if culprits else compose.telling_line(output)


def _version(service: str, release: releases.Release) -> str:
    if service == "minio":
        return _s3_server()
    if service in {"primary", "core-1", "core-2"}:
        return f"Spark {release.spark}, Hadoop {release.hadoop}"
    return "" if service in {"emr", "sessions"} else f"Spark {release.spark}"


def _s3_server() -> str:
    answer = compose.call("exec", "-T", "minio", "sh", "-c", '"$S3_SERVER" --version')
    version = re.search(r"RELEASE\.\S+|\bv\d+\.\S+", answer)
    return version[0] if version else compose.telling_line(answer)
