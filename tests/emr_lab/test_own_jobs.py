"""A job of a user's own in the EMR lab, by `emr-run`: the same folder as in the lab."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from base.paths import ROOT
from tests import own_job
from tests.emr_lab.conftest import STEP_S, EmrLab


def launch(job: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch", "emr-run", "--target", "emr-lab", "--yes", str(job), "--", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=STEP_S)


@pytest.mark.parametrize("code", [0, 7])
def test_modules_files_variables_inputs_and_outputs(emr_lab: EmrLab, tmp_path, code):
    job = own_job.write(tmp_path / "own")
    ran = launch(job, str(code))
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout.count(f"{own_job.SAID} 0\n") == 1
    assert "estimate    nothing, the EMR lab is free; on AWS the same run would cost $0." in ran.stdout
    if code:
        assert ran.stderr.splitlines()[-1].endswith("; the job's exit code is 7")
        assert not (job / "out").exists()
    else:
        assert own_job.written(job) == own_job.WRITTEN
        record = ROOT / re.findall(r"^record +(\S+)$", ran.stdout, re.MULTILINE)[0]
        assert json.loads(record.read_text())["billed"] is False
        shutil.rmtree(record.parent)
