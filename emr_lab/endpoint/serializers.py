"""Clusters, nodes and steps in the shapes of EMR's API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from base import releases, sizing
from emr_lab.endpoint.records import Cluster, Collection, Instance, Step
from emr_lab.endpoint.validation import RECORDED

# A machine's state follows its cluster's.
_MACHINE = {"STARTING": "PROVISIONING", "BOOTSTRAPPING": "BOOTSTRAPPING"}
_COLLECTION = {**_MACHINE, "TERMINATING": "TERMINATING"}


def cluster(found: Cluster, release: releases.Release) -> dict[str, Any]:
    """DescribeCluster's Cluster."""
    request, instances = found.request, found.request["Instances"]
    shown = {name: request[name] for name in ("Name", "ReleaseLabel", "ServiceRole", *RECORDED) if name in request}
    subnets = instances.get("Ec2SubnetIds", [])
    attributes = {
        "Ec2KeyName": instances.get("Ec2KeyName"),
        "Ec2SubnetId": instances.get("Ec2SubnetId") or next(iter(subnets), None),
        "RequestedEc2SubnetIds": subnets or None,
        "Ec2AvailabilityZone": instances.get("Placement", {}).get("AvailabilityZone") or f"{found.region}a",
        "IamInstanceProfile": request["JobFlowRole"],
    }
    return {
        **shown,
        **summary(found),
        "Ec2InstanceAttributes": {name: value for name, value in attributes.items() if value},
        "InstanceCollectionType": "INSTANCE_GROUP" if found.uniform else "INSTANCE_FLEET",
        # EMR answers in the old scheme.
        **({"LogUri": f"s3n://{request['LogUri'].partition('://')[2]}"} if request.get("LogUri") else {}),
        "AutoTerminate": not found.keep_alive,
        "TerminationProtected": found.protected,
        "Applications": [
            {"Name": name, "Version": {"hadoop": release.hadoop, "spark": release.spark}[name.lower()]}
            for name in applications(found)
        ],
        "Tags": [{"Key": key, "Value": value} for key, value in found.tags.items()],
        "Configurations": request.get("Configurations", []),
        "MasterPublicDnsName": "primary",
        "StepConcurrencyLevel": found.concurrency,
    }


def applications(found: Cluster) -> list[str]:
    """The names of what is installed; Hadoop where the request has none, as on EMR."""
    return [str(each["Name"]) for each in found.request.get("Applications", [])] or ["Hadoop"]


def summary(found: Cluster) -> dict[str, Any]:
    """ListClusters' ClusterSummary."""
    line = {"CreationDateTime": found.created_s, "ReadyDateTime": found.ready_s, "EndDateTime": found.ended_s}
    reason = {"Code": found.code, "Message": found.message}
    return {
        "Id": found.id,
        "Name": found.request["Name"],
        "Status": {"State": found.state, "StateChangeReason": _given(reason), "Timeline": _times(line)},
        "NormalizedInstanceHours": normalized_hours(found),
        "ClusterArn": found.arn,
    }


