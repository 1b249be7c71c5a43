"""The machines of a cluster as EMR's API takes and tells them: groups, fleets, their disks, a primary alone."""

from __future__ import annotations

import pytest

from base import sizing
from launch.emr.request import Cluster, NodeArtifacts, run_job_flow
from tests.unit.fake_nodes import CORE, LABEL, MASTER, Fake, FakeNode, groups, step


def executor_mb(node: FakeNode) -> int:
    """The heap that an executor has by default, in MB."""
    lines = (node.conf / "spark/spark-defaults.conf").read_text().splitlines()
    return sizing.memory_mb(dict(line.split(" ", 1) for line in lines)["spark.executor.memory"])


def test_instance_groups(lab: Fake):
    cluster = lab.start(keep=True)
    lab.wait(cluster, "WAITING")
    master, core = lab.client.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    assert (master["InstanceGroupType"], master["RunningInstanceCount"]) == ("MASTER", 1)
    assert (core["InstanceGroupType"], core["RunningInstanceCount"], core["InstanceType"]) == ("CORE", 2, "m5.xlarge")
    instances = lab.client.list_instances(ClusterId=cluster, InstanceGroupId=core["Id"])["Instances"]
    assert [each["PrivateDnsName"] for each in instances] == ["core-1", "core-2"]
    assert all(each["Ec2InstanceId"].startswith("i-0") for each in instances)
    assert (
        lab.client.list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"], InstanceStates=["RUNNING"])[
            "Instances"
        ][0]["PrivateDnsName"]
        == "primary"
    )
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="Use the ListInstanceGroups operation"):
        lab.client.list_instance_fleets(ClusterId=cluster)
    for other in ({"InstanceFleetId": "if-1"}, {"InstanceFleetType": "CORE"}):
        with pytest.raises(lab.client.exceptions.InvalidRequestException, match="request uses instance groups"):
            lab.client.list_instances(ClusterId=cluster, **other)
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="Instance group id 'ig-1' is not valid"):
        lab.client.list_instances(ClusterId=cluster, InstanceGroupId="ig-1")


def test_the_disks_of_a_group_are_recorded(lab: Fake):
    volume = {"VolumeType": "gp3", "SizeInGB": 64}
    ebs = {
        "EbsBlockDeviceConfigs": [{"VolumeSpecification": volume, "VolumesPerInstance": 2}],
        "EbsOptimized": True,
    }
    cluster = lab.start(**groups(MASTER, CORE | {"EbsConfiguration": ebs}))
    master, core = lab.client.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    assert (master["EbsBlockDevices"], master["Configurations"], master["ShrinkPolicy"]) == ([], [], {})
    assert core["EbsBlockDevices"] == [{"VolumeSpecification": volume}] * 2
    assert core["EbsOptimized"] is True


def test_the_nodes_that_emr_run_asks_for(lab: Fake):
    wanted = Cluster(bucket="bucket", region="eu-west-3", release=LABEL)
    artifacts = NodeArtifacts(wheelhouse="s3://bucket/w.tar", wheelhouse_sha256="01", bootstrap="s3://bucket/b.sh")
    asked = run_job_flow(wanted, artifacts, python="3.11", step=step("one", "true"))
    cluster = lab.start(Instances={**asked["Instances"], "KeepJobFlowAliveWhenNoSteps": True})
    lab.wait(cluster, "WAITING")
    instances = lab.client.list_instances(ClusterId=cluster)["Instances"]
    assert [(each["PrivateDnsName"], each["Market"]) for each in instances] == [
        ("primary", "ON_DEMAND"),
        ("core-1", "ON_DEMAND"),
        ("core-2", "ON_DEMAND"),
    ]


