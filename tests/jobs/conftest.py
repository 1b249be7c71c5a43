"""A lab and an EMR lab of the session's own, each started when the first test asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests import labs
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
def project(request) -> Iterator[None]:
    """Names and ports of their own; gone with their volumes at the end."""
    with labs.project(request.session):
        yield


@pytest.fixture(scope="session")
def lab(project) -> None:
    """The Docker lab is up."""
    labs.said([sys.executable, "-m", "lab", "up"], timeout_s=UP_S)


@pytest.fixture(scope="session")
def emr_lab(project) -> None:
    """The EMR lab is up, and the Docker lab, whose memory it needs, is not."""
    labs.compose("stop", "--timeout", "5", "master", "worker-1", "worker-2", "history")
    labs.said([sys.executable, "-m", "lab", "emr-up"], timeout_s=UP_S)
