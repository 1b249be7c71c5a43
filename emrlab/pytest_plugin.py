"""Fixtures for tests that need S3, Spark on it or EMR: `pytest --emrlab` starts a lab for them, in Docker.

`emrlab_s3`, `emrlab_spark` and `emrlab_emr` last for the session. Without the flag tests that ask for one are skipped,
and nothing is started. Sessions at the same time, and workers of pytest-xdist, have buckets and prefixes of their own.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emrlab import lab_of_tests
from emrlab.lab_of_tests import Lab, LabError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LAB = pytest.StashKey[Lab]()
BUCKET = "emrlab"  # the lab's own, in which the nodes' key may read and write; tests hold it to base/defaults.py
CLUSTERS_END_S, POLL_S = 120.0, 0.5


@dataclass(frozen=True, kw_only=True)
class EmrlabS3:
    """The lab's S3, and a bucket that is this session's.

    Attributes:
        client: boto3's.
        bucket: its name.
        environment: AWS_* variables, for clients that the tested code makes itself.
    """

    client: Any
    bucket: str
    environment: dict[str, str] = field(repr=False)

    def uri(self, key: str = "") -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{key}"


@dataclass(frozen=True, kw_only=True)
class EmrlabEmr:
    """The EMR lab: an endpoint that speaks EMR's API, and places in its S3 that are this session's.

    Attributes:
        client: boto3's, of EMR; clusters that it starts end with the session.
        s3: boto3's, of S3, with the laptop's key: it writes `artifacts` and `inputs`, and reads `outputs` and `logs`.
        artifacts, inputs: s3:// prefixes for scripts and data, which steps may read.
        outputs: s3:// prefix that steps may write.
        logs: s3:// prefix for a cluster's LogUri.
        release_label: of its nodes.
        environment: AWS_* variables, for clients that the tested code makes itself.
    """

    client: Any
    s3: Any
    artifacts: str
    inputs: str
    outputs: str
    logs: str
    release_label: str
    environment: dict[str, str] = field(repr=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The flags."""
    group = parser.getgroup("emrlab", "S3, Spark and EMR in Docker")
    group.addoption("--emrlab", action="store_true", help="start a lab for the tests that ask for one; needs Docker")
    group.addoption(
        "--emrlab-keep",
        action="store_true",
        help=f"with --emrlab: use the lab {lab_of_tests.KEPT}, and leave it up for the next session",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say which lab it is; nothing is started before a test asks."""
    if not config.getoption("--emrlab"):
        return
    given = getattr(config, "workerinput", {}).get("emrlab")  # of the session that this worker of xdist is of
    if given:
        config.stash[LAB] = Lab(folder=Path(given["folder"]), project=given["project"], kept=given["kept"])
    else:
        config.stash[LAB] = lab_of_tests.make(kept=bool(config.getoption("--emrlab-keep")))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist's: tell a worker which lab it is."""
    if lab := node.config.stash.get(LAB, None):
        node.workerinput["emrlab"] = {"folder": str(lab.folder), "project": lab.project, "kept": lab.kept}


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the session's lab, when all of its workers have ended."""
    lab = config.stash.get(LAB, None)
    if lab and not hasattr(config, "workerinput"):
        try:
            lab.end()
        except LabError as error:
            sys.stderr.write(f"emrlab: the lab {lab.project} stays: {error}\n")


@pytest.fixture(scope="session")
def emrlab_s3(pytestconfig: pytest.Config) -> Iterator[EmrlabS3]:
    """S3 with a bucket of this session's, which goes with all that is in it."""
    lab = _started(pytestconfig, "up", "--s3-only")
    variables = lab.variables(root=True)
    client = _client("s3", variables)
    bucket = f"pytest-{secrets.token_hex(6)}"
    client.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": variables["AWS_DEFAULT_REGION"]}
    )
    yield EmrlabS3(client=client, bucket=bucket, environment=variables)
    if lab.kept:  # else it goes as a whole
        _empty(client, bucket, "")
        client.delete_bucket(Bucket=bucket)


