"""Clusters, nodes and steps in the shapes of EMR's API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from base import releases, sizing
from emr_lab.endpoint import instances
from emr_lab.endpoint.records import (
    DEFAULT_ACTION_ON_FAILURE,
    Cluster,
    Collection,
    Instance,
    SecurityConfiguration,
    Step,
)
from emr_lab.endpoint.validation import RECORDED

# A machine's state follows its cluster's.
_MACHINE = {"STARTING": "PROVISIONING", "BOOTSTRAPPING": "BOOTSTRAPPING"}
_COLLECTION = {**_MACHINE, "TERMINATING": "TERMINATING"}
# Members of RunJobFlow's Instances, and of the answer.
SECURITY_GROUPS = (
    "EmrManagedMasterSecurityGroup",
    "EmrManagedSlaveSecurityGroup",
    "ServiceAccessSecurityGroup",
    "AdditionalMasterSecurityGroups",
    "AdditionalSlaveSecurityGroups",
)


def describe_cluster(cluster: Cluster, release: releases.Release) -> dict[str, Any]:
    """DescribeCluster's Cluster."""
    request, requested_instances = cluster.request, cluster.request["Instances"]
    names = ("Name", "ReleaseLabel", "ServiceRole", "SecurityConfiguration", *RECORDED)
    shown = _members(request, *names)
    subnets = requested_instances.get("Ec2SubnetIds", [])
    attributes = {
        "Ec2KeyName": requested_instances.get("Ec2KeyName"),
        "Ec2SubnetId": requested_instances.get("Ec2SubnetId") or next(iter(subnets), None),
        "RequestedEc2SubnetIds": subnets or None,
        "Ec2AvailabilityZone": requested_instances.get("Placement", {}).get("AvailabilityZone") or f"{cluster.region}a",
        "IamInstanceProfile": request["JobFlowRole"],
        **_members(requested_instances, *SECURITY_GROUPS),
    }
    return {
        **shown,
        **cluster_summary(cluster),
        "Ec2InstanceAttributes": {name: value for name, value in attributes.items() if value},
        "InstanceCollectionType": "INSTANCE_GROUP" if cluster.uniform else "INSTANCE_FLEET",
        # EMR answers in the old scheme.
        **({"LogUri": f"s3n://{request['LogUri'].partition('://')[2]}"} if request.get("LogUri") else {}),
        "AutoTerminate": not cluster.keep_alive,
        "TerminationProtected": cluster.protected,
        **_members(requested_instances, "UnhealthyNodeReplacement"),
        "Applications": [
            {"Name": name, "Version": {"hadoop": release.hadoop, "spark": release.spark}[name.lower()]}
            for name in application_names(cluster)
        ],
        "Tags": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
        "Configurations": request.get("Configurations", []),
        "MasterPublicDnsName": "primary",
        "StepConcurrencyLevel": cluster.concurrency,
        "SessionEnabled": bool(request.get("SessionEnabled")),
    }


def application_names(cluster: Cluster) -> list[str]:
    """The names of what is installed; Hadoop where the request has none, as on EMR."""
    return [str(each["Name"]) for each in cluster.request.get("Applications", [])] or ["Hadoop"]


def cluster_summary(cluster: Cluster) -> dict[str, Any]:
    """ListClusters' ClusterSummary."""
    line = {"CreationDateTime": cluster.created_s, "ReadyDateTime": cluster.ready_s, "EndDateTime": cluster.ended_s}
    reason = {"Code": cluster.code, "Message": cluster.message}
    return {
        "Id": cluster.id,
        "Name": cluster.request["Name"],
        "Status": {"State": cluster.state, "StateChangeReason": _without_empty(reason), "Timeline": _times(line)},
        "NormalizedInstanceHours": normalized_hours(cluster),
        "ClusterArn": cluster.arn,
    }


