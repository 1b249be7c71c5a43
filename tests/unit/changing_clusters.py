"""Clusters of the EMR lab in this process whose machines come and go."""

from __future__ import annotations

from typing import Any

from tests.unit.fake_nodes import CORE, MASTER, Fake, groups, wait_until

KIND = [{"InstanceType": "m5.xlarge", "WeightedCapacity": 4}]
FLEETS = [
    {"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": KIND},
    {"InstanceFleetType": "CORE", "TargetOnDemandCapacity": 4, "InstanceTypeConfigs": KIND},
]
TASK = {"InstanceRole": "TASK", "InstanceType": "m5.xlarge", "InstanceCount": 1, "Market": "SPOT"}


def policy(minimum: int, maximum: int, **more: Any) -> dict[str, Any]:
    limits = {"UnitType": "Instances", "MinimumCapacityUnits": minimum, "MaximumCapacityUnits": maximum}
    return {"ComputeLimits": limits | more}


def start(lab: Fake, *steps: dict[str, Any], core: int = 1, **changes: Any) -> str:
    """A cluster that waits, with so many core nodes, or with what `Instances` asks for."""
    instances = changes.pop("Instances", groups(MASTER, CORE | {"InstanceCount": core})["Instances"])
    cluster = lab.start(*steps, Instances={**instances, "KeepJobFlowAliveWhenNoSteps": True}, **changes)
    lab.wait(cluster, "WAITING", "RUNNING")
    return cluster


def group(lab: Fake, cluster: str, role: str = "CORE") -> dict[str, Any]:
    found = lab.client.list_instance_groups(ClusterId=cluster)["InstanceGroups"]
    return dict(next(each for each in found if each["InstanceGroupType"] == role))


def machines(lab: Fake, cluster: str, *states: str) -> list[str]:
    found = lab.client.list_instances(ClusterId=cluster, InstanceStates=list(states or ("RUNNING",)))["Instances"]
    return sorted(each["PrivateDnsName"] for each in found)


def resize(lab: Fake, cluster: str, count: int, **more: Any) -> None:
    change = {"InstanceGroupId": group(lab, cluster)["Id"], "InstanceCount": count, **more}
    lab.client.modify_instance_groups(ClusterId=cluster, InstanceGroups=[change])


def wait_group(lab: Fake, cluster: str, state: str, running: int) -> None:
    def is_so() -> bool:
        found = group(lab, cluster)
        return (found["Status"]["State"], found["RunningInstanceCount"]) == (state, running)

    wait_until(is_so, lambda: str(group(lab, cluster)))
