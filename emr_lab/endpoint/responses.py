"""EMR's JSON protocol around its operations: who asks for what, and the answer by moto's serializer."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.model import OperationModel, OperationNotFoundError
from moto.core.exceptions import ServiceException
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from emr_lab.endpoint import shapes, signature
from emr_lab.endpoint.errors import NotOfferedError, RefusalError
from emr_lab.endpoint.operations.emr import Emr
from emr_lab.endpoint.operations.table import LAB_OPERATIONS, OPERATIONS
from emr_lab.endpoint.state import EndpointState

CONTENT_TYPE = "application/x-amz-json-1.1"
TARGET = "ElasticMapReduce."
LAB_TARGET = "EmrLab."  # of what Amazon has not
BODY_BYTES = 4 * 1024 * 1024

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that may be done: the operation, and its members."""

    operation: OperationModel
    members: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A request of somebody that the lab knows: its target, its body, and the region that it is signed for."""

    target: str
    body: bytes
    region: str


def answer(state: EndpointState, request: Request) -> Response:
    """Do what the request asks for; an error is one of EMR's, or says what the lab has not."""
    try:
        signed = _signed(request, state.keys)
        emr = Emr(state, region=signed.region)
        if signed.target.startswith(LAB_TARGET) and (ours := LAB_OPERATIONS.get(signed.target[len(LAB_TARGET) :])):
            return Response(json.dumps(ours(emr, _object(signed.body))), content_type=CONTENT_TYPE)
        return _do(_call(request, signed), emr)
    except RefusalError as refusal:
        return error(refusal.code, str(refusal), status=400)
    except OSError as failure:
        cause = f"The lab cannot save it: {failure.strerror or failure}. It is not done; free some room, and ask again."
        return error("InternalServerException", cause, status=500)
    except Exception:  # noqa: BLE001 - whatever it is: Amazon's clients read no page of HTML
        _LOG.exception("%s", request.headers.get("X-Amz-Target", "a request")[:100])
        return error("InternalServerException", "The lab failed; make logs SERVICE=emr tells why.", status=500)


def error(code: str, message: str, *, status: int) -> Response:
    """An error as EMR words it."""
    content = json.dumps({"__type": code, "message": message})
    return Response(content, status=status, content_type=CONTENT_TYPE)


def _signed(request: Request, keys: Mapping[str, str]) -> Signed:
    """Whose the request is; `keys` as signature.check takes them.

    Raises:
        RefusalError: it is nobody's that the lab knows, or not whole.
    """
    request.max_content_length = BODY_BYTES
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        raise RefusalError("ValidationException", f"The request has more than {BODY_BYTES} bytes.") from None
    except (ClientDisconnected, OSError):  # chunks that are none are an OSError
        raise RefusalError("SerializationException", "The body ends before it is whole.") from None
    region = signature.check(request, body, keys, now=datetime.now(UTC))
    return Signed(target=request.headers.get("X-Amz-Target", ""), body=body, region=region)


def _call(request: Request, signed: Signed) -> Call:
    """What the request asks for.

    Raises:
        RefusalError: nothing that the lab can read, or that it has not got.
    """
    target = signed.target
    name = target.removeprefix(TARGET)
    try:
        operation = get_service_model("emr").operation_model(name)
    except OperationNotFoundError:
        operation = None
    if operation is None or not target.startswith(TARGET) or request.mimetype != CONTENT_TYPE or request.path != "/":
        raise RefusalError("UnknownOperationException", "this is Amazon EMR's JSON API only")
    if name not in OPERATIONS:
        raise NotOfferedError(f"{name} is not in the lab; docs/emr-lab.md lists what is")
    members = _object(signed.body)
    if problem := shapes.problem(members, operation.input_shape):
        raise RefusalError("ValidationException", problem)
    return Call(operation=operation, members=members)


def _do(call: Call, emr: Emr) -> Response:
    """The operation's answer, or its error as EMR's model has it."""
    result: dict[str, Any] | ServiceException
    try:
        result = OPERATIONS[str(call.operation.name)](emr, call.members)
    except ServiceException as refusal:
        result = refusal
    # An error's ErrorCode is its attribute error_code.
    serializer = get_serializer_class("emr", "json")(call.operation, value_picker=XFormedAttributePicker())
    serialized = serializer.serialize(result)
    headers = {**serialized["headers"], "X-Amzn-RequestId": str(uuid.uuid4())}
    return Response(serialized["body"], status=serialized["status_code"], headers=headers)


def _object(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError):  # not UTF-8; no JSON; too deep
        raise RefusalError("SerializationException", "The body is no JSON that EMR takes.") from None
    if not isinstance(members, dict):
        raise RefusalError("SerializationException", "Start of structure or map found where not expected.")
    return members


def _no_number(text: str) -> float:
    raise ValueError(text)
