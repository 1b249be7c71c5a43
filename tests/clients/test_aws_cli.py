"""The AWS CLI's commands for EMR, by its own help: `--endpoint-url`, as `aws emr` reads no variable for it."""

from __future__ import annotations

import json
from pathlib import Path

from base.defaults import BUCKET
from tests.clients import environments
from tests.clients.conftest import Lab

PI = "Type=Spark,Name=pi,ActionOnFailure=CONTINUE,Args=[--class,org.apache.spark.examples.SparkPi,{jar},4]"
JAR = "/usr/lib/spark/examples/jars/spark-examples.jar"


def test_aws_cli(lab: Lab, tmp_path: Path):
    aws = environments.python("aws_cli") / "aws"

    def emr(*arguments: str) -> str:
        address = lab.environment["AWS_ENDPOINT_URL_EMR"]
        return lab.run(aws, "--endpoint-url", address, "--output", "json", "emr", *arguments, cwd=tmp_path)

    made = emr(
        *("create-cluster", "--name", "cli", "--release-label", lab.label, "--applications", "Name=Spark"),
        *("--instance-type", "m5.xlarge", "--instance-count", "3", "--use-default-roles", "--no-auto-terminate"),
        *("--log-uri", f"s3://{BUCKET}/emrlab-logs/", "--tags", "for=cli"),
        *("--auto-termination-policy", "IdleTimeout=3600"),
    )
    cluster = str(json.loads(made)["ClusterId"])
    of_cluster = ("--cluster-id", cluster)
    emr("wait", "cluster-running", *of_cluster)
    (step,) = json.loads(emr("add-steps", *of_cluster, "--steps", PI.format(jar=JAR)))["StepIds"]
    emr("wait", "step-complete", *of_cluster, "--step-id", step)
    assert json.loads(emr("describe-step", *of_cluster, "--step-id", step))["Step"]["Status"]["State"] == "COMPLETED"
    described = json.loads(emr("describe-cluster", *of_cluster))["Cluster"]
    assert [each["InstanceGroupType"] for each in described["InstanceGroups"]] == ["MASTER", "CORE"]
    assert described["Tags"] == [{"Key": "for", "Value": "cli"}]
    assert len(json.loads(emr("list-instances", *of_cluster))["Instances"]) == 3
    assert [each["Id"] for each in json.loads(emr("list-clusters", "--active"))["Clusters"]] == [cluster]
    assert [each["Name"] for each in json.loads(emr("list-steps", *of_cluster))["Steps"]] == ["pi"]
    emr("modify-cluster-attributes", *of_cluster, "--no-termination-protected")
    emr("terminate-clusters", "--cluster-ids", cluster)
    emr("wait", "cluster-terminated", *of_cluster)
    if lab.real:
        assert "Pi is roughly 3.1" in lab.log(cluster, step, "stdout")
    version = environments.version("aws_cli", "awscli")
    lab.told(f"AWS CLI {version}", "`create-cluster`, `add-steps`, `wait`, what it lists and describes")
