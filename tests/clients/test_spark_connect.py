"""Clients over a session of Spark Connect: Spark's own of one minor version before, and Ibis."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from base import releases
from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab
from tests.emr_lab.conftest import compose, wait_for

# Two drivers and executors of two clients have room beside each other.
SMALL = {"spark.executor.cores": "1", "spark.executor.memory": "1g", "spark.executor.memoryOverhead": "512m"}
OPERATIONS = "GetSession, GetSessionEndpoint, RunJobFlow, StartSession, by boto3; then Spark Connect's"
SUMMED = {"apple": 7, "kiwi": 5}


@pytest.fixture
def variables(lab: Lab, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Those of a client, of a session that was opened as AWS's guide has it."""
    emr = lab.client("emr")
    nodes = {"InstanceType": "m5.xlarge"}
    groups = [
        {"InstanceRole": "MASTER", "InstanceCount": 1, **nodes},
        {"InstanceRole": "CORE", "InstanceCount": 2, **nodes},
    ]
    instances = {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True}
    cluster = lab.start(Instances=instances, SessionEnabled=True)
    engine = [{"Classification": "spark-defaults", "Properties": SMALL}]
    session = emr.start_session(ClusterId=cluster, Name="for a client", EngineConfigurations=engine)["Id"]
    of_session = {"ClusterId": cluster, "SessionId": session}
    wait_for(lambda: emr.get_session(**of_session)["Session"], lambda found: found["State"] in {"IDLE", "FAILED"})
    token = emr.get_session_endpoint(**of_session)["AuthToken"]
    with urllib.request.urlopen(f"{lab.environment['AWS_ENDPOINT_URL_EMR']}/sessions/ca.pem") as answer:  # noqa: S310
        (tmp_path / "ca.pem").write_bytes(answer.read())
    host = compose("port", "sessions", "8443").strip()
    yield {
        "SPARK_REMOTE": f"sc://{host}/;use_ssl=true;x-aws-proxy-auth={token};authorization={session}",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem"),
    }
    emr.terminate_session(**of_session)


@pytest.mark.parametrize("lab", ["emr-lab"], indirect=True)
def test_spark_connect(lab: Lab, variables: dict[str, str], tmp_path: Path):
    def ask(client: str, program: str) -> dict[str, object]:
        python, path = environments.python(client) / "python", environments.HERE / client / program
        place = f"s3://{BUCKET}/results/clients/{client}"
        said: dict[str, object] = json.loads(lab.run(python, path, place, cwd=tmp_path, **variables))
        return said

    spark = releases.find(lab.label).spark
    assert ask("spark_connect", "spark_queries.py") == {
        "server": spark,
        "summed": SUMMED,
        "squares": 332833500,
        "written": 3,
    }
    before = environments.version("spark_connect", "pyspark")
    assert minor(before) == minor(spark) - 1
    does = f"SQL, DataFrames, Arrow both ways, a table, at a server of Spark {spark}"
    lab.has_row(f"pyspark[connect] {before}", does, OPERATIONS)

    assert ask("ibis", "ibis_queries.py") == {"server": spark, "summed": SUMMED, "written": 2}
    version = environments.version("ibis", "ibis-framework")
    lab.has_row(f"Ibis {version}", "rows from here, an aggregation, a table written and read", OPERATIONS)


def minor(version: str) -> int:
    return int(version.split(".")[1])
