"""The request: against botocore's model of EMR, and as JSON that a person can read in snapshots/."""

import json
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.validate import ParamValidator

from base import releases, sizing
from launch import submit, targets
from launch.emr import request
from launch.emr.bootstrap import imported_on_nodes
from launch.emr.request import Cluster, NodeArtifacts
from pipeline.settings import Settings, from_args

ROOT = Path(__file__).parents[2]
SNAPSHOTS = Path(__file__).parent / "snapshots"
SETTINGS = Settings(
    input="s3://bucket/images/fruits",
    output="s3://bucket/results/fruits",
    model="s3://bucket/artifacts/models/0123/lite0.tflite",
)
ARTIFACTS = NodeArtifacts(
    wheelhouse="s3://bucket/artifacts/wheelhouse/wheelhouse-0123.tar",
    wheelhouse_sha256="0123",
    bootstrap="s3://bucket/artifacts/bootstrap/bootstrap-4567.sh",
    imports=imported_on_nodes(),
)
ONE_SHOT = Cluster(bucket="bucket", region="eu-west-3", release="emr-spark-8.1.0", subnets=("subnet-0a", "subnet-0b"))
CASES = {
    "one-shot": ONE_SHOT,
    "kept": replace(ONE_SHOT, keep=True),
    "spot": replace(ONE_SHOT, spot=True, workers=4),
    "graviton-7.14": replace(ONE_SHOT, release="emr-7.14.0", instance_type="m6g.2xlarge"),
    "emr-lab": replace(ONE_SHOT, subnets=()),
}


def settings(cluster, given=None):
    given = given or {}
    shape = request.executors(cluster, given)
    return targets.emr(shape, given, own=targets.IMAGES, bucket=cluster.bucket, region=cluster.region)


def asked(cluster):
    arguments = submit.arguments(
        "s3://bucket/main.py", archive="s3://bucket/pipeline.zip", job_args=SETTINGS.to_args(), conf=settings(cluster)
    )
    step = request.spark_step(arguments, keep=cluster.keep, limit_s=1234)
    return request.run_job_flow(cluster, ARTIFACTS, python="3.11", step=step)


@pytest.fixture(scope="module")
def model():
    return boto3.client("emr", region_name="eu-west-3").meta


@pytest.mark.parametrize("name", CASES)
def test_botocore_takes_the_request(name, model):
    shape = model.service_model.operation_model("RunJobFlow").input_shape
    report = ParamValidator().validate(asked(CASES[name]), shape)
    assert not report.has_errors(), report.generate_report()


def test_botocore_refuses_what_is_no_request(model):
    shape = model.service_model.operation_model("RunJobFlow").input_shape
    broken = asked(ONE_SHOT)
    broken["Instances"]["InstanceGroup"] = []
    assert ParamValidator().validate(broken, shape).has_errors()


@pytest.mark.parametrize("name", CASES)
def test_the_request_is_the_one_that_was_read(name):
    """After a change that is meant: remove the file, run this twice, and read what git shows."""
    path = SNAPSHOTS / f"{name}.json"
    found = asked(CASES[name])
    # Spark's settings and their reasons are read in `emr-plan` and held by other tests.
    step = found["Steps"][0]["HadoopJarStep"]
    spark, main = (step["Args"].index(each) for each in ("spark-submit", "s3://bucket/main.py"))
    step["Args"] = [*step["Args"][: spark + 1], "…", *step["Args"][main:]]
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if not path.exists():
        path.write_text(text)
        pytest.fail(f"{path.name} was written: read it")
    assert text == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_no_cluster_outlives_its_use(name):
    cluster, found = CASES[name], asked(CASES[name])
    assert found["AutoTerminationPolicy"] == {"IdleTimeout": 600}
    assert found["Instances"]["KeepJobFlowAliveWhenNoSteps"] is cluster.keep
    assert found["Instances"]["TerminationProtected"] is False
    assert found["Steps"][0]["ActionOnFailure"] == ("CONTINUE" if cluster.keep else "TERMINATE_CLUSTER")


@pytest.mark.parametrize("name", CASES)
def test_what_amazons_policy_and_emr_down_look_for_is_there(name):
    tags = {tag["Key"]: tag["Value"] for tag in asked(CASES[name])["Tags"]}
    assert tags["emrlab"] == "true"
    assert tags["for-use-with-amazon-emr-managed-policies"] == "true"
    assert tags["emrlab-nodes"] == f"{CASES[name].workers} x {CASES[name].instance_type}"


@pytest.mark.parametrize("label", releases.labels())
def test_each_release_gets_applications_that_it_has(label):
    wanted = ("Spark",) if label.startswith("emr-spark-8.") else ("Hadoop", "Spark")
    assert request.applications(label) == wanted


