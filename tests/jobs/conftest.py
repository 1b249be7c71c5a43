"""A lab and an EMR lab of the session's own, each started when the first test asks for it."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from base import paths
from base.paths import ROOT
from lab import docker
from tests.jobs import runs
from tests.jobs.catalogue import TARGETS

UP_S = 1500


def pytest_collection_modifyitems(items):
    """One lab at a time: a target's tests are together. The first has its lab's start in it."""
    own = [item for item in items if "tests/jobs" in str(item.path)]
    for item in own:
        item.add_marker(pytest.mark.timeout(UP_S + runs.RUN_S))
    own.sort(key=lambda item: TARGETS.index(item.callspec.params["target"]))
    items[:] = [*(item for item in items if item not in own), *own]


@pytest.fixture(scope="session")
def project() -> Iterator[None]:
    """Names and ports of their own; gone with their volumes at the end."""
    own = {"COMPOSE_PROJECT_NAME": f"emrlab-test-{secrets.token_hex(3)}"}
    own |= {port.variable: "0" for port in docker.ports()}
    had_keys = paths.ENV_FILE.exists()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            _call(["docker", "compose", "--profile", "emr", "down", "--volumes", "--remove-orphans", "--timeout", "5"])
            if not had_keys:
                paths.ENV_FILE.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def lab(project) -> None:
    """The Docker lab is up."""
    _call([sys.executable, "-m", "lab", "up"])


@pytest.fixture(scope="session")
def emr_lab(project) -> None:
    """The EMR lab is up, and the Docker lab, whose memory it needs, is not."""
    _call(["docker", "compose", "stop", "--timeout", "5", "master", "worker-1", "worker-2", "history"])
    _call([sys.executable, "-m", "lab", "emr-up"])


def _call(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=UP_S)
    assert done.returncode == 0, done.stdout + done.stderr