def test_instance_fleets(lab: Fake):
    kinds = [{"InstanceType": name, "WeightedCapacity": 1} for name in ("m6i.xlarge", "m5.xlarge")]
    fleets = [
        {"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": kinds},
        {"InstanceFleetType": "CORE", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": kinds},
        {"InstanceFleetType": "TASK", "TargetSpotCapacity": 1, "InstanceTypeConfigs": kinds},
    ]
    cluster = lab.start(Instances={"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": True})
    lab.wait(cluster, "WAITING")
    assert lab.client.describe_cluster(ClusterId=cluster)["Cluster"]["InstanceCollectionType"] == "INSTANCE_FLEET"
    found = lab.client.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    assert [each["InstanceFleetType"] for each in found] == ["MASTER", "CORE", "TASK"]
    assert [each["ProvisionedSpotCapacity"] for each in found] == [0, 0, 1]
    task = lab.client.list_instances(ClusterId=cluster, InstanceFleetType="TASK")["Instances"]
    assert [(each["InstanceType"], each["Market"], each["PrivateDnsName"]) for each in task] == [
        ("m5.xlarge", "SPOT", "core-2")
    ]


def test_a_fleet_is_whole_machines_on_demand_and_on_spot(lab: Fake):
    volume = {"VolumeType": "gp3", "SizeInGB": 64}
    kind = {
        "InstanceType": "m5.xlarge",
        "WeightedCapacity": 4,
        "BidPriceAsPercentageOfOnDemandPrice": 80.0,
        "EbsConfiguration": {"EbsBlockDeviceConfigs": [{"VolumeSpecification": volume}]},
    }
    spot = {"SpotSpecification": {"TimeoutDurationMinutes": 10, "TimeoutAction": "SWITCH_TO_ON_DEMAND"}}
    fleets = [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
        },
        {
            "InstanceFleetType": "CORE",
            "TargetOnDemandCapacity": 1,
            "TargetSpotCapacity": 3,
            "InstanceTypeConfigs": [kind],
            "LaunchSpecifications": spot,
        },
    ]
    cluster = lab.start(Instances={"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": True})
    lab.wait(cluster, "WAITING")
    master, core = lab.client.list_instance_fleets(ClusterId=cluster)["InstanceFleets"]
    assert master["InstanceTypeSpecifications"][0]["WeightedCapacity"] == 1
    capacities = ("TargetOnDemandCapacity", "TargetSpotCapacity")
    assert [core[name] for name in capacities] == [1, 3]
    assert [core[name.replace("Target", "Provisioned")] for name in capacities] == [4, 4]
    assert core["LaunchSpecifications"] == spot
    assert core["InstanceTypeSpecifications"] == [
        {
            "InstanceType": "m5.xlarge",
            "WeightedCapacity": 4,
            "BidPriceAsPercentageOfOnDemandPrice": 80.0,
            "Configurations": [],
            "EbsBlockDevices": [{"VolumeSpecification": volume}],
        }
    ]
    machines = lab.client.list_instances(ClusterId=cluster, InstanceFleetId=core["Id"])["Instances"]
    assert [each["Market"] for each in machines] == ["ON_DEMAND", "SPOT"]
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="Use the ListInstanceFleets") as refused:
        lab.client.list_instance_groups(ClusterId=cluster)
    assert refused.value.response["ErrorCode"] == "API_DOES_NOT_SUPPORT_INSTANCE_FLEET_CLUSTERS"
    for other in ({"InstanceGroupId": "ig-1"}, {"InstanceGroupTypes": ["CORE"]}):
        with pytest.raises(lab.client.exceptions.InvalidRequestException, match="request uses instance fleets"):
            lab.client.list_instances(ClusterId=cluster, **other)
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="Instance fleet id 'if-1' is not valid"):
        lab.client.list_instances(ClusterId=cluster, InstanceFleetId="if-1")


def test_nodes_by_their_types_and_number(lab: Fake):
    kinds = {"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.xlarge", "InstanceCount": 2}
    cluster = lab.start(Instances=kinds)
    names = [each["PrivateDnsName"] for each in lab.client.list_instances(ClusterId=cluster)["Instances"]]
    assert names == ["primary", "core-1"]


@pytest.mark.parametrize(
    "nodes",
    [
        {"InstanceGroups": [MASTER]},
        {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1},
        {
            "InstanceFleets": [
                {
                    "InstanceFleetType": "MASTER",
                    "TargetOnDemandCapacity": 1,
                    "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
                }
            ]
        },
    ],
    ids=["group", "type", "fleet"],
)
def test_a_primary_alone_does_what_core_nodes_do(lab: Fake, nodes):
    cluster = lab.start(step("one", "exit 0"), Instances={**nodes, "KeepJobFlowAliveWhenNoSteps": True})
    lab.wait_step(cluster, "one", "COMPLETED")
    assert [each["PrivateDnsName"] for each in lab.client.list_instances(ClusterId=cluster)["Instances"]] == ["primary"]
    assert lab.controllers["primary"].alone is True
    beside_driver_mb = executor_mb(lab.controllers["primary"])
    assert lab.controllers["core-1"].cluster is None
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    beside_core_nodes = lab.start()
    lab.wait(beside_core_nodes, "TERMINATED")
    assert lab.controllers["primary"].alone is False
    assert executor_mb(lab.controllers["primary"]) > beside_driver_mb
