"""Operations on a cluster's machines, and on the groups or fleets that they are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.exceptions import ServiceException
from moto.emr.exceptions import InvalidRequestException, ValidationException

from emr_lab.endpoint import instances as machines
from emr_lab.endpoint import scaling, serializers
from emr_lab.endpoint.errors import NotOfferedError, mutually_exclusive
from emr_lab.endpoint.operations.emr import Emr, Members, is_in_state, page
from emr_lab.endpoint.records import Cluster, Collection


def list_instances(emr: Emr, request: Members) -> dict[str, Any]:
    """Machines by their groups or fleets, and by their states."""
    collections = {request.get("InstanceGroupId"), request.get("InstanceFleetId")} - {None}
    roles = set(request.get("InstanceGroupTypes", [])) | {request.get("InstanceFleetType")} - {None}
    with emr.state.lock:
        cluster = emr.cluster(request["ClusterId"])
        other = "InstanceFleet" if cluster.uniform else "InstanceGroup"
        if unsuitable := [name for name in sorted(request) if name.startswith(other) and request[name]]:
            advice = f"ListInstances takes no {unsuitable[0]} for it."
            raise mutually_exclusive(uniform=cluster.uniform, advice=advice)
        role_of = {each.id: each.role for each in cluster.collections}
        if unknown := collections - role_of.keys():
            kind = "group" if cluster.uniform else "fleet"
            raise InvalidRequestException(f"Instance {kind} id '{unknown.pop()}' is not valid.")
        instances = [
            serializers.describe_instance(each, cluster)
            for each in cluster.instances
            if (not collections or each.collection in collections) and (not roles or role_of[each.collection] in roles)
        ]
    return page("Instances", instances, request, is_wanted=is_in_state(request.get("InstanceStates")))


def list_instance_groups(emr: Emr, request: Members) -> dict[str, Any]:
    """A cluster's groups; one with fleets is refused."""
    with emr.state.lock:
        cluster = _collected(emr, request["ClusterId"], uniform=True)
        groups = [serializers.describe_instance_group(each, cluster) for each in cluster.collections]
    return page("InstanceGroups", groups, request)


def list_instance_fleets(emr: Emr, request: Members) -> dict[str, Any]:
    """A cluster's fleets; one with groups is refused."""
    with emr.state.lock:
        cluster = _collected(emr, request["ClusterId"], uniform=False)
        fleets = [serializers.describe_instance_fleet(each, cluster) for each in cluster.collections]
    return page("InstanceFleets", fleets, request)


def modify_instance_groups(emr: Emr, request: Members) -> dict[str, Any]:
    """Let groups have another number of machines; all of them or none."""
    with emr.state.change():
        changes = {each["InstanceGroupId"]: each for each in request.get("InstanceGroups", [])}
        groups = {group_id: _group(emr, group_id, request.get("ClusterId")) for group_id in changes}
        for cluster, group in groups.values():
            for name in ("EC2InstanceIdsToTerminate", "Configurations", "ReconfigurationType"):
                if changes[group.id].get(name):
                    raise NotOfferedError(f"{name} of ModifyInstanceGroups is not in the lab; give an InstanceCount")
            if changes[group.id].get("ShrinkPolicy", {}).get("InstanceResizePolicy"):
                raise NotOfferedError("InstanceResizePolicy is not in the lab, which chooses the machines that leave")
            timeout_s = changes[group.id].get("ShrinkPolicy", {}).get("DecommissionTimeout", 0)
            if timeout_s < 0:
                raise ValidationException(f"DecommissionTimeout must be 0 or greater, not {timeout_s}.")
            counts = {each["InstanceGroupId"]: each.get("InstanceCount") for each in changes.values()}
            _check_count(emr, cluster, group, {key: value for key, value in counts.items() if value is not None})
        for _, group in groups.values():
            change = changes[group.id]
            scaling.resize(group, spot=group.spot, count=change.get("InstanceCount", group.count))
            group.decommission_timeout_s = change.get("ShrinkPolicy", {}).get(
                "DecommissionTimeout", group.decommission_timeout_s
            )
            group.stopped = ""
    return {}


