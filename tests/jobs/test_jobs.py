"""Every job of the catalogue gives on each target the output that it gives on this machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.jobs import runs
from tests.jobs.catalogue import JOBS, TARGETS, Example
from tests.jobs.runs import Ran

BY_NAME = {example.name: example for example in JOBS}


@pytest.fixture(scope="session")
def here(tmp_path_factory):
    """What a job comes to on this machine, run once."""

    @cache
    def run(name: str) -> Ran:
        return runs.run(BY_NAME[name], "local", tmp_path_factory.mktemp("local") / "job")

    return run


@pytest.fixture(autouse=True)
def up(request, target) -> None:
    """The lab that the target needs."""
    if target != "local":
        request.getfixturevalue({"lab": "lab", "emr-lab": "emr_lab"}[target])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("example", JOBS, ids=lambda example: example.name)
def test_the_output_is_the_same_as_on_this_machine(example: Example, target: str, here, tmp_path: Path):
    expected = here(example.name)
    ran = expected if target == "local" else runs.run(example, target, tmp_path / "job")
    same = (ran.exit_code, ran.output) == (example.exit_code, expected.output)
    runs.note(example.name, target, same=same)
    runs.publish()
    assert ran.exit_code == example.exit_code, ran.text
    assert ran.output == expected.output, ran.text
    assert ran.output or example.exit_code, ran.text
