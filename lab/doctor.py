"""What the lab needs of this machine: each thing is there, or one line says what is missing and how to mend it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from base import compose, paths, releases, sizing
from base.compose import DockerError
from lab import docker

PROJECT = paths.ROOT / "pyproject.toml"
DISK_GIB = 10
DAEMON_TIMEOUT_S = 15
SAFE_ENGINE = 28


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Something that can be wrong: the words for it and the fix, with names in braces for what varies.

    Attributes:
        says: what is wrong.
        fix: what to do.
        needed: for the lab, so that it cannot start while this is wrong.
    """

    says: str
    fix: str
    needed: bool = True


TROUBLES = {
    "cli": Trouble(
        says="no docker on PATH",
        fix="install Docker Desktop, or Docker Engine as docs.docker.com/engine/install says",
    ),
    "podman": Trouble(
        says="docker is Podman here, which answers otherwise than Docker",
        fix="install Docker Engine as docs.docker.com/engine/install says, in place of the package podman-docker",
    ),
    "daemon": Trouble(
        says="the Docker daemon does not answer: {answer}",
        fix="start Docker Desktop, or: sudo systemctl start docker",
    ),
    "remote": Trouble(
        says="Docker is on another machine, {host}, which sees neither this folder nor the ports of this one",
        fix="take this machine's: unset DOCKER_HOST, or: docker context use default",
    ),
    "socket": Trouble(
        says="this user may not use Docker's socket",
        fix="sudo usermod -aG docker $USER, then log in again",
    ),
    "compose": Trouble(
        says="no docker compose",
        fix="install the package docker-compose-plugin (Docker's own) or docker-compose-v2 (Ubuntu)",
    ),
    "compose-v1": Trouble(
        says="only Compose v1 ({version}) is here, the lab needs v2",
        fix="install the package docker-compose-plugin (Docker's own) or docker-compose-v2 (Ubuntu)",
    ),
    "engine": Trouble(
        says="Docker Engine {version}: machines of the same network segment can reach its ports on 127.0.0.1",
        fix="install 28 or later, as docs.docker.com/engine/install says, or use the lab in networks that you trust",
        needed=False,
    ),
    "buildx": Trouble(
        says="no docker buildx, which builds the images",
        fix="install the package docker-buildx-plugin (Docker's own) or docker-buildx (Debian, Ubuntu)",
    ),
    "memory": Trouble(
        says="Docker has {memory} of memory, the lab needs {needed}",
        fix="give it more, in Docker Desktop under Settings > Resources",
    ),
    "disk": Trouble(
        says="{free} free where Docker keeps its images, building them needs {needed}",
        fix="free some: docker system prune",
    ),
    "port": Trouble(
        says="port {port} is taken by another program",
        fix="choose another, or 0 for any free one: make up {variable}=0, or the same with make emr-up",
    ),
    "port-number": Trouble(
        says="{variable}={value} is no port",
        fix="give a number from 0 to 65535",
    ),
    "java": Trouble(
        says="no Java {needed}: {installed}; runs on this machine need it, the lab brings its own",
        fix="apt-get install openjdk-{needed}-jre-headless, or on macOS: brew install openjdk@{needed}",
        needed=False,
    ),
    "python": Trouble(
        says="Python {version} is not one of {supported}",
        fix="install one, and: make setup PYTHON=/path/to/python",
        needed=False,
    ),
    "aws": Trouble(
        says="no AWS credentials; only runs on EMR need them",
        fix="aws configure, or set AWS_PROFILE",
        needed=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check's result.

    Attributes:
        subject: what was checked.
        text: what is there, or what is wrong.
        fix: empty where nothing is wrong.
        needed: as in Trouble.
    """

    subject: str
    text: str
    fix: str = ""
    needed: bool = True

    @property
    def blocks(self) -> bool:
        """Whether the lab cannot start."""
        return bool(self.fix) and self.needed

    @property
    def line(self) -> str:
        """What is wrong, and the fix."""
        return f"{self.text}; {self.fix}"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """What the Docker daemon says of itself.

    Attributes:
        limits_cpus: whether it can limit a container's. A rootless one often cannot, nor one on a small kernel: it then
            refuses containers with such a limit.
    """

    version: str
    folder: Path
    host: sizing.Host
    limits_cpus: bool


def table() -> list[tuple[str, str]]:
    """What can be wrong, and the fix, as in the README: `…` stands for what varies."""
    return [(re.sub(r"\{\w+\}", "…", row.says), re.sub(r"\{\w+\}", "…", row.fix)) for row in TROUBLES.values()]


def examine() -> Iterator[Finding]:
    """Every check, in the order in which they matter; those that need the daemon only where it answers."""
    engine = daemon()
    if isinstance(engine, Finding):
        yield engine
    else:
        yield _engine(engine)
        yield from needs(engine)
        yield from _ports(docker.ports())
        yield from building(engine)
    yield _java()
    yield _python()
    yield _aws()


def daemon() -> Daemon | Finding:
    """The daemon, or why it cannot be used."""
    if not shutil.which("docker"):
        return _trouble("Docker", "cli")
    try:
        version = compose.run(["docker", "version", "--format", "{{.Server.Version}}"], timeout_s=DAEMON_TIMEOUT_S)
        fields = "{{.NCPU}}|{{.MemTotal}}|{{.CPUCfsQuota}}|{{.DockerRootDir}}"
        cpus, memory, limits, folder = compose.run(["docker", "info", "--format", fields]).strip().split("|", 3)
    except DockerError as error:
        if "permission denied" in error.output.lower():
            return _trouble("Docker", "socket")
        if _is_podman():
            return _trouble("Docker", "podman")
        return _trouble("Docker", "daemon", answer=str(error).rstrip("."))
    host = sizing.Host(cpus=int(cpus), memory_mb=int(memory) // 1024**2)
    return Daemon(version=version.strip(), folder=Path(folder), host=host, limits_cpus=limits == "true")


def needs(engine: Daemon) -> Iterator[Finding]:
    """What the lab cannot start without, besides the daemon and free ports."""
    if host := _elsewhere():
        yield _trouble("Docker", "remote", host=host)
    yield _compose()
    yield _memory(engine.host)


def ports(services: Mapping[str, Any]) -> list[Finding]:
    """The ports of these services of `docker.written`; and any that is no number: Compose then refuses them all."""
    targets = {port["target"] for service in services.values() for port in service.get("ports") or ()}
    return _ports([port for port in docker.ports() if port.target in targets or not _is_number(port)])


def building(engine: Daemon) -> Iterator[Finding]:
    """What building the images needs besides."""
    try:
        yield Finding(subject="buildx", text=_version(compose.run(["docker", "buildx", "version"])))
    except DockerError:
        yield _trouble("buildx", "buildx")
    yield _disk(engine.folder)


def taken(port: docker.Port) -> Finding:
    """The finding that another program has `port`."""
    return _trouble("ports", "port", port=port.setting, variable=port.variable)


def report(findings: Iterator[Finding]) -> tuple[str, bool]:
    """All findings as text, and whether the lab can start."""
    lines, able = [], True
    for finding in findings:
        word = "ok" if not finding.fix else "missing" if finding.needed else "note"
        lines.append(f"{word:<9}{finding.subject:<10}{finding.line if finding.fix else finding.text}\n")
        able = able and not finding.blocks
    return "".join(lines), able


def _trouble(subject: str, name: str, **values: object) -> Finding:
    trouble = TROUBLES[name]
    text, fix = trouble.says.format(**values), trouble.fix.format(**values)
    return Finding(subject=subject, text=text, fix=fix, needed=trouble.needed)


def _engine(engine: Daemon) -> Finding:
    """Docker Desktop's machine, whose folder is not here, has no neighbours. https://github.com/moby/moby/issues/45610"""
    major = re.match(r"[0-9]+", engine.version)
    if major and int(major[0]) < SAFE_ENGINE and _is_seen(engine.folder):
        return _trouble("Docker", "engine", version=engine.version)
    return Finding(subject="Docker", text=engine.version)


def _is_podman() -> bool:
    """Whether `docker` is the name that Podman, too, has itself called by: Fedora's package podman-docker."""
    try:
        return compose.run(["docker", "--version"]).lower().startswith("podman")
    except DockerError:
        return False


def _elsewhere() -> str | None:
    """The machine on which Docker is, by DOCKER_HOST or its context; None for this one."""
    try:
        address = compose.run(["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])
    except DockerError:  # an engine that has no such thing
        return None
    host = urlsplit(address.strip()).hostname  # of a socket there is none
    if host is None:
        return None
    try:
        socket.create_server((host, 0)).close()  # only an address of one's own can be listened on
    except OSError:
        return host
    return None


def _is_seen(folder: Path) -> bool:
    try:
        return folder.exists()
    except PermissionError:  # it lies in a folder that is root's alone
        return False


def _compose() -> Finding:
    try:
        version = compose.call("version", "--short").strip()
    except DockerError:
        try:
            alone = compose.run(["docker-compose", "version", "--short"]).strip()
        except DockerError:
            alone = ""
        return _trouble("Compose", "compose-v1" if alone.startswith("1.") else "compose", version=alone)
    return Finding(subject="Compose", text=version)


def _memory(host: sizing.Host) -> Finding:
    memory, needed = f"{host.memory_mb / 1024:.1f} GiB", f"{sizing.SMALLEST_HOST_MB / 1024:.0f} GiB"
    if host.memory_mb < sizing.SMALLEST_HOST_MB:
        return _trouble("memory", "memory", memory=memory, needed=needed)
    return Finding(subject="memory", text=f"{memory}, {host.cpus} CPUs")


def _disk(folder: Path) -> Finding:
    if not _is_seen(folder):  # in Docker Desktop's own machine, which grows up to the limit in its settings
        folder = paths.LAB
    free_gib = shutil.disk_usage(folder).free / 1024**3
    if free_gib < DISK_GIB:
        return _trouble("disk", "disk", free=f"{free_gib:.1f} GiB", needed=f"{DISK_GIB} GiB")
    return Finding(subject="disk", text=f"{free_gib:.0f} GiB free")


def _ports(checked: Sequence[docker.Port]) -> list[Finding]:
    """One finding for each port that is wrong, else one for all; the running lab's own ports are not taken."""
    numberless = [port for port in checked if not _is_number(port)]
    if numberless:  # Compose does not even say then which ports are the lab's own
        return [_trouble("ports", "port-number", variable=port.variable, value=port.setting) for port in numberless]
    try:
        own = {port for service in compose.services() for port in service.published.values()}
    except DockerError:
        own = set()
    others = [port for port in checked if int(port.setting) not in own and _is_taken(int(port.setting))]
    if others:
        return [taken(port) for port in others]
    return [Finding(subject="ports", text=", ".join(f"{port.variable} {port.setting}" for port in checked))]


def _is_number(port: docker.Port) -> bool:
    return port.setting.isdecimal() and int(port.setting) <= 65535


def _is_taken(port: int) -> bool:
    if port == 0:
        return False
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return True
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except PermissionError:  # a low port: Docker may what this user may not
        return False
    except OSError:
        return True
    return False


def _java() -> Finding:
    needed = releases.find().java
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else "java"
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    version = re.search(r'version "(?:1\.)?(\d+)', answer)
    if version and int(version[1]) in {needed, 21}:  # as for runs on this machine: Spark 4 is tested on both
        return Finding(subject="Java", text=version[1])
    what = f"{java} is Java {version[1]}" if version else f"{java} does not run"
    return _trouble("Java", "java", needed=needed, installed=what)


def _python() -> Finding:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    project = tomllib.loads(PROJECT.read_text())["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    if version in supported:
        return Finding(subject="Python", text=version)
    return _trouble("Python", "python", version=version, supported=", ".join(supported))


def _aws() -> Finding:
    """Where boto3 would find credentials; nothing is read of them and nothing is asked of the network."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return Finding(subject="AWS", text="credentials in AWS_ACCESS_KEY_ID")
    if profile := os.environ.get("AWS_PROFILE"):
        return Finding(subject="AWS", text=f"credentials by AWS_PROFILE={profile}")
    for name in ("credentials", "config"):
        path = Path.home() / ".aws" / name
        if path.exists():
            return Finding(subject="AWS", text=f"credentials by {path}")
    return _trouble("AWS", "aws")


def _version(text: str) -> str:
    version = re.search(r"v?(\d+\.\d+\.\d+\S*)", text)
    return version[1] if version else text.strip()
