"""The labs that a client drives: by AWS_* variables alone, as it would drive Amazon.

`stand-in` is the endpoint in this process, with moto's S3 and machines that run small scripts in place of Spark: it
shows the API. `emr-lab` is the lab in Docker, where Spark runs; one for all tests.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from base.defaults import BUCKET
from base.paths import ROOT
from emr_lab.endpoint import commands
from emr_lab.endpoint.operations.table import OPERATIONS
from tests.emr_lab.conftest import LABEL, UP_S, compose, emr_lab, wait_for  # noqa: F401 - a fixture of its tests
from tests.unit.fake_nodes import REGION, Fake, FakeNode, fake_lab

PAGE = ROOT / "docs" / "emr-lab.md"
CLIENT_S = 600
MACHINES_S = 2  # until the stand-in's are up: mrjob adds its first step while a cluster starts
# What stands in for Spark's programs and the nodes' `aws s3 cp`, which has the object from moto.
SPARK = {
    "spark-submit": 'echo "spark-submit $*"',
    "spark-example": 'exec run-example "$@"',
    "run-example": 'echo "Pi is roughly 3.14"',
    "aws": 'exec curl --silent --fail --output "$5" "{s3}/${{4#s3://}}"',
}
SPARK_BIN = PurePosixPath("/usr/lib/spark/bin")


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab as a client sees it.

    Attributes:
        real: whether steps run on Spark.
        environment: a client's variables, and no others.
        label: of its release.
        operations: those of EMR's API that were answered; the stand-in alone keeps them.
    """

    real: bool
    environment: dict[str, str] = field(repr=False)
    label: str = LABEL
    operations: set[str] = field(default_factory=set)

    def client(self, service: str) -> Any:
        """boto3's, with what the environment says."""
        return boto3.client(
            service,
            endpoint_url=self.environment[f"AWS_ENDPOINT_URL_{service.upper()}"],
            region_name=REGION,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )

    def put(self, key: str, content: bytes) -> str:
        """An object; its URI."""
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def log(self, cluster: str, step: str, name: str) -> str:
        """A step's stdout, stderr or controller."""
        found = self.client("s3").get_object(Bucket=BUCKET, Key=f"emrlab-logs/{cluster}/steps/{step}/{name}.gz")
        return gzip.decompress(found["Body"].read()).decode()

    def start(self, **changes: Any) -> str:
        """A cluster that is kept, with a primary alone; its id. For clients that want one to be there."""
        emr = self.client("emr")
        primary = {"InstanceRole": "MASTER", "InstanceCount": 1, "InstanceType": "m5.xlarge"}
        asked = {
            "Name": "for a client",
            "ReleaseLabel": self.label,
            "Applications": [{"Name": "Spark"}],
            "LogUri": f"s3://{BUCKET}/emrlab-logs/",
            "ServiceRole": "EMR_DefaultRole",
            "JobFlowRole": "EMR_EC2_DefaultRole",
            "Instances": {"InstanceGroups": [primary], "KeepJobFlowAliveWhenNoSteps": True},
        }
        cluster = str(emr.run_job_flow(**asked | changes)["JobFlowId"])
        wait_for(lambda: emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"], _is_ready)
        return cluster

    def run(self, *command: str | Path, cwd: Path, **variables: str) -> str:
        """What a client prints on stdout; fails with all that it says where it ends with other than 0."""
        ran = subprocess.run(
            command,
            cwd=cwd,
            env=self.environment | {"HOME": str(cwd)} | variables,
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
            check=False,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout[-3000:]}{ran.stderr[-6000:]}"
        return ran.stdout

    def end(self) -> None:
        """No cluster has the nodes any more."""
        emr = self.client("emr")
        alive = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
        for each in emr.list_clusters(ClusterStates=alive)["Clusters"]:
            emr.set_termination_protection(JobFlowIds=[each["Id"]], TerminationProtected=False)
            emr.terminate_job_flows(JobFlowIds=[each["Id"]])
        wait_for(lambda: emr.list_clusters(ClusterStates=[*alive, "TERMINATING"]), lambda found: not found["Clusters"])

    def told(self, client: str, does: str) -> None:
        """Hold the client's row of docs/emr-lab.md to what the stand-in saw it call."""
        if not self.real:
            self.has_row(client, does, ", ".join(sorted(self.operations)))

    def has_row(self, client: str, does: str, operations: str) -> None:
        """Hold docs/emr-lab.md to a row of its table of clients."""
        row = f"| {client} | {does} | {operations} |"
        assert row in PAGE.read_text().splitlines(), f"docs/emr-lab.md has no row\n{row}"


def pytest_collection_modifyitems(items):
    """The first test in Docker has the lab's start in its time; what waits here has a deadline of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(UP_S + CLIENT_S if "emr-lab" in item.name else CLIENT_S))


@pytest.fixture(params=["stand-in", "emr-lab"])
def lab(request, tmp_path, monkeypatch) -> Iterator[Lab]:
    """Each of the two; both take clusters of every release of Amazon's."""
    if request.param == "emr-lab":
        docker = request.getfixturevalue("any_release_lab")
        address = f"http://{compose('port', 'emr', '5000').strip()}"
        keys = {name: value for name, value in docker.environment.items() if name != "AWS_REGION"}
        made = Lab(real=True, environment=_variables(tmp_path) | keys | {"AWS_ENDPOINT_URL_EMR": address})
        yield made
        made.end()
    else:
        with _stand_in(tmp_path, monkeypatch) as made:
            yield made


@pytest.fixture(scope="session")
def any_release_lab(request) -> Iterator[Any]:
    """The lab in Docker, told to take every release."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMR_ANY_RELEASE", "1")
        yield request.getfixturevalue("emr_lab")


@contextmanager
def _stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    root = folder / "lab"
    root.mkdir()
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    s3 = f"http://{host}:{port}"
    requests.post(f"{s3}/moto-api/reset", timeout=30)  # what other tests left: all servers share it
    with fake_lab(root, monkeypatch) as fake:
        for name, script in SPARK.items():
            (root / "bin" / name).write_text(f"#!/bin/sh\n{script.format(s3=s3)}\n")
            (root / "bin" / name).chmod(0o755)
        operations = _watch(fake, monkeypatch)
        addresses = {"AWS_ENDPOINT_URL_EMR": fake.url, "AWS_ENDPOINT_URL_S3": s3}
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        made = Lab(real=False, environment=_variables(folder) | addresses | keys, operations=operations)
        made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        fake.endpoint_state.s3 = made.client("s3")
        yield made
        made.end()
    moto.stop()


def _watch(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Take every release, run Spark's programs wherever they are called, and return the operations as they come."""
    seen = set[str]()

    def watched(name: str) -> Any:
        def do(*arguments: Any) -> Any:
            seen.add(name)
            return OPERATIONS[name](*arguments)

        return do

    command = commands.step_command
    monkeypatch.setattr("emr_lab.endpoint.responses.OPERATIONS", {name: watched(name) for name in OPERATIONS})

    def by_name(*arguments: Any) -> list[str]:
        program, *rest = command(*arguments)
        return [PurePosixPath(program).name if PurePosixPath(program).parent == SPARK_BIN else program, *rest]

    monkeypatch.setattr(commands, "step_command", by_name)
    start_daemons = FakeNode.start_daemons

    def start_slowly(node: FakeNode, **how: bool) -> None:
        time.sleep(MACHINES_S)
        start_daemons(node, **how)

    monkeypatch.setattr(FakeNode, "start_daemons", start_slowly)
    fake.endpoint_state.capabilities = replace(fake.endpoint_state.capabilities, any_release=True)
    return seen


def _variables(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _is_ready(status: dict[str, Any]) -> bool:
    assert not status["State"].startswith("TERMINAT"), status
    return status["State"] in {"RUNNING", "WAITING"}
