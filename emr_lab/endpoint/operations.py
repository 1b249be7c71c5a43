"""EMR's operations on the lab: moto's backend, whose clusters, nodes and steps are real here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from moto.emr.exceptions import InvalidCluster, InvalidRequestException, ValidationException
from moto.emr.models import ElasticMapReduceBackend

from emr_lab.endpoint import serializers, validation
from emr_lab.endpoint.lifecycle import begin
from emr_lab.endpoint.records import DONE, Cluster, Step
from emr_lab.endpoint.state import Lab, cancel_pending, end
from lab import releases, sizing

MOST_CLUSTERS_TO_END = 10
MOST_STEP_IDS = 10


class LabBackend(ElasticMapReduceBackend):
    """The clusters of one region. All regions share the nodes."""

    def __init__(self, region_name: str, account_id: str, lab: Lab) -> None:
        super().__init__(region_name, account_id)
        self.lab = lab

    def run_job_flow(self, request: Mapping[str, Any]) -> Cluster:  # type: ignore[override]
        """Remember the cluster and begin its life.

        Raises:
            ValidationException: EMR would not take it, or another cluster has the nodes.
            NotImplementedHere: the lab has not got it.
        """
        lab = self.lab
        made = validation.cluster(
            request, lab.offer, region=self.region_name, account=self.account_id, now_s=lab.clock()
        )
        with lab.change():
            for other in lab.store.clusters.values():
                if other.ended_s is None and other.state != "TERMINATING":
                    raise ValidationException(
                        f"The lab has nodes for one cluster at a time, and {other.id} ({other.state}, "
                        f"{other.region}) has them. Add steps to it, or terminate it first."
                    )
            lab.store.clusters[made.id] = made
        begin(lab, made)
        return made

    def add_job_flow_steps(self, job_flow_id: str, steps: Sequence[Mapping[str, Any]]) -> list[Step]:  # type: ignore[override]
        """Queue the steps.

        Raises:
            ValidationException, NotImplementedHere: they, or the cluster, cannot.
        """
        with self.lab.change():
            cluster = self._modifiable(job_flow_id)
            made = validation.steps(steps, cluster, now_s=self.lab.clock())
            cluster.steps += made
            cluster.idle_since_s = None
        return made

    def cancel_steps(self, cluster_id: str, step_ids: Sequence[str]) -> list[dict[str, str]]:
        """Cancel what waits, and let what runs be killed; CancelStepsInfoList."""
        with self.lab.change():
            cluster = self._cluster(cluster_id)
            return [self._cancel(cluster, step_id) for step_id in step_ids]

    def terminate_job_flows(self, job_flow_ids: Sequence[str]) -> list[Cluster]:  # type: ignore[override]
        """Let the clusters end; those that have ended are left alone.

        Raises:
            ValidationException: one is protected, after the others were ended.
        """
        if len(job_flow_ids) > MOST_CLUSTERS_TO_END:
            raise ValidationException(f"At most {MOST_CLUSTERS_TO_END} clusters can be terminated at once.")
        with self.lab.change():
            found = [self._job_flow(each) for each in job_flow_ids]
            for cluster in found:
                if not cluster.protected:
                    cancel_pending(cluster, "Job terminated", now_s=self.lab.clock())
                    end(cluster, "USER_REQUEST", "Terminated by user request")
        if any(cluster.protected and cluster.ended_s is None for cluster in found):
            raise ValidationException("Could not shut down one or more job flows since they are termination protected.")
        return found

    def describe_cluster(self, cluster_id: str) -> dict[str, Any]:  # type: ignore[override]
        """DescribeCluster's Cluster."""
        with self.lab.lock:
            return serializers.cluster(self._cluster(cluster_id), self.lab.offer.release)

    def describe_step(self, cluster_id: str, step_id: str) -> dict[str, Any]:  # type: ignore[override]
        """DescribeStep's Step."""
        with self.lab.lock:
            found = self._cluster(cluster_id).step(step_id)
            if found is None:
                raise InvalidRequestException(f"Step id '{step_id}' is not valid.")
            return serializers.step(found)

    def list_clusters(  # type: ignore[override]
        self,
        cluster_states: Sequence[str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """ListClusters' summaries, newest first."""
        after = created_after.timestamp() if created_after else float("-inf")
        before = created_before.timestamp() if created_before else float("inf")
        with self.lab.lock:
            return [
                serializers.summary(each)
                for each in reversed(self.lab.store.clusters.values())
                if each.region == self.region_name
                and after <= each.created_s <= before
                and (not cluster_states or each.state in cluster_states)
            ]

    def list_steps(  # type: ignore[override]
        self, cluster_id: str, step_ids: Sequence[str] | None = None, step_states: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """ListSteps' summaries, newest first.

        Raises:
            InvalidRequestException: more ids than EMR takes.
        """
        if step_ids and len(step_ids) > MOST_STEP_IDS:
            raise InvalidRequestException(f"At most {MOST_STEP_IDS} step ids, not {len(step_ids)}.")
        with self.lab.lock:
            return [
                serializers.step(each)
                for each in reversed(self._cluster(cluster_id).steps)
                if (not step_ids or each.id in step_ids) and (not step_states or each.state in step_states)
            ]

    def list_instances(  # type: ignore[override]
        self, cluster_id: str, request: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """ListInstances' Instances, of the groups, fleets and states that are asked for."""
        wanted = {request.get("InstanceGroupId"), request.get("InstanceFleetId")} - {None}
        roles = set(request.get("InstanceGroupTypes", [])) | {request.get("InstanceFleetType")} - {None}
        states = set(request.get("InstanceStates", []))
        with self.lab.lock:
            cluster = self._cluster(cluster_id)
            of = {each.id: each.role for each in cluster.collections}
            shown = [
                serializers.instance(each, cluster)
                for each in cluster.instances
                if (not wanted or each.collection in wanted) and (not roles or of[each.collection] in roles)
            ]
            return [each for each in shown if not states or each["Status"]["State"] in states]

    def list_instance_groups(self, cluster_id: str) -> list[dict[str, Any]]:  # type: ignore[override]
        """ListInstanceGroups' InstanceGroups.

        Raises:
            InvalidRequestException: the cluster has fleets.
        """
        with self.lab.lock:
            cluster = self._cluster(cluster_id)
            if not cluster.uniform:
                raise InvalidRequestException("Instance fleets and instance groups are mutually exclusive.")
            return [serializers.instance_group(each, cluster) for each in cluster.collections]

    def list_instance_fleets(self, cluster_id: str) -> list[dict[str, Any]]:
        """ListInstanceFleets' InstanceFleets.

        Raises:
            InvalidRequestException: the cluster has groups.
        """
        with self.lab.lock:
            cluster = self._cluster(cluster_id)
            if cluster.uniform:
                raise InvalidRequestException("Instance fleets and instance groups are mutually exclusive.")
            return [serializers.instance_fleet(each, cluster) for each in cluster.collections]

    def list_bootstrap_actions(self, cluster_id: str) -> list[dict[str, Any]]:  # type: ignore[override]
        """ListBootstrapActions' Commands."""
        with self.lab.lock:
            actions = self._cluster(cluster_id).request.get("BootstrapActions", [])
            return [serializers.bootstrap_action(each) for each in actions]

    def add_tags(self, cluster_id: str, tags: dict[str, str]) -> None:
        """Add the tags to the cluster's.

        Raises:
            ValidationException: it would have more than EMR takes.
        """
        with self.lab.change():
            cluster = self._cluster(cluster_id)
            if len(cluster.tags.keys() | tags.keys()) > validation.MOST_TAGS:
                raise ValidationException(f"A cluster has at most {validation.MOST_TAGS} tags.")
            cluster.tags.update(tags)

    def remove_tags(self, cluster_id: str, tag_keys: Sequence[str]) -> None:
        """Remove the tags of these keys."""
        with self.lab.change():
            for key in tag_keys:
                self._cluster(cluster_id).tags.pop(key, None)

    def modify_cluster(self, cluster_id: str, step_concurrency_level: int) -> int:  # type: ignore[override]
        """Change how many steps may run at once; returns it."""
        with self.lab.change():
            self._modifiable(cluster_id).concurrency = validation.concurrency(step_concurrency_level)
        return step_concurrency_level

    def set_termination_protection(self, job_flow_ids: Sequence[str], value: bool) -> None:
        """Protect the clusters from TerminateJobFlows, failing steps and auto-termination, or do so no longer."""
        with self.lab.change():
            for cluster in [self._modifiable(each) for each in job_flow_ids]:
                cluster.protected = value

    def set_keep_alive(self, job_flow_ids: Sequence[str], *, value: bool) -> None:
        """Let the clusters wait after their last step, or end."""
        with self.lab.change():
            for cluster in [self._modifiable(each) for each in job_flow_ids]:
                cluster.keep_alive = value

    def put_auto_termination_policy(self, cluster_id: str, policy: Mapping[str, Any] | None) -> None:
        """Set the policy, or with None remove it; idle time counts from now."""
        with self.lab.change():
            cluster = self._modifiable(cluster_id)
            cluster.idle_timeout_s = None if policy is None else validation.idle_timeout_s(policy)
            cluster.idle_since_s = None

    def get_auto_termination_policy(self, cluster_id: str) -> dict[str, int] | None:
        """The AutoTerminationPolicy, or None."""
        with self.lab.lock:
            timeout_s = self._cluster(cluster_id).idle_timeout_s
            return None if timeout_s is None else {"IdleTimeout": timeout_s}

    def list_release_labels(self) -> list[str]:
        """The one release that the nodes are."""
        return [self.lab.offer.release.label]

    def list_supported_instance_types(self, release_label: str) -> list[dict[str, Any]]:
        """The instance types that the lab knows.

        Raises:
            InvalidRequestException: there is no such release.
        """
        try:
            releases.find(release_label)
        except releases.ReleaseError as error:
            raise InvalidRequestException(f"The supplied release label is invalid: {release_label}. {error}") from error
        return [
            {"Type": each.name, "MemoryGB": each.memory_mb / 1024, "VCPU": each.vcpu}
            for each in sizing.INSTANCE_TYPES.values()
        ]

    def _cluster(self, cluster_id: str) -> Cluster:
        found = self.lab.store.clusters.get(cluster_id)
        if found is None or found.region != self.region_name:
            raise InvalidCluster(cluster_id)
        return found

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

    def _cancel(self, cluster: Cluster, step_id: str) -> dict[str, str]:
        step = cluster.step(step_id)
        if step is None:
            return {"StepId": step_id, "Status": "FAILED", "Reason": f"Step id '{step_id}' is not valid."}
        if step.state in DONE:
            return {"StepId": step_id, "Status": "FAILED", "Reason": f"The step is {step.state} already."}
        if step.state == "PENDING":
            step.state, step.message, step.ended_s = "CANCELLED", "Cancelled by user", self.lab.clock()
        else:
            step.state, step.message = "CANCEL_PENDING", "Cancelled by user"
        return {"StepId": step_id, "Status": "SUBMITTED"}
