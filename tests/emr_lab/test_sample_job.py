"""The sample in every world: this machine's own Spark, the lab's, and the EMR lab."""

from __future__ import annotations

import json

from base.paths import SAMPLE
from launch import transfer
from pipeline import store
from tests import contract
from tests.emr_lab.conftest import BUCKET, EmrLab, compose, launch

STANDALONE = ("master", "worker-1", "worker-2")


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
