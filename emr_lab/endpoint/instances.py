"""The machines that RunJobFlow asks for: instance groups or fleets, and a node of the lab for each machine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from moto.emr.exceptions import ValidationException

from base import sizing
from emr_lab.endpoint.errors import NotOfferedError
from emr_lab.endpoint.records import Cluster, Collection, Instance, new_id

REFUSED_MEMBERS = ("AutoScalingPolicy", "Configurations", "CustomAmiId")  # of a group or of a fleet's types
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-plan-storage.html
MOST_VOLUMES = 25


def parse(instances: Mapping[str, Any], ours: str) -> list[Collection]:
    """Return the instance groups or fleets that `Instances` of RunJobFlow asks for.

    Args:
        instances: the member `Instances`.
        ours: the instance type of the nodes on which YARN runs containers; MASTER may have another beside core nodes.

    Raises:
        ValidationException: there is not one primary node, or a type is not known.
        NotOfferedError: a group has what the lab has not.
    """
    groups, fleets = instances.get("InstanceGroups"), instances.get("InstanceFleets")
    if groups and fleets:
        raise ValidationException("Instance groups and instance fleets are mutually exclusive.")
    if not groups and not fleets:
        groups = _groups_of_types(instances)
    collections = [_fleet(each, ours) for each in fleets] if fleets else [_group(each) for each in groups or []]
    for each in collections:
        if each.instance_type not in sizing.INSTANCE_TYPES:
            raise ValidationException(
                f"Instance type '{each.instance_type}' is not supported. "
                f"The lab knows {', '.join(sizing.INSTANCE_TYPES)}."
            )
        if each.instance_type != ours and (each.role != "MASTER" or len(collections) == 1):
            raise ValidationException(
                f"Instance type '{each.instance_type}' is not supported: the lab's nodes are {ours}. "
                f"Start them as INSTANCE_TYPE={each.instance_type}, or ask for {ours}."
            )
    roles = [each.role for each in collections]
    if roles.count("MASTER") != 1 or roles.count("CORE") > 1:
        raise ValidationException("The cluster needs one MASTER and at most one CORE instance group or fleet.")
    if next(each for each in collections if each.role == "MASTER").count != 1:
        raise NotOfferedError("a cluster of the lab has one primary node; ask for one in MASTER")
    return collections


def allocate(collections: Sequence[Collection], cores: Sequence[str]) -> list[Instance]:
    """Give each machine of the groups or fleets a node of the lab; `cores` are the core nodes' names.

    Raises:
        ValidationException: there are too many machines.
    """
    core_count = sum(each.count for each in collections) - 1
    if core_count > len(cores):
        raise ValidationException(
            f"The cluster would have {core_count} core and task nodes; the lab has {len(cores)}. "
            f"Ask for 0 to {len(cores)} beside the primary node."
        )
    free = iter(cores)
    return [
        new(each, node="primary" if each.role == "MASTER" else next(free), spot=spot)
        for each in sorted(collections, key=lambda each: ("MASTER", "CORE", "TASK").index(each.role))
        for spot, count in wanted(each).items()
        for _ in range(count)
    ]


def new(collection: Collection, *, node: str, spot: bool) -> Instance:
    """Return a new machine of a group or fleet, for which a node of the lab stands."""
    return Instance(id=new_id("ci"), ec2=f"i-0{secrets.token_hex(8)}", node=node, collection=collection.id, spot=spot)


def wanted(collection: Collection) -> dict[bool, int]:
    """Return how many machines a group or fleet is to have on demand (False) and on spot (True)."""
    if is_fleet(collection):
        on_demand, spot = fleet_counts(collection.request, collection.instance_type)
        return {False: on_demand, True: spot}
    return {collection.spot: collection.count}


def is_fleet(collection: Collection) -> bool:
    """Return whether it is a fleet, not a group."""
    return "InstanceTypeConfigs" in collection.request


def keeps_data(instance: Instance, cluster: Cluster) -> bool:
    """Return whether HDFS keeps blocks on a machine: on core nodes, and on a primary that has none."""
    roles = {each.id: each.role for each in cluster.collections}
    role = roles[instance.collection]
    return role == "CORE" or (role == "MASTER" and "CORE" not in roles.values())


def weight(fleet: Mapping[str, Any], instance_type: str) -> int:
    """Return how many units of a fleet's capacity a machine of a type is; `fleet` is its InstanceFleetConfig."""
    config = next(each for each in fleet["InstanceTypeConfigs"] if each["InstanceType"] == instance_type)
    return int(config.get("WeightedCapacity", 1))


