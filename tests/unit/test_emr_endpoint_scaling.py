"""Managed scaling: policies that let machines come and go while a cluster runs."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from emr_lab.endpoint import resizing, scaling
from emr_lab.endpoint.nodes import YarnLoad, YarnNode
from tests.unit.changing_clusters import FLEETS, TASK, group, machines, policy, start, wait_group
from tests.unit.fake_nodes import CORE, MASTER, Fake, groups, wait_until


def let_pass(lab: Fake, seconds: float, is_so: Any) -> None:
    """Until it is so, let the clock go on in steps of the interval between two evaluations."""

    def pass_and_ask() -> bool:
        lab.clock.passed_s += seconds
        return bool(is_so())

    wait_until(pass_and_ask, lambda: "it is not so")


def test_a_policy_lets_a_node_come_when_something_waits_and_go_when_it_is_idle(lab: Fake):
    cluster = start(lab, ManagedScalingPolicy=policy(1, 2))
    lab.controllers["primary"].hdfs |= {"core-1": "Decommissioned", "core-2": "Decommissioned"}
    lab.yarn.nodes["core-1"]["numContainers"] = 2
    lab.yarn.pending["containersPending"] = 4
    let_pass(lab, resizing.EVALUATION_INTERVAL_S, lambda: group(lab, cluster)["RequestedInstanceCount"] == 2)
    wait_group(lab, cluster, "RUNNING", 2)
    lab.yarn.pending["containersPending"] = 0
    let_pass(lab, resizing.EVALUATION_INTERVAL_S, lambda: group(lab, cluster)["RequestedInstanceCount"] == 1)
    wait_group(lab, cluster, "RUNNING", 1)
    assert machines(lab, cluster) == ["core-1", "primary"], "the idle one has gone"


def test_a_policys_limits_hold_at_once_and_the_last_policy_counts(lab: Fake):
    cluster = start(lab)
    put = lab.client.put_managed_scaling_policy
    put(ClusterId=cluster, ManagedScalingPolicy=policy(1, 1))
    put(ClusterId=cluster, ManagedScalingPolicy=policy(2, 4, MaximumCoreCapacityUnits=3))
    found = lab.client.get_managed_scaling_policy(ClusterId=cluster)["ManagedScalingPolicy"]
    assert found == policy(2, 4, MaximumCoreCapacityUnits=3)
    let_pass(lab, resizing.EVALUATION_INTERVAL_S, lambda: group(lab, cluster)["RequestedInstanceCount"] == 2)
    wait_group(lab, cluster, "RUNNING", 2)
    lab.client.remove_managed_scaling_policy(ClusterId=cluster)
    assert "ManagedScalingPolicy" not in lab.client.get_managed_scaling_policy(ClusterId=cluster)
    lab.restart()
    assert "ManagedScalingPolicy" not in lab.client.get_managed_scaling_policy(ClusterId=cluster)


def test_a_task_node_comes_where_core_nodes_may_not(lab: Fake):
    cluster = start(lab, **groups(MASTER, CORE | {"InstanceCount": 1}, TASK))
    lab.client.put_managed_scaling_policy(
        ClusterId=cluster, ManagedScalingPolicy=policy(1, 2, MaximumCoreCapacityUnits=1)
    )
    let_pass(lab, 20, lambda: group(lab, cluster, "TASK")["RequestedInstanceCount"] == 0)
    wait_until(lambda: machines(lab, cluster) == ["core-1", "primary"], lambda: str(machines(lab, cluster)))
    lab.yarn.pending["appsPending"] = 1
    let_pass(lab, 20, lambda: group(lab, cluster, "TASK")["RequestedInstanceCount"] == 1)
    wait_until(lambda: machines(lab, cluster) == ["core-1", "core-2", "primary"], lambda: str(machines(lab, cluster)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "ComputeLimits must be specified"),
        (policy(3, 2), "The min capacity cannot be higher than max capacity"),
        (policy(0, 2), "must be at least 1"),
        (policy(1, 2, MaximumCoreCapacityUnits=3), "The max Core capacity cannot be higher than max capacity"),
        (policy(1, 2, MaximumOnDemandCapacityUnits=3), "The max On-Demand capacity cannot be higher than max capacity"),
        (policy(1, 2, MaximumOnDemandCapacityUnits=1), "MaximumCoreCapacityUnits must be less than or equal to"),
        (
            policy(1, 2, UnitType="InstanceFleetUnits"),
            "InstanceFleetUnits is not for a cluster with instance groups",
        ),
        (policy(3, 4), "The min capacity is 3; the lab has 2"),
        (policy(1, 2) | {"ScalingStrategy": "ADVANCED"}, "go together"),
        (policy(1, 2) | {"ScalingStrategy": "ADVANCED", "UtilizationPerformanceIndex": 30}, "must be one of"),
    ],
)
def test_a_policy_that_emr_would_not_take(lab: Fake, wrong, words):
    cluster = start(lab)
    with pytest.raises(ClientError, match=words) as refused:
        lab.client.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy=wrong)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "ManagedScalingPolicy" not in lab.client.get_managed_scaling_policy(ClusterId=cluster)


def test_a_primary_alone_has_nothing_to_scale(lab: Fake):
    with pytest.raises(ClientError, match="The cluster has no core nodes"):
        lab.start(**groups(MASTER), ManagedScalingPolicy=policy(1, 2))


def test_units_are_machines_vcpus_or_a_fleets(lab: Fake):
    cluster = start(lab)
    vcpus = policy(4, 8, UnitType="VCPU")
    lab.client.put_managed_scaling_policy(ClusterId=cluster, ManagedScalingPolicy=vcpus)
    lab.yarn.pending["containersPending"] = 1
    let_pass(lab, resizing.EVALUATION_INTERVAL_S, lambda: group(lab, cluster)["RequestedInstanceCount"] == 2)
    lab.client.terminate_job_flows(JobFlowIds=[cluster])
    lab.wait(cluster, "TERMINATED")
    cluster = start(
        lab,
        Instances={"InstanceFleets": FLEETS},
        ManagedScalingPolicy=policy(4, 8, UnitType="InstanceFleetUnits", MaximumOnDemandCapacityUnits=4),
    )

    def targets() -> tuple[int, int]:
        core = lab.client.list_instance_fleets(ClusterId=cluster)["InstanceFleets"][1]
        return core["TargetOnDemandCapacity"], core["TargetSpotCapacity"]

    let_pass(lab, resizing.EVALUATION_INTERVAL_S, lambda: targets() == (4, 4))


def test_what_waits_for_a_moment_changes_nothing():
    damping = scaling.Damping()
    busy = [YarnNode(state="RUNNING", containers=1)]
    waits, rests = YarnLoad(applications=0, containers=1), YarnLoad(applications=0, containers=0)
    assert damping.change(waits, busy, now_s=0) == 0
    assert damping.change(rests, busy, now_s=9) == 0
    assert damping.change(waits, busy, now_s=18) == 0
    assert damping.change(waits, busy, now_s=28) == 1
    idle = [*busy, YarnNode(state="RUNNING", containers=0)]
    assert damping.change(rests, idle, now_s=30) == 0
    assert damping.change(rests, idle, now_s=89) == 0
    assert damping.change(rests, idle, now_s=90) == -1
    assert damping.change(rests, [YarnNode(state="DECOMMISSIONING", containers=0)], now_s=91) == 0
