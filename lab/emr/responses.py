"""EMR's protocol: moto's parser and serializer around the operations that the lab has; all others are refused."""

from __future__ import annotations

import json
import re
from typing import Any

from botocore.model import OperationNotFoundError
from botocore.validate import ParamValidator
from moto.core.request import Request
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import get_service_model
from moto.emr.exceptions import InvalidRequestException, ValidationException
from moto.emr.responses import ElasticMapReduceResponse
from werkzeug.wrappers import Response

from lab.emr.admission import NotImplementedHere
from lab.emr.models import LabBackend
from lab.emr.service import Lab

# fmt: off
# EMR's operations that the lab has. What moto has besides would only pretend.
OPERATIONS = frozenset({
    "AddJobFlowSteps", "AddTags", "CancelSteps", "DescribeCluster", "DescribeStep", "GetAutoTerminationPolicy",
    "ListBootstrapActions", "ListClusters", "ListInstanceFleets", "ListInstanceGroups", "ListInstances",
    "ListReleaseLabels", "ListSteps", "ListSupportedInstanceTypes", "ModifyCluster", "PutAutoTerminationPolicy",
    "RemoveAutoTerminationPolicy", "RemoveTags", "RunJobFlow", "SetKeepJobFlowAliveWhenNoSteps",
    "SetTerminationProtection", "TerminateJobFlows",
})
# fmt: on
PAGE = 50
ACCOUNT = "123456789012"
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/")


