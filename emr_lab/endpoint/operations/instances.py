"""Operations on a cluster's machines, and on the groups or fleets that they are in."""

from __future__ import annotations

from typing import Any

from moto.emr.exceptions import InvalidRequestException

from emr_lab.endpoint import serializers
from emr_lab.endpoint.errors import mutually_exclusive
from emr_lab.endpoint.operations.emr import Emr, Members, page
from emr_lab.endpoint.records import Cluster


def list_instances(emr: Emr, request: Members) -> dict[str, Any]:
    """Machines by their groups or fleets, and by their states."""
    collections = {request.get("InstanceGroupId"), request.get("InstanceFleetId")} - {None}
    roles = set(request.get("InstanceGroupTypes", [])) | {request.get("InstanceFleetType")} - {None}
    states = set(request.get("InstanceStates", []))
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
    return page("Instances", [each for each in instances if not states or each["Status"]["State"] in states], request)


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
