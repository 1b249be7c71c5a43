from __future__ import annotations

import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from emr_lab.endpoint.operations.table import OPERATIONS
from tests.unit.fake_nodes import CORE, LABEL, MASTER, Fake, action, groups, step


def run(jar: str, *args: str) -> list[dict[str, object]]:
    return [{"Name": "one", "HadoopJarStep": {"Jar": jar, "Args": list(args)}}]


REFUSED = {
    "no label": ({"ReleaseLabel": None}, "Must specify a release label"),
    "unknown label": ({"ReleaseLabel": "emr-9.9.9"}, "The supplied release label is invalid: emr-9.9.9"),
    "label of 8.x as if it were of 7.x": ({"ReleaseLabel": "emr-8.1.0"}, "The supplied release label is invalid"),
    "label of other nodes": ({"ReleaseLabel": "emr-7.14.0"}, "They are emr-spark-8.1.0; start them as RELEASE=emr-7"),
    "patch of an unknown release": (
        {"ReleaseLabel": "emr-9.9.1"},
        "release label is invalid: emr-9.9.1. RELEASE=emr-9",
    ),
    "patch of other nodes": (
        {"ReleaseLabel": "emr-7.14.1"},
        "They are emr-spark-8.1.0; start them as RELEASE=emr-7.14.0",
    ),
    "no patch": ({"ReleaseLabel": f"{LABEL}.1"}, f"The supplied release label is invalid: {LABEL}.1"),
    "no instance profile": ({"JobFlowRole": None}, "InstanceProfile is required for creating cluster"),
    "no service role": ({"ServiceRole": None}, "ServiceRole is required for creating cluster"),
    "application of 7.x": ({"Applications": [{"Name": "Hadoop"}]}, f"not valid for release label {LABEL}: Hadoop"),
    "unknown type": (groups(MASTER, CORE | {"InstanceType": "m5.tiny"}), "Instance type 'm5.tiny' is not supported"),
    "type of other nodes": (groups(MASTER, CORE | {"InstanceType": "r5.xlarge"}), "Start them as INSTANCE_TYPE=r5"),
    "no primary": (groups(CORE), "one MASTER"),
    "a great many disks": (
        groups(
            MASTER
            | {
                "EbsConfiguration": {
                    "EbsBlockDeviceConfigs": [
                        {
                            "VolumeSpecification": {"VolumeType": "gp3", "SizeInGB": 1},
                            "VolumesPerInstance": 2**31 - 1,
                        }
                    ]
                }
            },
            CORE,
        ),
        "at most 25 EBS volumes, not 2147483647",
    ),
    "too many": (groups(MASTER, CORE | {"InstanceCount": 3}), "3 core and task nodes; the lab has 2"),
    "primary of another type alone": (groups(MASTER | {"InstanceType": "r5.xlarge"}), "Start them as INSTANCE_TYPE=r5"),
    "no nodes": ({"Instances": {}}, "InstanceGroups, InstanceFleets or MasterInstanceType"),
    "classification": ({"Configurations": [{"Classification": "hive-site"}]}, "Classification hive-site"),
    "log uri": ({"LogUri": "/var/log"}, "The LogUri /var/log is not valid"),
    "idle timeout": ({"AutoTerminationPolicy": {"IdleTimeout": 59}}, "IdleTimeout must be 60 to 604800, not 59"),
    "concurrency": ({"StepConcurrencyLevel": 257}, "between 1 and 256, not 257"),
    "too many actions": ({"BootstrapActions": [action("x", "s3://b/x")] * 17}, "At most 16 bootstrap actions"),
    "nothing to run": ({"Steps": run("command-runner.jar")}, "has no Args"),
    "long argument": ({"Steps": run("command-runner.jar", "x" * 10_281)}, "less than or equal to 10280, not 10281"),
    "long step": ({"Steps": run("command-runner.jar", *["x" * 1000] * 11)}, "has 11018 characters; 10240 at most"),
    "too many steps": ({"Steps": [step("one", "exit 0")] * 257}, "Maximum number of active steps"),
    "step that ends others at once": (
        {"Steps": [step("one", "exit 0", "TERMINATE_CLUSTER")], "StepConcurrencyLevel": 2},
        "ActionOnFailure TERMINATE_CLUSTER is not valid",
    ),
}

