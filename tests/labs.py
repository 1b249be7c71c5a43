"""Labs in Docker of a test session's own: their name and ports, and what is left of them at the end."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from base import paths
from base.paths import ROOT
from lab import docker

COMMAND_S = 240


def variables() -> dict[str, str]:
    """A name of its own for Docker Compose, and ports that are free."""
    return {
        "COMPOSE_PROJECT_NAME": f"emrlab-test-{secrets.token_hex(3)}",
        **{port.variable: "0" for port in docker.ports()},
    }


@contextmanager
def project(session: pytest.Session) -> Iterator[None]:
    """Let what is started meanwhile be a lab of the session's own; gone with its volumes at the end."""
    had_keys = paths.ENV_FILE.exists()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables().items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            every = ("--profile", "*")
            if session.testsfailed:
                sys.stderr.write(compose(*every, "logs", "--no-color", "--tail", "60", check=False))
            compose(*every, "down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)
            if not had_keys:
                paths.ENV_FILE.unlink(missing_ok=True)


def compose(*args: str, timeout_s: float = COMMAND_S, check: bool = True) -> str:
    """What `docker compose` prints, on both streams."""
    return said(["docker", "compose", *args], timeout_s=timeout_s, check=check)


def said(command: Sequence[str], *, timeout_s: float = COMMAND_S, check: bool = True, stdin: str = "") -> str:
    """What a command prints, on both streams; fails with its end where it ends with other than 0."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}"
    return done.stdout
