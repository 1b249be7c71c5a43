"""Docker and Docker Compose, called as a user would call them, each call with a deadline."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import credentials

ROOT = Path(__file__).parent.parent
ANSWER_TIMEOUT_S = 30
POLL_S = 0.5
_TELLING = re.compile(r"error|exception|fatal|refused|denied|cannot|can't|no space|not found|failed", re.IGNORECASE)


class DockerError(Exception):
    """A command failed: what it said, or for the lab's own services one line with the cause."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port on this machine: the variable that sets it, its default, and the container's port behind it."""

    variable: str
    default: int
    target: int

    @property
    def wanted(self) -> str:
        """What the variable says, in the environment or in `.env`."""
        return setting(self.variable) or str(self.default)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service's container.

    Attributes:
        name: of the service.
        state: running, exited, restarting and so on.
        health: healthy, unhealthy, starting, or empty for one without a health check.
        exit_code: of one that ended.
        published: port on this machine by the container's port.
    """

    name: str
    state: str
    health: str
    exit_code: int
    published: Mapping[int, int] = field(default_factory=dict)


def setting(name: str) -> str | None:
    """A variable as Docker Compose sees it: from the environment, else from `.env`; None where it is empty."""
    return os.environ.get(name) or credentials.read(credentials.ENV_FILE).get(name) or None


def ports() -> list[Port]:
    """The ports that compose.yaml publishes, each written there as `${NAME_PORT:-default}:target`."""
    written = re.findall(r"\$\{([A-Z0-9_]+_PORT):-([0-9]+)\}:([0-9]+)", (ROOT / "compose.yaml").read_text())
    return [Port(variable=variable, default=int(default), target=int(target)) for variable, default, target in written]


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
    shown: bool = False,
) -> str:
    """What `command` prints; nothing where it is `shown` to the user instead.

    Raises:
        DockerError: it fails, is not there, or takes longer than `timeout_s`.
    """
    pipe = None if shown else subprocess.PIPE
    try:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DockerError(f"no {command[0]} on PATH") from error
    try:
        out, said = process.communicate(timeout=timeout_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        # The whole group: `docker` starts the plugin that does the work.
        os.killpg(process.pid, signal.SIGTERM if isinstance(error, KeyboardInterrupt) else signal.SIGKILL)
        process.communicate()
        if isinstance(error, KeyboardInterrupt):
            raise
        raise DockerError(f"no answer to `{' '.join(command)}` within {timeout_s:.0f} s") from error
    if process.returncode:
        raise DockerError((said or out or f"`{' '.join(command)}` failed, as it says above").strip())
    return out or ""


def compose(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
    shown: bool = False,
) -> str:
    """`run` for `docker compose`.

    Raises:
        DockerError: see `run`.
    """
    return run(["docker", "compose", *arguments], environment=environment, timeout_s=timeout_s, shown=shown)


def services() -> list[Service]:
    """The project's containers, ended ones too; none where nothing was started.

    Raises:
        DockerError: see `run`.
    """
    said = compose("ps", "--all", "--format", "json").strip()
    rows = json.loads(said) if said.startswith("[") else [json.loads(line) for line in said.splitlines()]
    return [_service(row) for row in rows]


def written(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with every variable filled in: `name`, `services`, `volumes`.

    Raises:
        DockerError: see `run`; compose.yaml or a variable in it is not right.
    """
    found: dict[str, Any] = json.loads(compose("config", "--format", "json", environment=environment))
    return found


def finishing(services: Mapping[str, Any]) -> set[str]:
    """Those of the `written` services that end when their work is done: others wait for their completion."""
    waited = [pair for service in services.values() for pair in (service.get("depends_on") or {}).items()]
    return {name for name, how in waited if how.get("condition") == "service_completed_successfully"}


def wait(ending: set[str], *, timeout_s: float) -> list[Service]:
    """The services, as soon as each is healthy, and those that are `ending` are done.

    Raises:
        DockerError: one has failed, or is not ready in time: which, and what its log says.
    """
    end = time.monotonic() + timeout_s
    while True:
        found = services()
        for service in found:
            if failed(service, ending):
                raise DockerError(cause(service))
        waiting = [service for service in found if not ready(service, ending)]
        if found and not waiting:
            return found
        if time.monotonic() > end:
            late = cause(waiting[0]) if waiting else "no container was started"
            raise DockerError(f"not ready after {timeout_s:.0f} s: {late}")
        time.sleep(POLL_S)


def failed(service: Service, ending: set[str]) -> bool:
    """Whether it will not become ready by itself."""
    ended = service.state in {"exited", "dead"}
    return service.health == "unhealthy" or (ended and (service.exit_code != 0 or service.name not in ending))


def ready(service: Service, ending: set[str]) -> bool:
    """Whether it does its work, or has done it."""
    if service.name in ending:
        return service.state == "exited"
    return service.state == "running" and service.health in {"healthy", ""}


def cause(service: Service) -> str:
    """One line: the service, how it is, and the line of its log that tells most.

    Raises:
        DockerError: see `run`.
    """
    ended = service.state == "exited"
    state = f"exited with code {service.exit_code}" if ended else f"is {service.health or service.state}"
    said = compose("logs", "--no-color", "--no-log-prefix", "--tail", "50", service.name)
    return f"{service.name} {state}: {telling_line(said) or 'its log is empty'}; make logs shows more"


def telling_line(text: str) -> str:
    """The last line that speaks of an error, else the last one, cut to 300 characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [" ".join(line.split()) for line in plain.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines or [""])[-1][:300]


def _service(row: Mapping[str, Any]) -> Service:
    published = {port["TargetPort"]: port["PublishedPort"] for port in row.get("Publishers") or []}
    return Service(
        name=row["Service"],
        state=row["State"],
        health=row.get("Health", ""),
        exit_code=row.get("ExitCode", 0),
        published={target: port for target, port in published.items() if port},
    )