NOT_HERE = {
    "kerberos": ({"KerberosAttributes": {"Realm": "R", "KdcAdminPassword": "p"}}, "KerberosAttributes"),
    "own image": ({"CustomAmiId": "ami-1"}, "CustomAmiId"),
    "application of 8.x": ({"Applications": [{"Name": "Livy"}]}, "the application Livy is not in the lab"),
    "three primaries": (groups(MASTER | {"InstanceCount": 3}, CORE), "one primary node"),
    "settings of a group": (
        groups(MASTER, CORE | {"Configurations": [{"Classification": "spark-defaults"}]}),
        "Configurations of single instance groups",
    ),
    "logs of a step in their own place": (
        {
            "Steps": [
                {
                    **run("command-runner.jar", "true")[0],
                    "StepMonitoringConfiguration": {"S3MonitoringConfiguration": {"LogUri": "s3://bucket/x"}},
                }
            ]
        },
        "a step's logs come below LogUri",
    ),
    "action on the node": ({"BootstrapActions": [action("x", "file:///usr/x")]}, "file:///usr/x is not in S3"),
    "jar": ({"Steps": run("s3://bucket/my.jar", "x")}, "not s3://bucket/my.jar"),
    "command": ({"Steps": run("command-runner.jar", "hive-script", "x")}, "hive-script is not on the lab's nodes"),
    "script on the node": ({"Steps": run("script-runner.jar", "/x.sh")}, "takes scripts in S3 here, not /x.sh"),
}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [(changes, "ValidationException", words) for changes, words in REFUSED.values()]
    + [(changes, "NotImplemented", words) for changes, words in NOT_HERE.values()],
    ids=[*REFUSED, *NOT_HERE],
)
def test_run_job_flow_is_refused(lab: Fake, changes, code, words):
    with pytest.raises(ClientError) as refused:
        lab.start(**changes)
    error = refused.value.response["Error"]
    assert error["Code"] == code
    assert words in error["Message"]
    assert "\n" not in error["Message"]
    assert lab.client.list_clusters()["Clusters"] == []


def test_members_without_effect_are_recorded(lab: Fake):
    recorded = {
        "EbsRootVolumeSize": 20,
        "AutoScalingRole": "scaling",
        "ScaleDownBehavior": "TERMINATE_AT_TASK_COMPLETION",
        "OSReleaseLabel": "2023.8",
        "VisibleToAllUsers": True,
    }
    of_instances = {
        "Ec2KeyName": "key",
        "Ec2SubnetId": "subnet-1",
        "EmrManagedMasterSecurityGroup": "sg-1",
        "EmrManagedSlaveSecurityGroup": "sg-2",
        "ServiceAccessSecurityGroup": "sg-3",
        "AdditionalMasterSecurityGroups": ["sg-4"],
        "AdditionalSlaveSecurityGroups": ["sg-5", "sg-6"],
    }
    instances = groups(MASTER)["Instances"] | {**of_instances, "UnhealthyNodeReplacement": True}
    cluster = lab.start(**recorded, Instances=instances, Tags=[{"Key": "for", "Value": "test"}])
    found = lab.client.describe_cluster(ClusterId=cluster)["Cluster"]
    assert {name: found[name] for name in recorded} == recorded
    assert {name: found["Ec2InstanceAttributes"][name] for name in of_instances} == of_instances
    assert found["UnhealthyNodeReplacement"] is True
    assert found["Tags"] == [{"Key": "for", "Value": "test"}]
    assert (found["ServiceRole"], found["Ec2InstanceAttributes"]["IamInstanceProfile"]) == ("service", "node")


