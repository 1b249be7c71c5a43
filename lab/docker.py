"""The lab's services as compose.yaml has them: their ports, when they are ready, why one is not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base import compose, paths
from base.compose import DockerError, Service
from base.errors import UsageError
from base.waiting import attempts

POLL_S = 0.5
IMAGES = "emrlab/"  # what the names of all the lab's images begin with


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port on this machine: the variable that sets it, its default, and the container's port behind it."""

    variable: str
    default: int
    target: int

    @property
    def setting(self) -> str:
        """What the variable says, in the environment or in `.env`."""
        return compose.setting(self.variable) or str(self.default)


def ports() -> list[Port]:
    """The ports that compose.yaml publishes, each written there as `${NAME_PORT:-default}:target`."""
    written = re.findall(r"\$\{([A-Z0-9_]+_PORT):-([0-9]+)\}:([0-9]+)", (paths.ROOT / "compose.yaml").read_text())
    return [Port(variable=variable, default=int(default), target=int(target)) for variable, default, target in written]


def written(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with every variable filled in: `name`, `services`, `volumes`.

    Raises:
        DockerError: see `compose.run`; compose.yaml or a variable in it is not right.
    """
    filled_in: dict[str, Any] = json.loads(compose.call("config", "--format", "json", environment=environment))
    return filled_in


def containers(project: str) -> list[str]:
    """The names of all containers of a Compose project, ended ones too.

    Raises:
        UsageError: one of them is not the lab's: Compose would take it for one of a former compose.yaml, and remove it;
            or it is another checkout's lab, which has other keys.
        DockerError: see `compose.run`.
    """
    mine = f"label=com.docker.compose.project={project}"
    names = compose.run(["docker", "ps", "--all", "--format", "{{.Names}}", "--filter", mine]).split()
    about = '{{.Config.Image}} {{index .Config.Labels "com.docker.compose.project.working_dir"}}'
    inspect = ["docker", "container", "inspect", "--format", about]
    lines = compose.run([*inspect, *names]).splitlines() if names else []
    for name, line in zip(names, lines, strict=True):
        image, _, folder = line.partition(" ")
        if f"/{IMAGES}" not in f"/{image}":  # an engine may have put its registry's name before it
            raise UsageError(
                f"the Compose project {project} has the container {name} of another program; unset "
                "COMPOSE_PROJECT_NAME, or give a name that is the lab's alone"
            )
        if folder and not _is_here(Path(folder)):
            raise UsageError(
                f"the Compose project {project} is the lab of {folder}; make down there, or let this one have its own: "
                f"COMPOSE_PROJECT_NAME={project}-2 in {paths.ENV_FILE}"
            )
    return names


def _is_here(folder: Path) -> bool:
    """Whether the lab that was started in `folder` is this one's: its folder is, or was one that is there no more."""
    try:
        return (folder / "compose.yaml").samefile(paths.LAB / "compose.yaml")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except PermissionError:  # another user's
        return False


def finishing(services: Mapping[str, Any]) -> set[str]:
    """Those of the `written` services that end when their work is done: others wait for their completion."""
    waited = [pair for service in services.values() for pair in (service.get("depends_on") or {}).items()]
    return {name for name, how in waited if how.get("condition") == "service_completed_successfully"}


def wait(names: Set[str], ending: set[str], *, timeout_s: float) -> list[Service]:
    """All services that there are, as soon as each of these `names` is healthy, and those that are `ending` are done.

    Of what else has been started in this project, and may have ended since, nobody waits for anything.

    Raises:
        DockerError: one has failed, or is not ready in time: which, and what its log says.
    """
    waiting = list[Service]()
    for _ in attempts(timeout_s=timeout_s, interval_s=POLL_S):
        services = compose.services()
        started = [service for service in services if service.name in names]
        for service in started:
            if failed(service, ending):
                raise DockerError(cause(service))
        waiting = [service for service in started if not ready(service, ending)]
        if started and not waiting:
            return services
    late = cause(waiting[0]) if waiting else "no container was started"
    raise DockerError(f"not ready after {timeout_s:.0f} s: {late}")


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
        DockerError: see `compose.run`.
    """
    ended = service.state == "exited"
    state = f"exited with code {service.exit_code}" if ended else f"is {service.health or service.state}"
    log = compose.call("logs", "--no-color", "--no-log-prefix", "--tail", "50", service.name)
    return f"{service.name} {state}: {compose.telling_line(log) or 'its log is empty'}; make logs shows more"
