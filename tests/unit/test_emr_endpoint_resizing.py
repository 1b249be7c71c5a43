"""Machines that come and go while a cluster runs, by a request, and back again."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from emr_lab.endpoint import resizing
from tests.unit.changing_clusters import FLEETS, TASK, group, machines, policy, resize, start, wait_group
from tests.unit.fake_nodes import CORE, MASTER, Fake, action, groups, step, wait_until


def test_a_node_comes_with_the_bootstrap_actions_and_the_step_that_runs_sees_nothing(lab: Fake):
    mark = lab.put("mark.sh", 'echo "$NODE_NAME" > "$HOME/mark"')
    go = lab.root / "go"
    cluster = start(
        lab, step("runs", f"while [ ! -e {go} ]; do sleep 0.02; done"), BootstrapActions=[action("m", mark)]
    )
    lab.wait_step(cluster, "runs", "RUNNING")
    resize(lab, cluster, 2)
    assert group(lab, cluster)["RequestedInstanceCount"] == 2
    assert group(lab, cluster)["Status"]["State"] == "RESIZING"
    wait_group(lab, cluster, "RUNNING", 2)
    assert machines(lab, cluster) == ["core-1", "core-2", "primary"]
    assert (lab.root / "nodes/core-2/home/mark").read_text() == "core-2\n"
    newest = next(
        each for each in lab.client.list_instances(ClusterId=cluster)["Instances"] if each["PrivateDnsName"] == "core-2"
    )
    line = newest["Status"]["Timeline"]
    assert line["CreationDateTime"] < line["ReadyDateTime"]
    assert lab.log(f"{cluster}/node/{newest['Ec2InstanceId']}/bootstrap-actions/1/stdout") == ""
    go.touch()
    lab.wait_step(cluster, "runs", "COMPLETED")


def test_a_node_goes_when_yarn_and_hdfs_have_nothing_on_it(lab: Fake):
    cluster = start(lab, core=2)
    lab.yarn.nodes["core-1"]["numContainers"] = 3
    lab.yarn.nodes["core-2"]["numContainers"] = 1
    lab.controllers["primary"].hdfs |= {"core-1": "In Service", "core-2": "Decommission In Progress"}
    resize(lab, cluster, 1, ShrinkPolicy={"DecommissionTimeout": 77})
    wait_until(
        lambda: lab.controllers["primary"].told == [{"core-2": 77}], lambda: str(lab.controllers["primary"].told)
    )
    wait_group(lab, cluster, "RESIZING", 2)
    lab.yarn.nodes["core-2"]["numContainers"] = 0
    assert not wait_a_little(lambda: machines(lab, cluster) != ["core-1", "core-2", "primary"]), (
        "a block is there alone"
    )
    lab.controllers["primary"].hdfs["core-2"] = "Decommissioned"
    wait_group(lab, cluster, "RUNNING", 1)
    gone = lab.client.list_instances(ClusterId=cluster, InstanceStates=["TERMINATED"])["Instances"]
    assert [each["PrivateDnsName"] for each in gone] == ["core-2"]
    assert "decommissioned" in gone[0]["Status"]["StateChangeReason"]["Message"]
    assert gone[0]["Status"]["Timeline"]["EndDateTime"]
    wait_until(lambda: lab.controllers["core-2"].cluster is None, lambda: "core-2 is not left")
    assert lab.state(cluster) == "WAITING"
    assert group(lab, cluster)["ShrinkPolicy"] == {"DecommissionTimeout": 77}


def wait_a_little(happens: Any) -> bool:
    """Whether it happens within a few polls."""
    try:
        wait_until(happens, lambda: "", timeout_s=0.4)
    except AssertionError:
        return False
    return True


def test_the_node_with_an_applications_master_stays(lab: Fake):
    cluster = start(lab, core=2)
    lab.yarn.applications["application_1"] = "x"
    lab.yarn.details["application_1"] = {"amHostHttpAddress": "core-2:8042"}
    lab.yarn.nodes["core-1"]["numContainers"] = 2
    lab.yarn.nodes["core-2"]["numContainers"] = 1
    resize(lab, cluster, 1)
    wait_until(lambda: bool(lab.controllers["primary"].told), lambda: "nobody was told")
    assert list(lab.controllers["primary"].told[-1]) == ["core-1"]


def test_who_changes_their_mind_keeps_the_node(lab: Fake):
    cluster = start(lab, core=2)
    for node in lab.yarn.nodes.values():
        node["numContainers"] = 1
    ids = {each["Ec2InstanceId"] for each in lab.client.list_instances(ClusterId=cluster)["Instances"]}
    resize(lab, cluster, 1)
    wait_group(lab, cluster, "RESIZING", 2)
    wait_until(lambda: len(lab.controllers["primary"].told) == 1, lambda: "nobody was told")
    resize(lab, cluster, 2)
    wait_until(lambda: len(lab.controllers["primary"].told) == 2, lambda: "nobody was told")
    wait_group(lab, cluster, "RUNNING", 2)
    assert lab.controllers["primary"].told[-1] == {}
    assert {each["Ec2InstanceId"] for each in lab.client.list_instances(ClusterId=cluster)["Instances"]} == ids


def test_a_node_that_left_comes_back_as_another_machine(lab: Fake):
    cluster = start(lab, core=2)
    lab.controllers["primary"].hdfs |= {"core-1": "Decommissioned", "core-2": "Decommissioned"}
    resize(lab, cluster, 1)
    wait_group(lab, cluster, "RUNNING", 1)
    lab.controllers["primary"].hdfs.clear()
    resize(lab, cluster, 2)
    wait_group(lab, cluster, "RUNNING", 2)
    assert lab.controllers["primary"].told[-1] == {}
    assert len(lab.client.list_instances(ClusterId=cluster)["Instances"]) == 4


def test_restart_of_the_endpoint_while_a_node_leaves_and_while_one_comes(lab: Fake):
    cluster = start(lab, core=2)
    lab.yarn.nodes["core-2"]["numContainers"] = 1
    lab.yarn.nodes["core-1"]["numContainers"] = 2
    lab.controllers["primary"].hdfs["core-2"] = "Decommissioned"
    resize(lab, cluster, 1)
    wait_until(lambda: bool(lab.controllers["primary"].told), lambda: "nobody was told")
    lab.restart()
    wait_until(lambda: len(lab.controllers["primary"].told) == 2, lambda: "nobody was told again")
    lab.yarn.nodes["core-2"]["numContainers"] = 0
    wait_group(lab, cluster, "RUNNING", 1)
    wait_until(lambda: lab.controllers["core-2"].cluster is None, lambda: "core-2 is not left")
    waits = lab.put("waits.sh", f"while [ ! -e {lab.root}/go ]; do sleep 0.02; done")
    lab.endpoint_state.store.clusters[cluster].request["BootstrapActions"] = [action("waits", waits)]
    resize(lab, cluster, 2)
    wait_until(lambda: machines(lab, cluster, "BOOTSTRAPPING") == ["core-2"], lambda: str(machines(lab, cluster)))
    lab.restart()
    assert machines(lab, cluster, "BOOTSTRAPPING") == ["core-2"]
    (lab.root / "go").touch()
    wait_group(lab, cluster, "RUNNING", 2)
    assert lab.state(cluster) == "WAITING"


def test_a_node_that_never_comes_stops_its_group_and_not_the_cluster(lab: Fake):
    cluster = start(lab)
    lab.servers["core-2"].shutdown()
    lab.servers["core-2"].server_close()
    resize(lab, cluster, 2)
    wait_until(lambda: machines(lab, cluster, "PROVISIONING") == ["core-2"], lambda: str(machines(lab, cluster)))
    lab.clock.passed_s += resizing.ARRIVAL_TIMEOUT_S
    wait_group(lab, cluster, "ARRESTED", 1)
    assert "core-2 does not answer" in group(lab, cluster)["Status"]["StateChangeReason"]["Message"]
    gone = lab.client.list_instances(ClusterId=cluster, InstanceStates=["TERMINATED"])["Instances"]
    assert [each["Status"]["StateChangeReason"]["Code"] for each in gone] == ["INSTANCE_FAILURE"]
    assert lab.state(cluster) == "WAITING"
    resize(lab, cluster, 1)
    wait_group(lab, cluster, "RUNNING", 1)


def test_a_bootstrap_action_that_fails_on_a_new_node_stops_its_group(lab: Fake):
    fails = lab.put("fails.sh", "case $NODE_NAME in core-2) exit 3;; esac")
    cluster = start(lab, BootstrapActions=[action("fails", fails)])
    resize(lab, cluster, 2)
    wait_group(lab, cluster, "ARRESTED", 1)
    assert "bootstrap action 1 returned a non-zero" in group(lab, cluster)["Status"]["StateChangeReason"]["Message"]
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")


def test_a_cluster_that_ends_takes_what_comes_and_what_goes_along(lab: Fake):
    waits = lab.put("waits.sh", "case $NODE_NAME in core-2) sleep 600;; esac")
    cluster = start(lab, BootstrapActions=[action("waits", waits)])
    resize(lab, cluster, 2)
    wait_until(lambda: machines(lab, cluster, "BOOTSTRAPPING") == ["core-2"], lambda: str(machines(lab, cluster)))
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    for call in (
        lambda: resize(lab, cluster, 1),
        lambda: lab.client.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy=policy(1, 2)),
    ):
        with pytest.raises(ClientError, match=r"running or waiting|shutting down"):
            call()
    lab.wait(cluster, "TERMINATED")
    assert [node.cluster for node in lab.controllers.values()] == [None] * 3
    found = lab.client.list_instances(ClusterId=cluster)["Instances"]
    assert {each["Status"]["State"] for each in found} == {"TERMINATED"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"InstanceCount": 0}, "cannot be reduced to 0: HDFS keeps each block on 1"),
        ({"InstanceCount": 3}, "would have 3 core and task nodes; the lab has 2"),
        ({"InstanceCount": -1}, "cannot be reduced to -1"),
        ({"ShrinkPolicy": {"DecommissionTimeout": -1}}, "DecommissionTimeout must be 0 or greater, not -1"),
        ({"EC2InstanceIdsToTerminate": ["i-1"]}, "EC2InstanceIdsToTerminate of ModifyInstanceGroups is not in the lab"),
        ({"ShrinkPolicy": {"InstanceResizePolicy": {"InstancesToProtect": ["i-1"]}}}, "InstanceResizePolicy"),
    ],
)
def test_a_size_that_cannot_be_is_refused(lab: Fake, change, words):
    cluster = start(lab)
    with pytest.raises(ClientError, match=words):
        lab.client.modify_instance_groups(InstanceGroups=[{"InstanceGroupId": group(lab, cluster)["Id"], **change}])
    assert group(lab, cluster)["RequestedInstanceCount"] == 1


def test_core_nodes_are_not_fewer_than_the_copies_of_a_block(lab: Fake):
    copies = [{"Classification": "hdfs-site", "Properties": {"dfs.replication": "2"}}]
    cluster = start(lab, core=2, Configurations=copies)
    with pytest.raises(ClientError, match="cannot be reduced to 1: HDFS keeps each block on 2"):
        resize(lab, cluster, 1)


def test_groups_that_cannot_be_modified(lab: Fake):
    cluster = start(lab)
    primary = {"InstanceGroupId": group(lab, cluster, "MASTER")["Id"], "InstanceCount": 1}
    for change, words in (
        (primary, "master instance group may not be modified"),
        ({"InstanceGroupId": "ig-1", "InstanceCount": 1}, "Instance group id 'ig-1' is not valid"),
    ):
        with pytest.raises(ClientError, match=words):
            lab.client.modify_instance_groups(ClusterId=cluster, InstanceGroups=[change])
    with pytest.raises(lab.client.exceptions.InvalidRequestException, match="uses instance groups"):
        lab.client.modify_instance_fleet(ClusterId=cluster, InstanceFleet={"InstanceFleetId": "if-1"})


def test_a_fleet_is_resized_by_its_capacities(lab: Fake):
    cluster = start(lab, Instances={"InstanceFleets": FLEETS})
    core = lab.client.list_instance_fleets(ClusterId=cluster)["InstanceFleets"][1]["Id"]
    with pytest.raises(ClientError, match="both targetOnDemandCapacity and targetSpotCapacity"):
        lab.client.modify_instance_fleet(
            ClusterId=cluster, InstanceFleet={"InstanceFleetId": core, "TargetOnDemandCapacity": 8}
        )
    change = {"InstanceFleetId": core, "TargetOnDemandCapacity": 4, "TargetSpotCapacity": 4}
    lab.client.modify_instance_fleet(ClusterId=cluster, InstanceFleet=change)

    def fleet() -> dict[str, Any]:
        return dict(lab.client.list_instance_fleets(ClusterId=cluster)["InstanceFleets"][1])

    assert fleet()["Status"]["State"] == "RESIZING"
    wait_until(lambda: fleet()["ProvisionedSpotCapacity"] == 4, lambda: str(fleet()))
    assert (fleet()["TargetSpotCapacity"], fleet()["ProvisionedOnDemandCapacity"]) == (4, 4)
    markets = {
        each["PrivateDnsName"]: each["Market"] for each in lab.client.list_instances(ClusterId=cluster)["Instances"]
    }
    assert markets == {"primary": "ON_DEMAND", "core-1": "ON_DEMAND", "core-2": "SPOT"}
    with pytest.raises(ClientError, match="uses instance fleets"):
        lab.client.modify_instance_groups(InstanceGroups=[{"InstanceGroupId": core, "InstanceCount": 1}])


def test_hdfs_keeps_its_blocks_on_core_nodes(lab: Fake):
    start(lab, **groups(MASTER, CORE | {"InstanceCount": 1}, TASK))
    assert {name: node.has_data for name, node in lab.controllers.items()} == {
        "primary": False, "core-1": True, "core-2": False
    }  # fmt: skip