def test_a_patch_release_is_its_minor_release(lab: Fake, caplog):
    cluster = lab.start(ReleaseLabel="emr-spark-8.1.2")
    found = lab.client.describe_cluster(ClusterId=cluster)["Cluster"]
    assert found["ReleaseLabel"] == "emr-spark-8.1.2"
    assert found["Applications"] == [{"Name": "Spark", "Version": "4.1.1"}]
    assert f"{cluster}: the cluster asked for emr-spark-8.1.2 and runs on {LABEL}" in caplog.text
    lab.wait(cluster, "TERMINATED")
    assert lab.client.list_supported_instance_types(ReleaseLabel="emr-7.14.3")["SupportedInstanceTypes"]
    with pytest.raises(ClientError, match=r"InvalidRequestException.*emr-9\.9\.1"):
        lab.client.list_supported_instance_types(ReleaseLabel="emr-9.9.1")


def test_tags(lab: Fake):
    cluster = lab.start(keep=True)
    lab.client.add_tags(ResourceId=cluster, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    lab.client.remove_tags(ResourceId=cluster, TagKeys=["a", "none"])
    assert lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"] == [{"Key": "b", "Value": "2"}]
    for tag in ({"Key": "aws:owner", "Value": "me"}, {"Key": "owner", "Value": "AWS:me"}):
        with pytest.raises(ClientError, match=r"ValidationException.*aws: is reserved for Amazon"):
            lab.client.add_tags(ResourceId=cluster, Tags=[tag])
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    for change in (
        lambda: lab.client.add_tags(ResourceId=cluster, Tags=[{"Key": "c", "Value": "3"}]),
        lambda: lab.client.remove_tags(ResourceId=cluster, TagKeys=["b"]),
    ):
        with pytest.raises(lab.client.exceptions.InvalidRequestException, match="may not be modified"):
            change()
    assert lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"] == [{"Key": "b", "Value": "2"}]


def test_pages(lab: Fake):
    cluster = lab.start(*(step(f"step {number}", "sleep 600") for number in range(120)), keep=True)
    pages = list(lab.client.get_paginator("list_steps").paginate(ClusterId=cluster))
    assert [len(page["Steps"]) for page in pages] == [50, 50, 20]
    names = [each["Name"] for page in pages for each in page["Steps"]]
    assert names == [f"step {number}" for number in reversed(range(120))]
    pending = lab.client.list_steps(ClusterId=cluster, StepIds=[pages[0]["Steps"][0]["Id"]], StepStates=["PENDING"])
    assert [each["Name"] for each in pending["Steps"]] == ["step 119"]
    waiting = lab.client.list_steps(ClusterId=cluster, StepStates=["PENDING"])
    next_step = lab.client.describe_step(ClusterId=cluster, StepId=waiting["Marker"])["Step"]["Name"]
    lab.client.cancel_steps(ClusterId=cluster, StepIds=[waiting["Marker"]])
    lab.wait_step(cluster, next_step, "CANCELLED")
    rest = lab.client.list_steps(ClusterId=cluster, StepStates=["PENDING"], Marker=waiting["Marker"])["Steps"]
    assert [each["Name"] for each in rest[:2]] == ["step 68", "step 67"]
    with pytest.raises(ClientError, match="The Marker nonsense is not valid"):
        lab.client.list_steps(ClusterId=cluster, Marker="nonsense")
    with pytest.raises(ClientError, match="Maximum number of active steps"):
        lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("more", "exit 0")] * 138)