def normalized_hours(cluster: Cluster) -> int:
    """Hours of the cluster's machines, begun ones too, in units of a small instance: an xlarge counts eight.

    https://docs.aws.amazon.com/emr/latest/APIReference/API_ClusterSummary.html
    """
    if cluster.ready_s is None:
        return 0
    until_s = cluster.ended_s or datetime.now(UTC).timestamp()
    vcpus = {each.id: sizing.INSTANCE_TYPES[each.instance_type].vcpu for each in cluster.collections}
    return sum(
        2 * vcpus[each.collection] * (int(((each.ended_s or until_s) - ready_s) // 3600) + 1)
        for each in cluster.instances
        if (ready_s := each.ready_s if each.state else cluster.ready_s) is not None
    )


def describe_step(step: Step) -> dict[str, Any]:
    """DescribeStep's Step, and ListSteps' StepSummary."""
    run = step.request["HadoopJarStep"]
    properties = {each["Key"]: each.get("Value", "") for each in run.get("Properties", [])}
    config = {
        "Jar": run["Jar"],
        "Args": run.get("Args", []),
        "Properties": properties,
        "MainClass": run.get("MainClass"),
    }
    line = {"CreationDateTime": step.created_s, "StartDateTime": step.started_s, "EndDateTime": step.ended_s}
    status: dict[str, Any] = {
        "State": step.state,
        "StateChangeReason": _without_empty({"Message": step.message}),
        "Timeline": _times(line),
    }
    if step.failure:
        status["FailureDetails"] = step.failure
    return {
        "Id": step.id,
        "Name": step.request["Name"],
        "Config": _without_empty(config),
        **({"ExecutionRoleArn": step.execution_role} if step.execution_role else {}),
        "ActionOnFailure": step.request.get("ActionOnFailure", DEFAULT_ACTION_ON_FAILURE),
        "Status": status,
    }


def describe_instance(instance: Instance, cluster: Cluster) -> dict[str, Any]:
    """ListInstances' Instance; it has no addresses, and disks only as far as its group or fleet says."""
    collection = next(each for each in cluster.collections if each.id == instance.collection)
    line = {
        "CreationDateTime": instance.created_s or cluster.created_s,
        "ReadyDateTime": instance.ready_s if instance.state else cluster.ready_s,
        "EndDateTime": instance.ended_s or cluster.ended_s,
    }
    reason = {"Code": instance.code, "Message": instance.message}
    if instance.ended_s is None and cluster.ended_s:
        reason = {"Code": "CLUSTER_TERMINATED", "Message": cluster.message}
    return {
        "Id": instance.id,
        "Ec2InstanceId": instance.ec2,
        "PublicDnsName": instance.node,
        "PrivateDnsName": instance.node,
        "Status": {
            "State": _machine_state(instance, cluster),
            "StateChangeReason": _without_empty(reason),
            "Timeline": _times(line),
        },
        "InstanceGroupId" if cluster.uniform else "InstanceFleetId": collection.id,
        "Market": "SPOT" if instance.spot else "ON_DEMAND",
        "InstanceType": collection.instance_type,
    }


def describe_instance_group(group: Collection, cluster: Cluster) -> dict[str, Any]:
    """ListInstanceGroups' InstanceGroup."""
    bid = {"BidPrice": group.request["BidPrice"]} if "BidPrice" in group.request else {}
    return {
        "Id": group.id,
        "Name": group.request.get("Name", group.role.lower()),
        "Market": "SPOT" if group.spot else "ON_DEMAND",
        **bid,
        "InstanceGroupType": group.role,
        "InstanceType": group.instance_type,
        "RequestedInstanceCount": group.count,
        "RunningInstanceCount": len(_running(group, cluster)),
        "Status": _status(group, cluster),
        "Configurations": [],
        "ShrinkPolicy": _without_empty({"DecommissionTimeout": group.decommission_timeout_s}),
        **_disks(group.request),
    }


def describe_instance_fleet(fleet: Collection, cluster: Cluster) -> dict[str, Any]:
    """ListInstanceFleets' InstanceFleet; whole machines may be more than its target."""
    request = fleet.request
    units = instances.weight(request, fleet.instance_type)
    on_spot = [each.spot for each in _running(fleet, cluster)]
    return {
        "Id": fleet.id,
        "Name": request.get("Name", fleet.role.lower()),
        "Status": _status(fleet, cluster),
        "InstanceFleetType": fleet.role,
        "TargetOnDemandCapacity": request.get("TargetOnDemandCapacity", 0),
        "TargetSpotCapacity": request.get("TargetSpotCapacity", 0),
        "ProvisionedOnDemandCapacity": on_spot.count(False) * units,
        "ProvisionedSpotCapacity": on_spot.count(True) * units,
        "InstanceTypeSpecifications": [
            {
                "WeightedCapacity": 1,
                **_members(each, "InstanceType", "WeightedCapacity", "BidPrice", "Priority"),
                **_members(each, "BidPriceAsPercentageOfOnDemandPrice"),
                "Configurations": [],
                **_disks(each),
            }
            for each in request["InstanceTypeConfigs"]
        ],
        **_members(request, "LaunchSpecifications", "ResizeSpecifications", "Context"),
    }


def describe_bootstrap_action(action: dict[str, Any]) -> dict[str, Any]:
    """ListBootstrapActions' Command."""
    script = action["ScriptBootstrapAction"]
    return {"Name": action["Name"], "ScriptPath": script["Path"], "Args": script.get("Args", [])}


def security_configuration_summary(configuration: SecurityConfiguration) -> dict[str, Any]:
    """ListSecurityConfigurations' SecurityConfigurationSummary."""
    return {"Name": configuration.name, **_times({"CreationDateTime": configuration.created_s})}


def _disks(request: dict[str, Any]) -> dict[str, Any]:
    """The disks that a group or a fleet's type asks for, one entry a volume, without the devices that they would be."""
    ebs = request.get("EbsConfiguration", {})
    volumes = [
        {"VolumeSpecification": each["VolumeSpecification"]}
        for each in ebs.get("EbsBlockDeviceConfigs", [])
        for _ in range(each.get("VolumesPerInstance", 1))
    ]
    return {"EbsBlockDevices": volumes, **_members(ebs, "EbsOptimized")}


def _members(request: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: request[name] for name in names if name in request}


def _machine_state(instance: Instance, cluster: Cluster) -> str:
    if cluster.ended_s or instance.ended_s:
        return "TERMINATED"
    return instance.state or _MACHINE.get(cluster.state, "RUNNING")


def _running(collection: Collection, cluster: Cluster) -> list[Instance]:
    """The machines of a group or fleet that run."""
    machines = [each for each in cluster.instances if each.collection == collection.id]
    return [each for each in machines if _machine_state(each, cluster) == "RUNNING"]


def _collection_state(collection: Collection, cluster: Cluster) -> str:
    state = "TERMINATED" if cluster.ended_s else _COLLECTION.get(cluster.state, "RUNNING")
    if state != "RUNNING":
        return state
    if collection.stopped:
        # EMR has a word for each kind.
        return "ARRESTED" if cluster.uniform else "SUSPENDED"
    machines = [each for each in cluster.machines() if each.collection == collection.id]
    settled = all(each.joined and each.leaving_s is None for each in machines)
    return "RUNNING" if settled and len(machines) == collection.count else "RESIZING"


def _status(collection: Collection, cluster: Cluster) -> dict[str, Any]:
    line = {"CreationDateTime": cluster.created_s, "ReadyDateTime": cluster.ready_s, "EndDateTime": cluster.ended_s}
    message = cluster.message if cluster.ended_s else collection.stopped
    return {
        "State": _collection_state(collection, cluster),
        "StateChangeReason": _without_empty({"Message": message}),
        "Timeline": _times(line),
    }


def _times(seconds: dict[str, float | None]) -> dict[str, datetime]:
    return {name: datetime.fromtimestamp(value, UTC) for name, value in seconds.items() if value is not None}


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}
