"""EMR's operations on the lab's clusters: each takes a request's members and returns the response's.

Requests only change what is remembered; a cluster's thread (lifecycle.py) does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.emr.exceptions import InvalidCluster, InvalidRequestException, ValidationException

from base import releases, sizing
from emr_lab.endpoint import security, serializers, validation
from emr_lab.endpoint.errors import NotOfferedError, mutually_exclusive
from emr_lab.endpoint.lifecycle import start
from emr_lab.endpoint.records import DONE, Cluster, SecurityConfiguration
from emr_lab.endpoint.state import EndpointState, cancel_pending, terminate

ACCOUNT = "123456789012"  # the lab has one, whatever the key
PAGE = 50
MOST_CLUSTERS_TO_END = 10
MOST_STEP_IDS = 10

Members = Mapping[str, Any]

_LOG = logging.getLogger(__name__)


class Emr:
    """EMR in one region, an operation a method. All regions share the nodes.

    Raises, in every operation:
        ValidationException, InvalidRequestException: EMR would not do it.
        NotOfferedError: the lab has not got it.
        OSError: the change cannot be saved.
    """

    def __init__(self, state: EndpointState, *, region: str) -> None:
        self.state, self.region = state, region

    def run_job_flow(self, request: Members) -> dict[str, Any]:
        """Remember the cluster and begin its life."""
        state = self.state
        with state.change():
            cluster = validation.cluster(
                request,
                state.capabilities,
                security_configurations=self._security_configurations(),
                region=self.region,
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
        ours = state.capabilities.release.label
        if request["ReleaseLabel"] != ours:
            _LOG.warning("cluster %s asked for %s and runs on %s", cluster.id, request["ReleaseLabel"], ours)
        start(state, cluster)
        return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}

    def terminate_job_flows(self, request: Members) -> dict[str, Any]:
        """Let the clusters end; those that have ended are left alone, and a protected one is refused after the rest."""
        if len(request["JobFlowIds"]) > MOST_CLUSTERS_TO_END:
            raise ValidationException(f"At most {MOST_CLUSTERS_TO_END} clusters can be terminated at once.")
        with self.state.change():
            clusters = [self._job_flow(each) for each in request["JobFlowIds"]]
            for cluster in clusters:
                if not cluster.protected:
                    cancel_pending(cluster, "Job terminated", now_s=self.state.clock())
                    terminate(cluster, "USER_REQUEST", "Terminated by user request")
        if any(cluster.protected and cluster.ended_s is None for cluster in clusters):
            raise ValidationException("Could not shut down one or more job flows since they are termination protected.")
        return {}

    def describe_cluster(self, request: Members) -> dict[str, Any]:
        """One cluster."""
        with self.state.lock:
            cluster = self._cluster(request["ClusterId"])
            return {"Cluster": serializers.describe_cluster(cluster, self.state.capabilities.release)}

    def list_clusters(self, request: Members) -> dict[str, Any]:
        """Clusters by their states and the time of their creation, newest first."""
        after, before = request.get("CreatedAfter", float("-inf")), request.get("CreatedBefore", float("inf"))
        states = request.get("ClusterStates")
        with self.state.lock:
            summaries = [
                serializers.cluster_summary(each)
                for each in reversed(self.state.store.clusters.values())
                if each.region == self.region
                and after <= each.created_s <= before
                and (not states or each.state in states)
            ]
        return _page("Clusters", summaries, request)

    def modify_cluster(self, request: Members) -> dict[str, Any]:
        """Change how many steps may run at once."""
        if "StepConcurrencyLevel" not in request or request.get("ExtendedSupport"):
            raise NotOfferedError("ModifyCluster changes StepConcurrencyLevel in the lab, nothing else")
        level = validation.concurrency(request["StepConcurrencyLevel"])
        with self.state.change():
            self._modifiable(request["ClusterId"]).concurrency = level
        return {"StepConcurrencyLevel": level}

    def set_termination_protection(self, request: Members) -> dict[str, Any]:
        """Protect the clusters from TerminateJobFlows, failing steps and auto-termination, or do so no longer."""
        with self.state.change():
            for cluster in [self._modifiable(each) for each in request["JobFlowIds"]]:
                cluster.protected = request["TerminationProtected"]
        return {}

    def set_keep_job_flow_alive_when_no_steps(self, request: Members) -> dict[str, Any]:
        """Let the clusters wait after their last step, or end."""
        with self.state.change():
            for cluster in [self._modifiable(each) for each in request["JobFlowIds"]]:
                cluster.keep_alive = request["KeepJobFlowAliveWhenNoSteps"]
        return {}

    def put_auto_termination_policy(self, request: Members) -> dict[str, Any]:
        """Set the policy; idle time counts from now."""
        timeout_s = validation.idle_timeout_s(request.get("AutoTerminationPolicy", {}))
        self._set_idle_timeout(request["ClusterId"], timeout_s)
        return {}

    def remove_auto_termination_policy(self, request: Members) -> dict[str, Any]:
        """Let the cluster be idle for as long as it likes."""
        self._set_idle_timeout(request["ClusterId"], None)
        return {}

    def get_auto_termination_policy(self, request: Members) -> dict[str, Any]:
        """The policy, where there is one."""
        with self.state.lock:
            timeout_s = self._cluster(request["ClusterId"]).idle_timeout_s
        return {} if timeout_s is None else {"AutoTerminationPolicy": {"IdleTimeout": timeout_s}}

    def add_tags(self, request: Members) -> dict[str, Any]:
        """Add the tags to the cluster's."""
        tags = validation.tags(request["Tags"])
        with self.state.change():
            cluster = self._tagged(request["ResourceId"])
            if len(cluster.tags.keys() | tags.keys()) > validation.MOST_TAGS:
                raise ValidationException(f"A cluster has at most {validation.MOST_TAGS} tags.")
            cluster.tags.update(tags)
        return {}

    def remove_tags(self, request: Members) -> dict[str, Any]:
        """Remove the tags of these keys."""
        with self.state.change():
            cluster = self._tagged(request["ResourceId"])
            for key in request["TagKeys"]:
                cluster.tags.pop(key, None)
        return {}

    def add_job_flow_steps(self, request: Members) -> dict[str, Any]:
        """Queue the steps."""
        with self.state.change():
            cluster = self._modifiable(request["JobFlowId"])
            role = validation.execution_role(request.get("ExecutionRoleArn"), cluster)
            steps = validation.steps(request["Steps"], cluster, role=role, now_s=self.state.clock())
            cluster.steps += steps
            cluster.idle_since_s = None
        return {"StepIds": [step.id for step in steps]}

    def cancel_steps(self, request: Members) -> dict[str, Any]:
        """Cancel what waits, let what runs be killed; both options of StepCancellationOption end a process alike."""
        with self.state.change():
            cluster = self._cluster(request["ClusterId"])
            return {"CancelStepsInfoList": [self._cancel(cluster, step_id) for step_id in request["StepIds"]]}

    def describe_step(self, request: Members) -> dict[str, Any]:
        """One step."""
        with self.state.lock:
            step = self._cluster(request["ClusterId"]).step(request["StepId"])
            if step is None:
                raise InvalidRequestException(f"Step id '{request['StepId']}' is not valid.")
            return {"Step": serializers.describe_step(step)}

    def list_steps(self, request: Members) -> dict[str, Any]:
        """Steps by their ids and states, newest first."""
        ids, states = request.get("StepIds"), request.get("StepStates")
        if ids and len(ids) > MOST_STEP_IDS:
            raise InvalidRequestException(f"At most {MOST_STEP_IDS} step ids, not {len(ids)}.")
        with self.state.lock:
            steps = [
                serializers.describe_step(each)
                for each in reversed(self._cluster(request["ClusterId"]).steps)
                if (not ids or each.id in ids) and (not states or each.state in states)
            ]
        return _page("Steps", steps, request)

    def list_instances(self, request: Members) -> dict[str, Any]:
        """Machines by their groups or fleets, and by their states."""
        collections = {request.get("InstanceGroupId"), request.get("InstanceFleetId")} - {None}
        roles = set(request.get("InstanceGroupTypes", [])) | {request.get("InstanceFleetType")} - {None}
        states = set(request.get("InstanceStates", []))
        with self.state.lock:
            cluster = self._cluster(request["ClusterId"])
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
                if (not collections or each.collection in collections)
                and (not roles or role_of[each.collection] in roles)
            ]
        return _page(
            "Instances", [each for each in instances if not states or each["Status"]["State"] in states], request
        )

    def list_instance_groups(self, request: Members) -> dict[str, Any]:
        """A cluster's groups; one with fleets is refused."""
        with self.state.lock:
            cluster = self._collected(request["ClusterId"], uniform=True)
            groups = [serializers.describe_instance_group(each, cluster) for each in cluster.collections]
        return _page("InstanceGroups", groups, request)

    def list_instance_fleets(self, request: Members) -> dict[str, Any]:
        """A cluster's fleets; one with groups is refused."""
        with self.state.lock:
            cluster = self._collected(request["ClusterId"], uniform=False)
            fleets = [serializers.describe_instance_fleet(each, cluster) for each in cluster.collections]
        return _page("InstanceFleets", fleets, request)

    def list_bootstrap_actions(self, request: Members) -> dict[str, Any]:
        """A cluster's bootstrap actions, in their order."""
        with self.state.lock:
            actions = self._cluster(request["ClusterId"]).request.get("BootstrapActions", [])
            return _page("BootstrapActions", [serializers.describe_bootstrap_action(each) for each in actions], request)

    def create_security_configuration(self, request: Members) -> dict[str, Any]:
        """Remember it, for the clusters that will name it."""
        name, content = request["Name"], request["SecurityConfiguration"]
        if not name.strip():
            raise InvalidRequestException("The name of a security configuration must not be empty.")
        security.check(content)
        with self.state.change():
            if any(each.name == name for each in self._security_configurations()):
                raise InvalidRequestException(f"Security configuration with name '{name[:100]}' already exists.")
            configuration = SecurityConfiguration(
                name=name, region=self.region, content=content, created_s=self.state.clock()
            )
            self.state.store.security_configurations.append(configuration)
        return serializers.security_configuration_summary(configuration)

    def describe_security_configuration(self, request: Members) -> dict[str, Any]:
        """One security configuration, its JSON as it came."""
        with self.state.lock:
            configuration = self._security_configuration(request["Name"])
        summary = serializers.security_configuration_summary(configuration)
        return {**summary, "SecurityConfiguration": configuration.content}

    def list_security_configurations(self, request: Members) -> dict[str, Any]:
        """The region's, oldest first."""
        with self.state.lock:
            summaries = [serializers.security_configuration_summary(each) for each in self._security_configurations()]
        return _page("SecurityConfigurations", summaries, request)

    def delete_security_configuration(self, request: Members) -> dict[str, Any]:
        """Forget it; clusters that named it keep what it asked for."""
        with self.state.change():
            self.state.store.security_configurations.remove(self._security_configuration(request["Name"]))
        return {}

    def list_release_labels(self, _: Members) -> dict[str, Any]:
        """The one release that the nodes are."""
        return {"ReleaseLabels": [self.state.capabilities.release.label]}

    def list_supported_instance_types(self, request: Members) -> dict[str, Any]:
        """The instance types that the lab knows."""
        label = request["ReleaseLabel"]
        try:
            validation.release(label)
        except releases.ReleaseError as error:
            raise InvalidRequestException(f"The supplied release label is invalid: {label}. {error}") from error
        types = [
            {"Type": each.name, "MemoryGB": each.memory_mb / 1024, "VCPU": each.vcpu}
            for each in sizing.INSTANCE_TYPES.values()
        ]
        return {"SupportedInstanceTypes": types}

    def _cluster(self, cluster_id: str) -> Cluster:
        cluster = self.state.store.clusters.get(cluster_id)
        if cluster is None or cluster.region != self.region:
            raise InvalidCluster(cluster_id)
        return cluster

    def _security_configurations(self) -> list[SecurityConfiguration]:
        """Those of the region. Under the lock."""
        return [each for each in self.state.store.security_configurations if each.region == self.region]

    def _security_configuration(self, name: str) -> SecurityConfiguration:
        configuration = next((each for each in self._security_configurations() if each.name == name), None)
        if configuration is None:
            raise InvalidRequestException(f"Security configuration with name '{name[:100]}' does not exist.")
        return configuration

    def _job_flow(self, job_flow_id: str) -> Cluster:
        """As `_cluster`, with the words of EMR's older operations."""
        try:
            return self._cluster(job_flow_id)
        except InvalidCluster as error:
            raise ValidationException("Specified job flow ID does not exist.") from error

    def _modifiable(self, job_flow_id: str) -> Cluster:
        cluster = self._job_flow(job_flow_id)
        if cluster.ended_s is not None or cluster.state == "TERMINATING":
            raise ValidationException("A job flow that is shutting down, terminated, or finished may not be modified.")
        return cluster

    def _tagged(self, cluster_id: str) -> Cluster:
        """The cluster, whose tags can be changed."""
        cluster = self._cluster(cluster_id)
        if cluster.ended_s is not None:
            raise InvalidRequestException(f"The tags of the terminated cluster {cluster_id} may not be modified.")
        return cluster

    def _collected(self, cluster_id: str, *, uniform: bool) -> Cluster:
        """The cluster, which has instance groups (`uniform`), or else fleets."""
        cluster = self._cluster(cluster_id)
        if cluster.uniform != uniform:
            kind, other = ("Group", "Fleet") if uniform else ("Fleet", "Group")
            advice = (
                f"The ListInstance{kind}s operation does not support clusters that use instance {other.lower()}s. "
                f"Use the ListInstance{other}s operation instead."
            )
            raise mutually_exclusive(uniform=cluster.uniform, advice=advice)
        return cluster

    def _set_idle_timeout(self, cluster_id: str, timeout_s: int | None) -> None:
        with self.state.change():
            cluster = self._modifiable(cluster_id)
            cluster.idle_timeout_s, cluster.idle_since_s = timeout_s, None

    def _cancel(self, cluster: Cluster, step_id: str) -> dict[str, str]:
        """A CancelStepsInfo. Under the lock."""
        step = cluster.step(step_id)
        if step is None:
            return {"StepId": step_id, "Status": "FAILED", "Reason": f"Step id '{step_id}' is not valid."}
        if step.state in DONE:
            return {"StepId": step_id, "Status": "FAILED", "Reason": f"The step is {step.state} already."}
        if step.state == "PENDING":
            step.state, step.message, step.ended_s = "CANCELLED", "Cancelled by user", self.state.clock()
        else:
            step.state, step.message = "CANCEL_PENDING", "Cancelled by user"
        return {"StepId": step_id, "Status": "SUBMITTED"}