def modify_instance_fleet(emr: Emr, request: Members) -> dict[str, Any]:
    """Let a fleet have another capacity."""
    change = request["InstanceFleet"]
    targets = {name: change[name] for name in ("TargetOnDemandCapacity", "TargetSpotCapacity") if name in change}
    with emr.state.change():
        cluster = emr.cluster(request["ClusterId"])
        if cluster.uniform:
            raise mutually_exclusive(uniform=True, advice="Use the ModifyInstanceGroups operation instead.")
        fleet = cluster.collection(change["InstanceFleetId"])
        if fleet is None:
            raise InvalidRequestException(f"Instance fleet id '{change['InstanceFleetId']}' is not valid.")
        _check_modifiable(cluster, fleet, InvalidRequestException)
        if change.get("InstanceTypeConfigs"):
            raise NotOfferedError("InstanceTypeConfigs of ModifyInstanceFleet is not in the lab; give capacities")
        if len(targets) == 1:
            raise InvalidRequestException(
                "The instance fleet should have both targetOnDemandCapacity and targetSpotCapacity specified."
            )
        wanted = {**fleet.request, **targets}
        if "ResizeSpecifications" in change:
            wanted["ResizeSpecifications"] = change["ResizeSpecifications"]
        count = sum(machines.fleet_counts(wanted, fleet.instance_type))
        _check_count(emr, cluster, fleet, {fleet.id: count})
        fleet.request, fleet.count, fleet.stopped = wanted, count, ""
    return {}


def _group(emr: Emr, group_id: str, cluster_id: str | None) -> tuple[Cluster, Collection]:
    """The group of this id, in this cluster or in any of the region, which can be modified. Under the lock."""
    everywhere = [each for each in emr.state.store.clusters.values() if each.region == emr.region]
    for cluster in [emr.cluster(cluster_id)] if cluster_id else everywhere:
        group = cluster.collection(group_id)
        if not cluster.uniform and (cluster_id or group):
            raise mutually_exclusive(uniform=False, advice="Use the ModifyInstanceFleet operation instead.")
        if group:
            _check_modifiable(cluster, group, ValidationException)
            return cluster, group
    raise InvalidRequestException(f"Instance group id '{group_id[:100]}' is not valid.")


def _check_modifiable(cluster: Cluster, collection: Collection, refusal: type[ServiceException]) -> None:
    kind = "group" if cluster.uniform else "fleet"
    if cluster.state not in {"RUNNING", "WAITING"}:
        raise refusal(f"An instance {kind} may only be modified when the cluster is running or waiting")
    if collection.role == "MASTER":
        raise refusal(f"The master instance {kind} may not be modified.")


def _check_count(emr: Emr, cluster: Cluster, collection: Collection, counts: Mapping[str, int]) -> None:
    """See that the cluster can have so many machines; `counts` are the new ones by the ids of groups or fleets."""
    refusal = ValidationException if cluster.uniform else InvalidRequestException
    count = counts.get(collection.id, collection.count)
    if collection.role == "CORE":
        least = scaling.replication(cluster.request.get("Configurations", []))
        if count < least:
            raise refusal(
                f"The core nodes cannot be reduced to {count}: HDFS keeps each block on {least} (dfs.replication)."
            )
    if count < 0:
        raise refusal(f"InstanceCount must be 0 or greater, not {count}.")
    total, cores = (
        sum(counts.get(each.id, each.count) for each in cluster.collections) - 1,
        emr.state.capabilities.cores,
    )
    if total > len(cores):
        raise refusal(f"The cluster would have {total} core and task nodes; the lab has {len(cores)}.")


def _collected(emr: Emr, cluster_id: str, *, uniform: bool) -> Cluster:
    """The cluster, which has instance groups (`uniform`), or else fleets."""
    cluster = emr.cluster(cluster_id)
    if cluster.uniform != uniform:
        kind, other = ("Group", "Fleet") if uniform else ("Fleet", "Group")
        advice = (
            f"The ListInstance{kind}s operation does not support clusters that use instance {other.lower()}s. "
            f"Use the ListInstance{other}s operation instead."
        )
        raise mutually_exclusive(uniform=cluster.uniform, advice=advice)
    return cluster
