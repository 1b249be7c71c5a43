"""Docker and Docker Compose, called as a user would call them, each call with a deadline."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from base import env_files, paths
from base.errors import EmrlabError

ANSWER_TIMEOUT_S = 30
_OF_ANOTHER_PROJECT = ("COMPOSE_FILE", "COMPOSE_ENV_FILES")
_TELLING = re.compile(r"error|exception|fatal|refused|denied|cannot|can't|no space|not found|failed", re.IGNORECASE)
_FRAME = re.compile(r"at [\w.$<>/]+\(")  # of Java's stack


class DockerError(EmrlabError):
    """A command failed: the line that tells most of what it wrote.

    Attributes:
        output: all that it wrote.
    """

    def __init__(self, output: str) -> None:
        super().__init__(telling_line(output))
        self.output = output


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service's container.

    Attributes:
        name: of the service.
        state: running, exited, restarting and so on.
        health: healthy, unhealthy, starting, or empty for one without a health check.
        exit_code: of one that ended.
        published: port on this machine by the container's port; empty where it does not run.
        image: that it was made of, like emrlab/spark:default.
    """

    name: str
    state: str
    health: str = ""
    exit_code: int = 0
    published: Mapping[int, int] = field(default_factory=dict)
    image: str = ""


def forget_other_projects() -> None:
    """From now on this process, and what it starts, means the lab's own compose.yaml, whatever the shell names.

    A project of the user's own would be started, and removed with its volumes, in place of the lab. What the lab's
    `.env` names is meant for the lab.
    """
    for name in _OF_ANOTHER_PROJECT:
        os.environ.pop(name, None)


def setting(name: str) -> str | None:
    """A variable as Docker Compose sees it: from the environment, else from `.env`; None where it is empty."""
    return os.environ.get(name) or env_files.read_dotenv().get(name) or None


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
    shown: bool = False,
) -> str:
    """What `command`, started in the folder of the lab, prints; nothing where it is `shown` to the user instead.

    Raises:
        DockerError: it fails, is not there, or takes longer than `timeout_s`.
    """
    pipe = None if shown else subprocess.PIPE
    try:
        process = subprocess.Popen(
            command,
            cwd=paths.LAB,
            env=_own_variables() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            errors="replace",  # a service may log any bytes
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise DockerError(f"no {command[0]} on PATH") from error
    try:
        out, errors = process.communicate(timeout=timeout_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        # The whole group: `docker` starts the plugin that does the work.
        os.killpg(process.pid, signal.SIGTERM if isinstance(error, KeyboardInterrupt) else signal.SIGKILL)
        process.communicate()
        if isinstance(error, KeyboardInterrupt):
            raise
        raise DockerError(f"no answer to `{' '.join(command)}` within {timeout_s:.0f} s") from error
    if process.returncode:
        raise DockerError((errors or out or f"`{' '.join(command)}` failed, as it says above").strip())
    return out or ""


def call(
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


def exec_command(service: str, command: Sequence[str], *, variables: Sequence[str] = ()) -> list[str]:
    """The command line that runs `command` in a container of the lab: start it in the folder of the lab.

    The `variables`, names of this process's environment, are the command's too; their values stand in no command line.
    """
    handed = [word for name in variables for word in ("--env", name)]
    return ["docker", "compose", "exec", "-T", *handed, service, *command]


def services() -> list[Service]:
    """The project's containers, ended ones too; none where nothing was started.

    Raises:
        DockerError: see `run`.
    """
    # Compose before 2.21 prints one array, later versions one object a line.
    values = [json.loads(line) for line in call("ps", "--all", "--format", "json").strip().splitlines()]
    return [_service(row) for value in values for row in (value if isinstance(value, list) else [value])]


def telling_line(text: str) -> str:
    """The last line that speaks of an error, else the last one, cut to 300 characters."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [" ".join(line.split()) for line in plain.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line) and not _FRAME.match(line)]
    return (telling or lines or [""])[-1][:300]


def _own_variables() -> dict[str, str]:
    """This process's environment without the empty ones that `.env` sets, as `setting` has it: make exports such, and
    Compose takes an empty variable for one that is set.
    """
    given = env_files.read_dotenv()
    return {name: value for name, value in os.environ.items() if value or not given.get(name)}


def _service(row: Mapping[str, Any]) -> Service:
    published = {port["TargetPort"]: port["PublishedPort"] for port in row.get("Publishers") or []}
    return Service(
        name=row["Service"],
        state=row["State"],
        health=row.get("Health", ""),
        exit_code=row.get("ExitCode", 0),
        published={target: port for target, port in published.items() if port},
        image=row.get("Image", ""),
    )