@pytest.fixture(scope="session")
def emrlab_spark(emrlab_s3: EmrlabS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A SparkSession of this machine that reads and writes `emrlab_s3.uri(…)` as EMR's does: S3A, magic committer."""
    from pyspark import SparkContext  # noqa: PLC0415 - a second; most tests ask for no Spark
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if SparkContext._gateway is not None:
        pytest.fail("this process has a SparkSession already, without s3://; let emrlab_spark be the first one")
    try:
        settings = json.loads(lab_of_tests.settings_of_spark(emrlab_s3.environment))
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in emrlab_s3.environment.items():
            patch.setenv(name, value)  # for Java, where S3A reads the key; no setting has it
        patch.setenv("PYSPARK_PYTHON", sys.executable)  # of tasks; the setting of this name is spark-submit's
        for name in ("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_REMOTE"):  # of another Spark
            patch.delenv(name, raising=False)
        builder = SparkSession.builder.appName("pytest")
        for key, value in settings.items():
            builder = builder.config(key, value)
        session = builder.config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("spark"))).getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def emrlab_emr(pytestconfig: pytest.Config) -> Iterator[EmrlabEmr]:
    """The EMR lab, whose clusters of this session end with it, and what they wrote goes."""
    lab = _started(pytestconfig, "emr-up")
    variables = lab.variables(root=False)
    emr, started = _client("emr", variables), list[str]()
    emr.meta.events.register("after-call.emr.RunJobFlow", lambda parsed, **_: started.append(parsed.get("JobFlowId")))
    own = f"pytest-{secrets.token_hex(6)}"
    prefixes = {"artifacts": "artifacts", "inputs": "images", "outputs": "results", "logs": "emrlab-logs"}
    yield EmrlabEmr(
        client=emr,
        s3=_client("s3", variables),
        release_label=emr.list_release_labels()["ReleaseLabels"][0],
        environment=variables,
        **{name: f"s3://{BUCKET}/{prefix}/{own}" for name, prefix in prefixes.items()},
    )
    if lab.kept:  # else it goes as a whole
        end_clusters(emr, [cluster for cluster in started if cluster])
        root = _client("s3", lab.variables(root=True))
        for prefix in prefixes.values():
            _empty(root, BUCKET, f"{prefix}/{own}")


def end_clusters(emr: Any, ids: Sequence[str]) -> None:
    """Let these clusters end, protected ones too, and wait for their ends: until then they write logs."""
    for cluster in ids:
        about = emr.describe_cluster(ClusterId=cluster)["Cluster"]
        if about.get("TerminationProtected") and not _has_ended(about):
            emr.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=False)
        emr.terminate_job_flows(JobFlowIds=[cluster])
    until = time.monotonic() + CLUSTERS_END_S
    for cluster in ids:
        while not _has_ended(emr.describe_cluster(ClusterId=cluster)["Cluster"]) and time.monotonic() < until:
            time.sleep(POLL_S)


def _has_ended(about: dict[str, Any]) -> bool:
    return str(about["Status"]["State"]).startswith("TERMINATED")


def _started(config: pytest.Config, *command: str) -> Lab:
    lab = config.stash.get(LAB, None)
    if lab is None:
        pytest.skip("needs pytest --emrlab, which starts a lab in Docker")
    try:
        lab.start(*command)
    except LabError as error:
        pytest.fail(str(error), pytrace=False)
    return lab


def _client(service: str, variables: dict[str, str]) -> Any:
    """boto3's, of the lab, whatever this machine's own settings for AWS and proxies are."""
    import boto3  # noqa: PLC0415 - half a second; most tests ask for no client
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(
        service,
        endpoint_url=variables[f"AWS_ENDPOINT_URL_{service.upper()}"],
        region_name=variables["AWS_DEFAULT_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(proxies={}),  # it is on this machine
    )


def _empty(client: Any, bucket: str, prefix: str) -> None:
    """Remove the objects below `prefix`, and what is half uploaded."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for row in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=row["Key"])
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for row in page.get("Uploads", ()):
            client.abort_multipart_upload(Bucket=bucket, Key=row["Key"], UploadId=row["UploadId"])
