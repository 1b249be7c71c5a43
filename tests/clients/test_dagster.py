"""dagster-aws's EmrJobRunner: tests/clients/dagster/job_runner.py."""

from __future__ import annotations

from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab

PROGRAM = environments.HERE / "dagster" / "job_runner.py"


def test_dagster(lab: Lab, tmp_path: Path):
    python = environments.python("dagster") / "python"
    assert "Pi is roughly 3.1" in lab.run(python, PROGRAM, lab.label, BUCKET, cwd=tmp_path)
    version = environments.version("dagster", "dagster-aws")
    lab.told(f"dagster-aws {version}", "`EmrJobRunner`: a cluster, a step, its logs")
