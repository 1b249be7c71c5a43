"""An EMR lab of the session's own, and a client that knows nothing of it but boto3 and two addresses."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from base import env_files, releases
from base.paths import ROOT, SAMPLE
from tests import labs

BUCKET = "emrlab"
# Master and workers of the default profile are not wanted.
SERVICES = ("minio", "init", "history", "primary", "core-1", "core-2", "emr", "sessions")
UP_S = 2400  # with the images' build, on a machine that has none
STEP_S = 600
LABEL = releases.find(os.environ.get("RELEASE")).label


def pytest_collection_modifyitems(items):
    """The first test's time has the start in it; everything in here that waits has a deadline of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(UP_S + 300))


def compose(*args: str, timeout_s: float = labs.COMMAND_S, check: bool = True) -> str:
    """What `docker compose` prints of the EMR lab, on both streams."""
    return labs.compose("--profile", "emr", *args, timeout_s=timeout_s, check=check)


def step(name: str, *args: str) -> dict[str, Any]:
    """A step that lets the next ones run, whatever its end."""
    run = {"Jar": "command-runner.jar", "Args": list(args)}
    return {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": run}


def spark_step(
    name: str, script: str, *args: str, mode: str = "client", memory: str = "1g", once: bool = False
) -> dict[str, Any]:
    """A step that submits a script to two small executors; `once`: a task that fails is not tried again."""
    shape = ["--deploy-mode", mode, "--num-executors", "2", "--executor-cores", "1", "--executor-memory", memory]
    conf = ["--conf", "spark.dynamicAllocation.enabled=false", *["--conf", "spark.task.maxFailures=1"] * once]
    return step(name, "spark-submit", *shape, *conf, script, *args)


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


@dataclass(frozen=True)
class EmrLab:
    """What a user of the EMR lab has: two addresses and a key."""

    keys: dict[str, str] = field(repr=False)

    @property
    def emr(self) -> Any:
        """A client of the endpoint, wherever it is published now."""
        return self._client("emr", "emr:5000")

    @property
    def environment(self) -> dict[str, str]:
        """The AWS_* variables by which the laptop reaches the lab's S3."""
        return {
            "AWS_ENDPOINT_URL_S3": f"http://{compose('port', 'minio', '9000').strip()}",
            "AWS_ACCESS_KEY_ID": self.keys["DATA_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": self.keys["DATA_SECRET_ACCESS_KEY"],
            "AWS_REGION": "eu-west-3",
        }

    @cached_property
    def s3(self) -> Any:
        return self._client("s3", "minio:9000")

    def put(self, key: str, content: bytes) -> str:
        """An object; its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def start(self, *steps: dict[str, Any], keep: bool = False, **more: Any) -> str:
        """RunJobFlow, as AWS's own examples have it; the cluster's id."""
        nodes = {"InstanceType": "m5.xlarge"}
        groups = [
            {"InstanceRole": "MASTER", "InstanceCount": 1, **nodes},
            {"InstanceRole": "CORE", "InstanceCount": 2, **nodes},
        ]
        applications = ["Spark"] if LABEL.startswith("emr-spark-") else ["Hadoop", "Spark"]
        asked = {
            "Name": "test",
            "ReleaseLabel": LABEL,
            "Applications": [{"Name": name} for name in applications],
            "LogUri": f"s3://{BUCKET}/emrlab-logs/",
            "ServiceRole": "EMR_DefaultRole",
            "JobFlowRole": "EMR_EC2_DefaultRole",
            "Instances": {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": keep},
            "Steps": list(steps),
            **more,
        }
        return str(self.emr.run_job_flow(**asked)["JobFlowId"])

    def wait(self, cluster: str, *states: str) -> dict[str, Any]:
        """Until the cluster is in one of the states; its Status."""

        def found() -> dict[str, Any]:
            return dict(self.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"])

        return wait_for(found, lambda status: status["State"] in states)

    def wait_step(self, cluster: str, name: str, *states: str) -> dict[str, Any]:
        """Until the step is in one of the states; the step."""
        return wait_for(lambda: self.step(cluster, name), lambda step: step["Status"]["State"] in states)

    def step(self, cluster: str, name: str) -> dict[str, Any]:
        pages = self.emr.get_paginator("list_steps").paginate(ClusterId=cluster)
        return next(step for page in pages for step in page["Steps"] if step["Name"] == name)

    def get(self, key: str) -> bytes:
        """An object's content."""
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def log(self, name: str) -> str:
        """The text of a log below the LogUri."""
        return gzip.decompress(self.get(f"emrlab-logs/{name}.gz")).decode()

    def everything(self, cluster: str) -> str:
        """Why a cluster ended, and what its bootstrap actions and steps said."""
        logs = [
            name
            for name in self.names(f"emrlab-logs/{cluster}/")
            if "/containers/" not in name and "hadoop-" not in name
        ]
        said = [f"{name}:\n{gzip.decompress(self.get(name)).decode()[-2000:]}" for name in logs]
        status = self.emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
        return "\n".join([str(status["StateChangeReason"]), *said])

    def names(self, prefix: str) -> list[str]:
        """The keys with a prefix."""
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for each in listed.get("Contents", [])]

    def _client(self, service: str, port: str) -> Any:
        address = compose("port", *port.split(":")).strip()
        return boto3.client(
            service,
            endpoint_url=f"http://{address}",
            region_name="eu-west-3",
            aws_access_key_id=self.keys["DATA_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["DATA_SECRET_ACCESS_KEY"],
            config=Config(request_checksum_calculation="when_required", response_checksum_validation="when_required"),
        )


def wait_for(find: Callable[[], dict[str, Any]], is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is found, as soon as it is so; fails with it after a deadline."""
    end = time.monotonic() + STEP_S
    while True:
        found = find()
        if is_so(found):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.5)


@pytest.fixture(scope="session")
def emr_lab(request) -> Iterator[EmrLab]:
    """Up under a name of its own, on ports that were free; gone with its volumes at the end."""
    with labs.project(request.session):
        labs.said(["sh", "docker/base"], timeout_s=UP_S)
        compose("build", timeout_s=UP_S)
        compose("up", "--detach", "--wait", *SERVICES, timeout_s=UP_S)
        yield EmrLab(env_files.read_dotenv())


@pytest.fixture(scope="session")
def emr_lab_output(emr_lab: EmrLab, keras_file, tmp_path_factory) -> Path:
    """The folder that a whole `emr-run` left here; its results are in the lab, in the folder's place."""
    folder = tmp_path_factory.mktemp("out") / "emr-lab"
    said = launch("emr-run", "emr-lab", folder, keras_file, "--yes")
    assert "estimate    nothing, the EMR lab is free; on AWS the same run would cost $0." in said
    assert said.count("images      240: 240 extracted, 0 already known\n") == 1
    return folder
