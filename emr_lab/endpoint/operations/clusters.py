"""Operations on clusters: their beginning, their end, and what can be changed of them meanwhile."""

from __future__ import annotations

import logging
from typing import Any

from moto.emr.exceptions import InvalidRequestException, ValidationException

from emr_lab.endpoint import commands, scaling, serializers, validation
from emr_lab.endpoint.errors import NotOfferedError
from emr_lab.endpoint.lifecycle import start
from emr_lab.endpoint.operations.emr import ACCOUNT, Emr, Members, is_in_state, page
from emr_lab.endpoint.records import Cluster
from emr_lab.endpoint.state import cancel_pending, terminate

MOST_CLUSTERS_TO_END = 10

_LOG = logging.getLogger(__name__)


def run_job_flow(emr: Emr, request: Members) -> dict[str, Any]:
    """Remember the cluster and begin its life."""
    state = emr.state
    with state.change():
        cluster = validation.cluster(
            request,
            state.capabilities,
            security_configurations=emr.security_configurations(),
            region=emr.region,
            account=ACCOUNT,
            now_s=state.clock(),
        )
        for other in state.store.clusters.values():
            if other.ended_s is None and other.state != "TERMINATING":
                raise ValidationException(
                    f"The lab has nodes for one cluster at a time, and {other.id} ({other.state}, "
                    f"{other.region}) has them. Add steps to it, or terminate it first."
                )
        state.store.clusters[cluster.id] = cluster
    if note := commands.release_note(cluster, state.capabilities.release):
        _LOG.warning("%s: %s", cluster.id, note)
    start(state, cluster)
    return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}


def terminate_job_flows(emr: Emr, request: Members) -> dict[str, Any]:
    """Let the clusters end; those that have ended are left alone, and a protected one is refused after the rest."""
    if len(request["JobFlowIds"]) > MOST_CLUSTERS_TO_END:
        raise ValidationException(f"At most {MOST_CLUSTERS_TO_END} clusters can be terminated at once.")
    with emr.state.record():
        clusters = [emr.job_flow(each) for each in request["JobFlowIds"]]
        for cluster in clusters:
            if not cluster.protected:
                cancel_pending(cluster, "Job terminated", now_s=emr.state.clock())
                terminate(cluster, "USER_REQUEST", "Terminated by user request")
    if any(cluster.protected and cluster.ended_s is None for cluster in clusters):
        raise ValidationException("Could not shut down one or more job flows since they are termination protected.")
    return {}


def describe_cluster(emr: Emr, request: Members) -> dict[str, Any]:
    """One cluster."""
    with emr.state.lock:
        cluster = emr.cluster(request["ClusterId"])
        return {"Cluster": serializers.describe_cluster(cluster, emr.state.capabilities.release)}


def list_clusters(emr: Emr, request: Members) -> dict[str, Any]:
    """Clusters by their states and the time of their creation, newest first."""
    after, before = request.get("CreatedAfter", float("-inf")), request.get("CreatedBefore", float("inf"))
    with emr.state.lock:
        summaries = [
            serializers.cluster_summary(each)
            for each in reversed(emr.state.store.clusters.values())
            if each.region == emr.region and after <= each.created_s <= before
        ]
    return page("Clusters", summaries, request, is_wanted=is_in_state(request.get("ClusterStates")))


def modify_cluster(emr: Emr, request: Members) -> dict[str, Any]:
    """Change how many steps may run at once."""
    if "StepConcurrencyLevel" not in request or request.get("ExtendedSupport"):
        raise NotOfferedError("ModifyCluster changes StepConcurrencyLevel in the lab, nothing else")
    level = validation.concurrency(request["StepConcurrencyLevel"])
    with emr.state.change():
        emr.modifiable(request["ClusterId"]).concurrency = level
    return {"StepConcurrencyLevel": level}


