"""Airflow's operators and sensors, as its system test for EMR has them: tests/clients/airflow/job_flow.py."""

from __future__ import annotations

from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab

PROGRAM = environments.HERE / "airflow" / "job_flow.py"


def test_airflow(lab: Lab, tmp_path: Path):
    python = environments.python("airflow") / "python"
    settings = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW_CONN_EMR_DEFAULT": "emr://",
    }
    said = lab.run(python, PROGRAM, BUCKET, cwd=tmp_path, **settings)
    done, cluster, step = said.splitlines()[-1].split()
    assert done == "done"
    assert "Pi is roughly 3.1" in lab.log(cluster, step, "stdout")
    assert "the cluster asked for emr-7.1.0 and runs on" in lab.log(cluster, step, "controller")
    version = environments.version("airflow", "apache-airflow-providers-amazon")
    lab.told(f"Airflow's provider {version}", "operators and sensors with the job flow of its system test")