def test_clusters_by_time_and_state(lab: Fake):
    cluster = lab.start()
    lab.wait(cluster, "TERMINATED")
    hour = timedelta(hours=1)

    def ids(**wanted: object) -> list[str]:
        return [each["Id"] for each in lab.client.list_clusters(**wanted)["Clusters"]]

    assert ids(CreatedAfter=datetime.now(UTC) - hour, CreatedBefore=datetime.now(UTC) + hour) == [cluster]
    assert ids(CreatedAfter=datetime.now(UTC) + hour) == []
    assert ids(ClusterStates=["TERMINATED"]) == [cluster]
    assert ids(ClusterStates=["RUNNING", "WAITING"]) == []
    elsewhere = boto3.client("emr", region_name="us-east-1")
    assert elsewhere.list_clusters()["Clusters"] == []
    with pytest.raises(ClientError, match="is not valid"):
        elsewhere.describe_cluster(ClusterId=cluster)


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "words"),
    [
        ("describe_cluster", {"ClusterId": "j-NONE"}, "InvalidRequestException", "Cluster id 'j-NONE' is not valid."),
        ("list_steps", {"ClusterId": "j-NONE"}, "InvalidRequestException", "Cluster id 'j-NONE' is not valid."),
        (
            "add_job_flow_steps",
            {"JobFlowId": "j-NONE", "Steps": [step("one", "exit 0")]},
            "ValidationException",
            "Specified job flow ID does not exist.",
        ),
        ("terminate_job_flows", {"JobFlowIds": ["j-NONE"]}, "ValidationException", "does not exist"),
        ("list_studios", {}, "NotImplemented", "ListStudios is not in the lab"),
        ("describe_job_flows", {}, "NotImplemented", "DescribeJobFlows is not in the lab"),
        ("list_notebook_executions", {}, "NotImplemented", "docs/emr-lab.md"),
    ],
)
def test_operations_that_are_refused(lab: Fake, operation, arguments, code, words):
    with pytest.raises(ClientError) as refused:
        getattr(lab.client, operation)(**arguments)
    assert refused.value.response["Error"]["Code"] == code
    assert words in refused.value.response["Error"]["Message"]


def test_an_error_of_emrs_model_has_all_of_its_members(lab: Fake):
    with pytest.raises(lab.client.exceptions.InvalidRequestException) as refused:
        lab.client.describe_cluster(ClusterId="j-NONE")
    assert refused.value.response["ErrorCode"] == "NoSuchCluster"
    assert refused.value.response["Message"] == "Cluster id 'j-NONE' is not valid."


def test_ended_cluster_takes_nothing(lab: Fake):
    cluster = lab.start()
    lab.wait(cluster, "TERMINATED")
    for call in (
        lambda: lab.client.add_job_flow_steps(JobFlowId=cluster, Steps=[step("one", "exit 0")]),
        lambda: lab.client.modify_cluster(ClusterId=cluster, StepConcurrencyLevel=2),
        lambda: lab.client.set_termination_protection(JobFlowIds=[cluster], TerminationProtected=True),
    ):
        with pytest.raises(ClientError, match="terminated, or finished may not be modified"):
            call()
    with pytest.raises(ClientError, match="Step id 's-NONE' is not valid"):
        lab.client.describe_step(ClusterId=cluster, StepId="s-NONE")


def test_what_there_is(lab: Fake):
    assert lab.client.list_release_labels()["ReleaseLabels"] == [LABEL]
    kinds = lab.client.list_supported_instance_types(ReleaseLabel=LABEL)["SupportedInstanceTypes"]
    assert {"Type": "m5.xlarge", "MemoryGB": 16.0, "VCPU": 4}.items() <= next(
        each for each in kinds if each["Type"] == "m5.xlarge"
    ).items()
    with urllib.request.urlopen(lab.url) as answer:  # noqa: S310 - of this test
        assert json.load(answer) == {"release": LABEL, "clusters": []}


def test_requests_that_are_not_whole(lab: Fake):
    unchecked = boto3.client("emr", region_name="eu-west-3", config=Config(parameter_validation=False))
    with pytest.raises(ClientError) as refused:
        unchecked.add_job_flow_steps(JobFlowId="j-NONE")
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "Steps" in refused.value.response["Error"]["Message"]


def test_the_page_lists_the_operations_that_are_there():
    page = (Path(__file__).parents[2] / "docs" / "emr-lab.md").read_text()
    listed = page.partition("## What is there\n")[2].partition("pages of fifty")[0]
    assert set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", listed)) - {"StepConcurrencyLevel"} == set(OPERATIONS)