def normalized_hours(found: Cluster) -> int:
    """Hours of the cluster, begun ones too, in units of a small instance: an xlarge counts eight.

    https://docs.aws.amazon.com/emr/latest/APIReference/API_ClusterSummary.html
    """
    if found.ready_s is None:
        return 0
    hours = int(((found.ended_s or datetime.now(UTC).timestamp()) - found.ready_s) // 3600) + 1
    return hours * sum(2 * sizing.INSTANCE_TYPES[each.instance_type].vcpu * each.count for each in found.collections)


def step(found: Step) -> dict[str, Any]:
    """DescribeStep's Step, and ListSteps' StepSummary."""
    run = found.request["HadoopJarStep"]
    properties = {each["Key"]: each.get("Value", "") for each in run.get("Properties", [])}
    config = {
        "Jar": run["Jar"],
        "Args": run.get("Args", []),
        "Properties": properties,
        "MainClass": run.get("MainClass"),
    }
    line = {"CreationDateTime": found.created_s, "StartDateTime": found.started_s, "EndDateTime": found.ended_s}
    status: dict[str, Any] = {
        "State": found.state,
        "StateChangeReason": _given({"Message": found.message}),
        "Timeline": _times(line),
    }
    if found.failure:
        status["FailureDetails"] = found.failure
    return {
        "Id": found.id,
        "Name": found.request["Name"],
        "Config": _given(config),
        "ActionOnFailure": found.request.get("ActionOnFailure", "TERMINATE_CLUSTER"),
        "Status": status,
    }


def instance(found: Instance, cluster: Cluster) -> dict[str, Any]:
    """ListInstances' Instance."""
    collection = next(each for each in cluster.collections if each.id == found.collection)
    return {
        "Id": found.id,
        "Ec2InstanceId": found.ec2,
        "PublicDnsName": found.node,
        "PrivateDnsName": found.node,
        "Status": _status(cluster, _machine_state(cluster)),
        "InstanceGroupId" if cluster.uniform else "InstanceFleetId": collection.id,
        "Market": "SPOT" if collection.spot else "ON_DEMAND",
        "InstanceType": collection.instance_type,
    }


def instance_group(found: Collection, cluster: Cluster) -> dict[str, Any]:
    """ListInstanceGroups' InstanceGroup."""
    running = _machine_state(cluster) == "RUNNING"
    bid = {"BidPrice": found.request["BidPrice"]} if "BidPrice" in found.request else {}
    return {
        "Id": found.id,
        "Name": found.request.get("Name", found.role.lower()),
        "Market": "SPOT" if found.spot else "ON_DEMAND",
        **bid,
        "InstanceGroupType": found.role,
        "InstanceType": found.instance_type,
        "RequestedInstanceCount": found.count,
        "RunningInstanceCount": found.count if running else 0,
        "Status": _status(cluster, _collection_state(cluster)),
    }


def instance_fleet(found: Collection, cluster: Cluster) -> dict[str, Any]:
    """ListInstanceFleets' InstanceFleet."""
    request, running = found.request, _machine_state(cluster) == "RUNNING"
    on_demand, spot = int(request.get("TargetOnDemandCapacity", 0)), int(request.get("TargetSpotCapacity", 0))
    return {
        "Id": found.id,
        "Name": request.get("Name", found.role.lower()),
        "Status": _status(cluster, _collection_state(cluster)),
        "InstanceFleetType": found.role,
        "TargetOnDemandCapacity": on_demand,
        "TargetSpotCapacity": spot,
        "ProvisionedOnDemandCapacity": on_demand if running else 0,
        "ProvisionedSpotCapacity": spot if running else 0,
        "InstanceTypeSpecifications": [
            {name: each[name] for name in ("InstanceType", "WeightedCapacity", "BidPrice") if name in each}
            for each in request["InstanceTypeConfigs"]
        ],
        **({"LaunchSpecifications": request["LaunchSpecifications"]} if "LaunchSpecifications" in request else {}),
    }


def bootstrap_action(request: dict[str, Any]) -> dict[str, Any]:
    """ListBootstrapActions' Command."""
    script = request["ScriptBootstrapAction"]
    return {"Name": request["Name"], "ScriptPath": script["Path"], "Args": script.get("Args", [])}


def _machine_state(cluster: Cluster) -> str:
    return "TERMINATED" if cluster.ended_s else _MACHINE.get(cluster.state, "RUNNING")


def _collection_state(cluster: Cluster) -> str:
    return "TERMINATED" if cluster.ended_s else _COLLECTION.get(cluster.state, "RUNNING")


def _status(cluster: Cluster, state: str) -> dict[str, Any]:
    line = {"CreationDateTime": cluster.created_s, "ReadyDateTime": cluster.ready_s, "EndDateTime": cluster.ended_s}
    reason = {"Message": cluster.message} if cluster.ended_s else {}
    return {"State": state, "StateChangeReason": reason, "Timeline": _times(line)}


def _times(seconds: dict[str, float | None]) -> dict[str, datetime]:
    return {name: datetime.fromtimestamp(value, UTC) for name, value in seconds.items() if value is not None}


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}
