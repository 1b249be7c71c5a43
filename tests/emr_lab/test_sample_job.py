"""The image job through `launch emr-run --target emr-lab`: from the bootstrap action to the report."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests import pictures
from tests.emr_lab.conftest import ROOT, STEP_S, Rehearsal


def test_the_job_from_bootstrap_action_to_report(rehearsal: Rehearsal, keras_file, tmp_path):
    pictures.write_set(tmp_path / "photos", classes=3, views=8)
    arguments = ["--target", "emr-lab", "--input", str(tmp_path / "photos"), "--output", str(tmp_path / "report")]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "launch",
            "emr-run",
            *arguments,
            "--model",
            str(keras_file),
            "--image-size",
            "32",
            "--yes",
        ],
        cwd=ROOT,
        env=os.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=2 * STEP_S,
    )
    assert ran.returncode == 0, ran.stdout
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    record = json.loads((tmp_path / "report" / "emr.json").read_text())
    found = rehearsal.emr.describe_cluster(ClusterId=record["cluster"])["Cluster"]
    assert found["Status"]["State"] == "TERMINATED"
    assert found["Status"]["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
    assert {"Key": "emrlab-wheelhouse", "Value": record["wheelhouse"]} in found["Tags"]
    step = rehearsal.emr.describe_step(ClusterId=record["cluster"], StepId=record["step"])["Step"]
    assert step["Status"]["State"] == "COMPLETED"