@pytest.mark.parametrize("name", CASES)
def test_emr_may_choose_among_all_subnets(name):
    assert asked(CASES[name])["Instances"].get("Ec2SubnetIds", []) == list(CASES[name].subnets)


@pytest.mark.parametrize("name", CASES)
def test_there_are_as_many_nodes_as_are_wanted(name):
    fleets = {fleet["InstanceFleetType"]: fleet for fleet in asked(CASES[name])["Instances"]["InstanceFleets"]}
    nodes = {role: each["TargetOnDemandCapacity"] + each["TargetSpotCapacity"] for role, each in fleets.items()}
    assert nodes.pop("MASTER") == 1
    assert sum(nodes.values()) == CASES[name].workers


def test_spot_falls_back_and_never_carries_hdfs_or_the_driver():
    fleets = {fleet["InstanceFleetType"]: fleet for fleet in asked(CASES["spot"])["Instances"]["InstanceFleets"]}
    capacity = {name: (fleet["TargetOnDemandCapacity"], fleet["TargetSpotCapacity"]) for name, fleet in fleets.items()}
    assert capacity == {"MASTER": (1, 0), "CORE": (1, 0), "TASK": (0, 3)}
    spot = fleets["TASK"]["LaunchSpecifications"]["SpotSpecification"]
    assert spot["TimeoutAction"] == "SWITCH_TO_ON_DEMAND"
    types = [each["InstanceType"] for each in fleets["TASK"]["InstanceTypeConfigs"]]
    assert types == ["m5.xlarge", "m6i.xlarge"], "alike in vCPU, memory and processor"
    assert [each["InstanceType"] for each in fleets["CORE"]["InstanceTypeConfigs"]] == ["m5.xlarge"]


def test_the_executors_are_those_that_two_m5_xlarge_hold():
    conf = {setting.key: setting.value for setting in settings(ONE_SHOT)}
    assert {key: conf[f"spark.executor.{key}"] for key in ("instances", "cores", "memory", "memoryOverhead")} == {
        "instances": "2",
        "cores": "4",
        "memory": "4g",
        "memoryOverhead": "6g",
    }
    assert conf["spark.submit.deployMode"] == "client"
    assert conf["spark.pyspark.python"] == "/opt/emrlab/bin/python"
    assert conf["spark.dynamicAllocation.enabled"] == "false"
    assert conf["spark.eventLog.dir"] == "s3://bucket/spark-events"
    assert conf["spark.yarn.heterogeneousExecutors.enabled"] == "false"


def test_what_is_the_labs_own_does_not_go_to_emr():
    keys = {setting.key for setting in settings(ONE_SHOT)}
    assert not keys & {"spark.master", "spark.driver.host", "spark.cores.max"}
    patience = {"spark.hadoop.fs.s3a.retry.limit", "spark.hadoop.fs.s3a.retry.interval"}
    assert {key for key in keys if "fs.s3" in key} == patience, "S3A, its server and its keys are EMR's own"


def test_a_given_setting_is_heeded_and_held_against_yarn():
    conf = {s.key: s.value for s in settings(ONE_SHOT, {"spark.executor.memory": "5g"})}
    assert conf["spark.executor.memory"] == "5g"
    with pytest.raises(sizing.SizingError, match=r"makes containers of 12288 MB|above YARN"):
        settings(ONE_SHOT, {"spark.executor.memory": "6g"})


def test_every_setting_carries_its_reason_and_the_job_its_settings():
    arguments = asked(ONE_SHOT)["Steps"][0]["HadoopJarStep"]["Args"]
    assert arguments[:6] == [
        *("timeout", "--verbose", "--signal=TERM", "--kill-after=60s", "1234s"),
        "spark-submit",
    ], "a step ends by itself: this machine is no part of the brake"
    conf = [arguments[place + 1] for place, arg in enumerate(arguments) if arg == "--conf"]
    assert len(conf) == 2 * len([each for each in conf if not each.startswith("spark.reason.")])
    assert from_args(arguments[arguments.index("s3://bucket/main.py") + 1 :]) == SETTINGS
    assert max(map(len, arguments)) < 10_280, "what EMR takes in one string"


def test_disks_are_encrypted_with_a_key_of_ones_own_only_where_there_is_one():
    rest = request.security_configuration(None)["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]
    assert set(rest) == {"S3EncryptionConfiguration"}


def test_disks_and_s3_are_encrypted_and_the_metadata_service_asks_for_a_token():
    found = request.security_configuration("arn:aws:kms:eu-west-3:123456789012:key/abc")
    rest = found["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]
    assert rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"] is True
    assert rest["S3EncryptionConfiguration"]["EncryptionMode"] == "SSE-S3"
    assert found["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"] == 2
