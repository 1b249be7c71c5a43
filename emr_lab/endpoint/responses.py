"""EMR's protocol: moto's parser and serializer around the operations that the lab has; all others are refused."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationNotFoundError
from moto.core.request import Request
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import get_service_model
from moto.emr.exceptions import InvalidRequestException
from moto.emr.responses import ElasticMapReduceResponse
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from emr_lab.endpoint import shapes, signature, validation
from emr_lab.endpoint.operations import LabBackend
from emr_lab.endpoint.state import Lab
from emr_lab.endpoint.validation import NotImplementedHere

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
CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET = "ElasticMapReduce."
BODY_BYTES = 4 * 1024 * 1024

_LOG = logging.getLogger(__name__)


class RefusalError(Exception):
    """A request that comes to no operation: its code, and one line with the cause."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LabResponse(ElasticMapReduceResponse):
    """One request to the lab's EMR."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.lab = lab
        self.signed_for = self.operation = ""
        self.asked: dict[str, Any] = {}

    @property
    def backend(self) -> LabBackend:
        """EMR of the request's region."""
        return LabBackend(self.region, self.current_account, self.lab)

    def get_region_from_url(self, request: Any, full_url: str) -> str:  # noqa: ARG002 - moto's
        """Of the signature: the lab's address names none."""
        return self.signed_for

    def _get_action(self) -> str:
        """Of the header alone: moto's own looks for `Action=` in the body's texts first."""
        return self.operation

    def get_current_account(self) -> str:
        """The lab has one account, whatever the key."""
        return ACCOUNT

    def answer(self, request: Request) -> Response:
        """Do what the request asks for; an error is one of EMR's, or says what the lab has not."""
        try:
            self._admit(request)
            status, headers, body = self._dispatch(request)
        except (RefusalError, signature.SignatureError) as refusal:
            return error(refusal.code, str(refusal), status=400)
        except Exception:  # noqa: BLE001 - whatever it is: Amazon's clients read no page of HTML
            _LOG.exception("%s", request.headers.get("X-Amz-Target", "a request")[:100])
            return error("InternalServerException", "The lab failed; make logs SERVICE=emr tells why.", status=500)
        return Response(body, status=status, headers=headers)

    def _admit(self, request: Request) -> None:
        """Whose the request is, what it asks for, and whether it is whole.

        Raises:
            RefusalError, SignatureError: nobody's that the lab knows, or nothing that it can read.
        """
        request.max_content_length = BODY_BYTES
        try:
            body = request.get_data()
        except RequestEntityTooLarge:
            raise RefusalError("ValidationException", f"The request has more than {BODY_BYTES} bytes.") from None
        keys, now = self.lab.keys, datetime.now(UTC)
        self.signed_for = signature.check(request, body, keys, now=now)
        target = request.headers.get("X-Amz-Target", "")
        self.operation = target.removeprefix(TARGET)
        try:
            model = get_service_model("emr").operation_model(self.operation)
        except OperationNotFoundError:
            model = None
        if model is None or not target.startswith(TARGET) or request.mimetype != CONTENT_TYPE or request.path != "/":
            raise RefusalError("UnknownOperationException", "this is Amazon EMR's JSON API only")
        if self.operation not in OPERATIONS:
            raise RefusalError(
                NotImplementedHere.code, f"{self.operation} is not in the lab; docs/emr-lab.md lists what is"
            )
        self.asked = _object(body)
        if wrong := shapes.problem(self.asked, model.input_shape):
            raise RefusalError("ValidationException", wrong)

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

    def add_tags(self) -> ActionResult:
        """AddTags."""
        self.backend.add_tags(self.asked["ResourceId"], validation.tags(self.asked["Tags"]))
        return EmptyResult()

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


def error(code: str, message: str, *, status: int) -> Response:
    """An error as EMR words it."""
    content = json.dumps({"__type": code, "message": message})
    return Response(content, status=status, content_type=CONTENT_TYPE)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):  # not UTF-8; no JSON; too deep
        raise RefusalError("SerializationException", "The body is no JSON that EMR takes.") from None
    if not isinstance(found, dict):
        raise RefusalError("SerializationException", "Start of structure or map found where not expected.")
    return found


def _no_number(text: str) -> float:
    raise ValueError(text)
