"""Operations on a cluster's steps."""

from __future__ import annotations

from typing import Any

from moto.emr.exceptions import InvalidRequestException

from emr_lab.endpoint import serializers, validation
from emr_lab.endpoint.operations.emr import Emr, Members, is_in_state, page
from emr_lab.endpoint.records import DONE, Cluster

MOST_STEP_IDS = 10


def add_job_flow_steps(emr: Emr, request: Members) -> dict[str, Any]:
    """Queue the steps."""
    with emr.state.change():
        cluster = emr.modifiable(request["JobFlowId"])
        role = validation.execution_role(request.get("ExecutionRoleArn"), cluster)
        steps = validation.steps(request["Steps"], cluster, role=role, now_s=emr.state.clock())
        cluster.steps += steps
        cluster.idle_since_s = None
    return {"StepIds": [step.id for step in steps]}


def cancel_steps(emr: Emr, request: Members) -> dict[str, Any]:
    """Cancel what waits, let what runs be killed; both options of StepCancellationOption end a process alike."""
    with emr.state.record():
        cluster = emr.cluster(request["ClusterId"])
        return {"CancelStepsInfoList": [_cancel(emr, cluster, step_id) for step_id in request["StepIds"]]}


def describe_step(emr: Emr, request: Members) -> dict[str, Any]:
    """One step."""
    with emr.state.lock:
        step = emr.cluster(request["ClusterId"]).step(request["StepId"])
        if step is None:
            raise InvalidRequestException(f"Step id '{request['StepId']}' is not valid.")
        return {"Step": serializers.describe_step(step)}


def list_steps(emr: Emr, request: Members) -> dict[str, Any]:
    """Steps by their ids and states, newest first."""
    ids = request.get("StepIds")
    if ids and len(ids) > MOST_STEP_IDS:
        raise InvalidRequestException(f"At most {MOST_STEP_IDS} step ids, not {len(ids)}.")
    with emr.state.lock:
        steps = [
            serializers.describe_step(each)
            for each in reversed(emr.cluster(request["ClusterId"]).steps)
            if not ids or each.id in ids
        ]
    return page("Steps", steps, request, is_wanted=is_in_state(request.get("StepStates")))


def _cancel(emr: Emr, cluster: Cluster, step_id: str) -> dict[str, str]:
    """A CancelStepsInfo. Under the lock."""
    step = cluster.step(step_id)
    if step is None:
        return {"StepId": step_id, "Status": "FAILED", "Reason": f"Step id '{step_id}' is not valid."}
    if step.state in DONE:
        return {"StepId": step_id, "Status": "FAILED", "Reason": f"The step is {step.state} already."}
    if step.state == "PENDING":
        step.state, step.message, step.ended_s = "CANCELLED", "Cancelled by user", emr.state.clock()
    else:
        step.state, step.message = "CANCEL_PENDING", "Cancelled by user"
    return {"StepId": step_id, "Status": "SUBMITTED"}