def _page(key: str, items: Sequence[dict[str, Any]], request: Members) -> dict[str, Any]:
    """Fifty items from the Marker on, which is the id of the first of them: what is added meanwhile moves none."""
    marker = request.get("Marker")
    ids = [str(each.get("Id") or each["Name"]) for each in items]
    if marker and marker not in ids:
        raise InvalidRequestException(f"The Marker {marker} is not valid.")
    start = ids.index(marker) if marker else 0
    page: dict[str, Any] = {key: list(items[start : start + PAGE])}
    return {**page, "Marker": ids[start + PAGE]} if start + PAGE < len(ids) else page


# The operations of EMR that the lab has.
OPERATIONS: Mapping[str, Callable[[Emr, Members], dict[str, Any]]] = {
    "AddJobFlowSteps": Emr.add_job_flow_steps,
    "AddTags": Emr.add_tags,
    "CancelSteps": Emr.cancel_steps,
    "CreateSecurityConfiguration": Emr.create_security_configuration,
    "DeleteSecurityConfiguration": Emr.delete_security_configuration,
    "DescribeCluster": Emr.describe_cluster,
    "DescribeSecurityConfiguration": Emr.describe_security_configuration,
    "DescribeStep": Emr.describe_step,
    "GetAutoTerminationPolicy": Emr.get_auto_termination_policy,
    "ListBootstrapActions": Emr.list_bootstrap_actions,
    "ListClusters": Emr.list_clusters,
    "ListInstanceFleets": Emr.list_instance_fleets,
    "ListInstanceGroups": Emr.list_instance_groups,
    "ListInstances": Emr.list_instances,
    "ListReleaseLabels": Emr.list_release_labels,
    "ListSecurityConfigurations": Emr.list_security_configurations,
    "ListSteps": Emr.list_steps,
    "ListSupportedInstanceTypes": Emr.list_supported_instance_types,
    "ModifyCluster": Emr.modify_cluster,
    "PutAutoTerminationPolicy": Emr.put_auto_termination_policy,
    "RemoveAutoTerminationPolicy": Emr.remove_auto_termination_policy,
    "RemoveTags": Emr.remove_tags,
    "RunJobFlow": Emr.run_job_flow,
    "SetKeepJobFlowAliveWhenNoSteps": Emr.set_keep_job_flow_alive_when_no_steps,
    "SetTerminationProtection": Emr.set_termination_protection,
    "TerminateJobFlows": Emr.terminate_job_flows,
}