def fleet_counts(fleet: Mapping[str, Any], instance_type: str) -> tuple[int, int]:
    """Return how many machines of a type give a fleet its capacity on demand, and on spot."""
    units = weight(fleet, instance_type)
    on_demand, spot = (
        -(-int(fleet.get(name, 0)) // units) for name in ("TargetOnDemandCapacity", "TargetSpotCapacity")
    )
    return on_demand, spot


def _groups_of_types(instances: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups that MasterInstanceType, SlaveInstanceType and InstanceCount stand for."""
    count, kind = instances.get("InstanceCount", 1), instances.get("MasterInstanceType")
    if not kind:
        raise ValidationException("Instances must have InstanceGroups, InstanceFleets or MasterInstanceType.")
    _positive(count, "InstanceCount")
    groups = [{"InstanceRole": "MASTER", "InstanceType": kind, "InstanceCount": 1}]
    if count > 1:
        core = instances.get("SlaveInstanceType", kind)
        groups.append({"InstanceRole": "CORE", "InstanceType": core, "InstanceCount": count - 1})
    return groups


def _group(request: Mapping[str, Any]) -> Collection:
    _check_nodes(request)
    _positive(request["InstanceCount"], f"InstanceCount of {request['InstanceRole']}")
    return Collection(
        id=new_id("ig"),
        role=request["InstanceRole"],
        instance_type=request["InstanceType"],
        spot=request.get("Market") == "SPOT",
        count=request["InstanceCount"],
        request=dict(request),
    )


def _fleet(request: Mapping[str, Any], ours: str) -> Collection:
    """Return a fleet as if all of its capacity came in the lab's instance type, or else its first."""
    types = request.get("InstanceTypeConfigs") or []
    if not types:
        raise ValidationException(f"The instance fleet {request['InstanceFleetType']} has no InstanceTypeConfigs.")
    for each in types:
        _check_nodes(each)
    chosen = next((each for each in types if each["InstanceType"] == ours), types[0])
    on_demand, spot = request.get("TargetOnDemandCapacity", 0), request.get("TargetSpotCapacity", 0)
    role = request["InstanceFleetType"]
    _positive(on_demand + spot, f"TargetOnDemandCapacity and TargetSpotCapacity of {role}")
    _positive(weight(request, chosen["InstanceType"]), f"WeightedCapacity of {role}")
    return Collection(
        id=new_id("if"),
        role=role,
        instance_type=chosen["InstanceType"],
        spot=not on_demand,
        count=sum(fleet_counts(request, chosen["InstanceType"])),
        request=dict(request),
    )


def _positive(number: int, what: str) -> None:
    if number < 1:
        raise ValidationException(f"{what} must be 1 or greater, not {number}.")


def _check_nodes(request: Mapping[str, Any]) -> None:
    """See that a group, or a type of a fleet, asks for nothing that the lab has not, and for no more disks than EMR."""
    disks = request.get("EbsConfiguration", {}).get("EbsBlockDeviceConfigs", [])
    counts = [each.get("VolumesPerInstance", 1) for each in disks]
    for count in counts:
        _positive(count, "VolumesPerInstance")
    if sum(counts) > MOST_VOLUMES:
        raise ValidationException(f"An instance has at most {MOST_VOLUMES} EBS volumes, not {sum(counts)}.")
    for name in REFUSED_MEMBERS:
        if request.get(name):
            raise NotOfferedError(f"{name} of single instance groups or fleets is not in the lab; leave it out")