class LabResponse(ElasticMapReduceResponse):
    """One request to the lab's EMR."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab

    @property
    def backend(self) -> LabBackend:
        """EMR of the request's region."""
        return LabBackend(self.region, self.current_account, self.lab)

    def get_region_from_url(self, request: Any, full_url: str) -> str:  # noqa: ARG002 - moto's
        """Of the signature: the lab's address names none."""
        scope = _SCOPE.match(request.headers.get("Authorization", ""))
        return scope["region"] if scope else self.default_region

    def get_current_account(self) -> str:
        """The lab has one account, whatever the key."""
        return ACCOUNT

    def answer(self, request: Request) -> Response:
        """Do what the request asks for; an error is one of EMR's, or says what the lab has not."""
        try:
            status, headers, body = self._dispatch(request)
        except (OperationNotFoundError, UnicodeDecodeError, ValueError):
            error = {
                "__type": "UnknownOperationException",
                "message": "this is Amazon EMR's JSON API only",
            }
            return Response(json.dumps(error), status=400, content_type="application/x-amz-json-1.1")
        return Response(body, status=status, headers=headers)

    def call_action(self) -> Any:
        """Refuse what is not EMR's to do, what is not whole, and what the lab has not; else as moto."""
        operation = str(self._get_action())
        refusal = self._refusal(operation)
        if refusal is not None:
            return self.serialized(ActionResult(refusal))
        self.asked = json.loads(self.body or "{}")
        return super().call_action()

    def _refusal(self, operation: str) -> Exception | None:
        scope = _SCOPE.match(self.headers.get("Authorization", ""))
        if scope is None or scope["service"] != "elasticmapreduce":
            return InvalidRequestException("The request must be signed for elasticmapreduce (Signature Version 4).")
        model = get_service_model("emr").operation_model(operation)
        if operation not in OPERATIONS:
            return NotImplementedHere(f"{operation} is not in the lab; docs/emr-lab.md lists what is")
        found = ParamValidator().validate(json.loads(self.body or "{}"), model.input_shape)
        if found.has_errors():
            return ValidationException(" ".join(found.generate_report().split()))
        return None

    # What differs from moto's: requests as they came, and pages of what the lab remembers.

    def run_job_flow(self) -> ActionResult:
        """RunJobFlow."""
        made = self.backend.run_job_flow(self.asked)
        return ActionResult({"JobFlowId": made.id, "ClusterArn": made.arn})

    def add_job_flow_steps(self) -> ActionResult:
        """AddJobFlowSteps."""
        if self.asked.get("ExecutionRoleArn"):
            raise NotImplementedHere("ExecutionRoleArn is not in the lab: steps have the rights of the job's user")
        made = self.backend.add_job_flow_steps(self.asked["JobFlowId"], self.asked["Steps"])
        return ActionResult({"StepIds": [step.id for step in made]})

    def cancel_steps(self) -> ActionResult:
        """CancelSteps; both options of StepCancellationOption end the process alike."""
        found = self.backend.cancel_steps(self.asked["ClusterId"], self.asked["StepIds"])
        return ActionResult({"CancelStepsInfoList": found})

    def modify_cluster(self) -> ActionResult:
        """ModifyCluster."""
        if "StepConcurrencyLevel" not in self.asked or self.asked.get("ExtendedSupport"):
            raise NotImplementedHere("ModifyCluster changes StepConcurrencyLevel in the lab, nothing else")
        level = self.backend.modify_cluster(self.asked["ClusterId"], self.asked["StepConcurrencyLevel"])
        return ActionResult({"StepConcurrencyLevel": level})

    def set_termination_protection(self) -> ActionResult:
        """SetTerminationProtection."""
        self.backend.set_termination_protection(self.asked["JobFlowIds"], self.asked["TerminationProtected"])
        return EmptyResult()

    def set_keep_job_flow_alive_when_no_steps(self) -> ActionResult:
        """SetKeepJobFlowAliveWhenNoSteps."""
        self.backend.set_keep_alive(self.asked["JobFlowIds"], value=self.asked["KeepJobFlowAliveWhenNoSteps"])
        return EmptyResult()

    def put_auto_termination_policy(self) -> ActionResult:
        """PutAutoTerminationPolicy."""
        self.backend.put_auto_termination_policy(self.asked["ClusterId"], self.asked.get("AutoTerminationPolicy", {}))
        return EmptyResult()

    def remove_auto_termination_policy(self) -> ActionResult:
        """RemoveAutoTerminationPolicy."""
        self.backend.put_auto_termination_policy(self.asked["ClusterId"], None)
        return EmptyResult()

    def get_auto_termination_policy(self) -> ActionResult:
        """GetAutoTerminationPolicy."""
        policy = self.backend.get_auto_termination_policy(self.asked["ClusterId"])
        return ActionResult({"AutoTerminationPolicy": policy} if policy else {})

    def list_clusters(self) -> ActionResult:
        """ListClusters."""
        found = self.backend.list_clusters(
            self.asked.get("ClusterStates"), self._get_param("CreatedAfter"), self._get_param("CreatedBefore")
        )
        return self._page("Clusters", found)

    def list_steps(self) -> ActionResult:
        """ListSteps."""
        asked = self.asked
        found = self.backend.list_steps(asked["ClusterId"], asked.get("StepIds"), asked.get("StepStates"))
        return self._page("Steps", found)

    def list_instances(self) -> ActionResult:
        """ListInstances."""
        return self._page("Instances", self.backend.list_instances(self.asked["ClusterId"], self.asked))

    def list_instance_groups(self) -> ActionResult:
        """ListInstanceGroups."""
        return self._page("InstanceGroups", self.backend.list_instance_groups(self.asked["ClusterId"]))

    def list_instance_fleets(self) -> ActionResult:
        """ListInstanceFleets."""
        return self._page("InstanceFleets", self.backend.list_instance_fleets(self.asked["ClusterId"]))

    def list_bootstrap_actions(self) -> ActionResult:
        """ListBootstrapActions."""
        return self._page("BootstrapActions", self.backend.list_bootstrap_actions(self.asked["ClusterId"]))

    def _page(self, key: str, found: list[dict[str, Any]]) -> ActionResult:
        """Fifty items from the Marker on, which is the id of the first of them: what is added meanwhile moves none."""
        marker = self.asked.get("Marker")
        ids = [str(each.get("Id") or each["Name"]) for each in found]
        if marker and marker not in ids:
            raise InvalidRequestException(f"The Marker {marker} is not valid.")
        start = ids.index(marker) if marker else 0
        page = {key: found[start : start + PAGE]}
        return ActionResult({**page, "Marker": ids[start + PAGE]} if start + PAGE < len(ids) else page)
