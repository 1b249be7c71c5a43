"""The sample in every world: this machine's own Spark, the lab's, and the EMR lab."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from base.paths import ROOT, SAMPLE
from launch import transfer
from pipeline import store
from tests import contract
from tests.emr_lab.conftest import BUCKET, STEP_S, EmrLab, compose

STANDALONE = ("master", "worker-1", "worker-2")


def launch(command: str, target: str, output: Path, model: Path, *more: str) -> str:
    """What `python -m launch COMMAND` on the sample says, as a user types it."""
    flags = ["--target", target, "--input", str(SAMPLE), "--output", str(output), "--model", str(model)]
    ran = subprocess.run(
        [sys.executable, "-m", "launch", command, *flags, "--image-size", "32", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=2 * STEP_S,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


@pytest.fixture(scope="module")
def emr_lab_output(emr_lab: EmrLab, keras_file, tmp_path_factory) -> Path:
    """The folder that a whole `emr-run` left here; its results are in the lab, in the folder's place."""
    folder = tmp_path_factory.mktemp("out") / "emr-lab"
    said = launch("emr-run", "emr-lab", folder, keras_file, "--yes")
    assert "estimate    nothing, the EMR lab is free; on AWS the same run would cost $0." in said
    assert said.count("images      240: 240 extracted, 0 already known\n") == 1
    return folder


def test_from_the_bootstrap_action_to_the_report(emr_lab: EmrLab, emr_lab_output):
    assert (emr_lab_output / "report.html").stat().st_size > 10_000
    record = json.loads((emr_lab_output / "emr.json").read_text())
    assert record["billed"] is False
    found = emr_lab.emr.describe_cluster(ClusterId=record["cluster"])["Cluster"]
    assert found["Status"]["State"] == "TERMINATED"
    assert found["Status"]["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
    assert {"Key": "emrlab-wheelhouse", "Value": record["wheelhouse"]} in found["Tags"]
    step = emr_lab.emr.describe_step(ClusterId=record["cluster"], StepId=record["step"])["Step"]
    assert step["Status"]["State"] == "COMPLETED"


def test_the_same_results_by_the_same_package(emr_lab: EmrLab, emr_lab_output, keras_file, tmp_path, monkeypatch):
    launch("run", "local", tmp_path / "local", keras_file)
    compose("up", "--detach", "--wait", *STANDALONE)
    try:
        launch("run", "lab", tmp_path / "standalone", keras_file)
    finally:
        compose("stop", *STANDALONE)

    for name, value in emr_lab.environment.items():
        monkeypatch.setenv(name, value)
    store.open_store.cache_clear()
    listed = len(list(SAMPLE.rglob("*.jpg")))
    local = contract.check(str(tmp_path / "local"), listed=listed)
    assert local.run["cluster"]["master"].startswith("local")
    for folder, master in ((tmp_path / "standalone", "spark://"), (emr_lab_output, "yarn")):
        there = contract.check(f"s3://{BUCKET}/results/{transfer.place(folder)}", listed=listed)
        assert there.run["cluster"]["master"].startswith(master)
        contract.assert_same(local, there)
        for part in ("package", "extraction"):
            assert there.run["asked"][part] == local.run["asked"][part]
        assert there.run["model"] == local.run["model"]