def set_termination_protection(emr: Emr, request: Members) -> dict[str, Any]:
    """Protect the clusters from TerminateJobFlows, failing steps and auto-termination, or do so no longer."""
    with emr.state.change():
        for cluster in [emr.modifiable(each) for each in request["JobFlowIds"]]:
            cluster.protected = request["TerminationProtected"]
    return {}


def set_keep_job_flow_alive_when_no_steps(emr: Emr, request: Members) -> dict[str, Any]:
    """Let the clusters wait after their last step, or end."""
    with emr.state.change():
        for cluster in [emr.modifiable(each) for each in request["JobFlowIds"]]:
            cluster.keep_alive = request["KeepJobFlowAliveWhenNoSteps"]
    return {}


def put_auto_termination_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """Set the policy; idle time counts from now."""
    timeout_s = validation.idle_timeout_s(request.get("AutoTerminationPolicy", {}))
    _set_idle_timeout(emr, request["ClusterId"], timeout_s)
    return {}


def remove_auto_termination_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """Let the cluster be idle for as long as it likes."""
    _set_idle_timeout(emr, request["ClusterId"], None)
    return {}


def get_auto_termination_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """The policy, where there is one."""
    with emr.state.lock:
        timeout_s = emr.cluster(request["ClusterId"]).idle_timeout_s
    return {} if timeout_s is None else {"AutoTerminationPolicy": {"IdleTimeout": timeout_s}}


def put_managed_scaling_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """Set the policy in place of the one before, if any; groups and fleets that had been stopped try again."""
    with emr.state.change():
        cluster = emr.modifiable(request["ClusterId"])
        policy = request["ManagedScalingPolicy"]
        cluster.scaling = scaling.check(policy, cluster.collections, cores=len(emr.state.capabilities.cores))
        for each in cluster.collections:
            each.stopped = ""
    return {}


def get_managed_scaling_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """The policy, where there is one."""
    with emr.state.lock:
        policy = emr.cluster(request["ClusterId"]).scaling
    return {} if policy is None else {"ManagedScalingPolicy": policy}


def remove_managed_scaling_policy(emr: Emr, request: Members) -> dict[str, Any]:
    """Leave the cluster as large as it is."""
    with emr.state.change():
        emr.modifiable(request["ClusterId"]).scaling = None
    return {}


def add_tags(emr: Emr, request: Members) -> dict[str, Any]:
    """Add the tags to the cluster's."""
    tags = validation.tags(request["Tags"])
    with emr.state.change():
        cluster = _tagged(emr, request["ResourceId"])
        if len(cluster.tags.keys() | tags.keys()) > validation.MOST_TAGS:
            raise ValidationException(f"A cluster has at most {validation.MOST_TAGS} tags.")
        cluster.tags.update(tags)
    return {}


def remove_tags(emr: Emr, request: Members) -> dict[str, Any]:
    """Remove the tags of these keys."""
    with emr.state.change():
        cluster = _tagged(emr, request["ResourceId"])
        for key in request["TagKeys"]:
            cluster.tags.pop(key, None)
    return {}


def list_bootstrap_actions(emr: Emr, request: Members) -> dict[str, Any]:
    """A cluster's bootstrap actions, in their order."""
    with emr.state.lock:
        actions = emr.cluster(request["ClusterId"]).request.get("BootstrapActions", [])
        return page("BootstrapActions", [serializers.describe_bootstrap_action(each) for each in actions], request)


def _tagged(emr: Emr, cluster_id: str) -> Cluster:
    """The cluster, whose tags can be changed."""
    cluster = emr.cluster(cluster_id)
    if cluster.ended_s is not None:
        raise InvalidRequestException(f"The tags of the terminated cluster {cluster_id} may not be modified.")
    return cluster


def _set_idle_timeout(emr: Emr, cluster_id: str, timeout_s: int | None) -> None:
    with emr.state.change():
        cluster = emr.modifiable(cluster_id)
        cluster.idle_timeout_s, cluster.idle_since_s = timeout_s, None
