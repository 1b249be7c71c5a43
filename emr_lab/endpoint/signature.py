"""Whether a request is signed with the lab's key: AWS Signature Version 4, worked out anew and compared.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
The codes and words of a refusal are Amazon's.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import boto3
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from emr_lab.endpoint.errors import RefusalError

SERVICE = "elasticmapreduce"
SKEW = timedelta(minutes=15)
_ALGORITHM = "AWS4-HMAC-SHA256"
_PARTS = ("Credential", "SignedHeaders", "Signature")


class SignatureError(RefusalError):
    """The request is not signed by whom the lab knows."""


class _SignerOfHeaders(SigV4Auth):  # type: ignore[misc]
    """botocore's signer, over the headers that the client says it signed."""

    def __init__(self, secret: str, region: str, signed: Sequence[str]) -> None:
        super().__init__(Credentials("", secret), SERVICE, region)
        self.signed = signed

    def headers_to_sign(self, request: Any) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name in self.signed:
            chosen[name] = request.context["headers"].get(name, "")
        return chosen


def check(request: Any, body: bytes, keys: Mapping[str, str], *, now: datetime) -> str:
    """Check the signature of a request, and return the region that it is signed for.

    Args:
        request: werkzeug's.
        body: of the request.
        keys: secrets by their access key ids.
        now: with its time zone.

    Raises:
        SignatureError: it is not signed, or by somebody else, for another service, or more than 15 minutes ago.
    """
    headers = request.headers
    parts = _parts(headers.get("Authorization", ""))
    names = parts["SignedHeaders"].lower().split(";")
    must = {"host", *(name.lower() for name in headers.keys() if name.lower().startswith("x-amz-"))}  # noqa: SIM118
    if missing := sorted(must - set(names)):
        raise SignatureError(
            "InvalidSignatureException", f"'{missing[0]}' must be a 'SignedHeader' in the AWS Authorization."
        )
    key_id, day, region, service, ending = _scope(parts["Credential"])
    timestamp = _timestamp(headers)
    if service != SERVICE or ending != "aws4_request":
        raise SignatureError(
            "InvalidSignatureException", f"Credential should be scoped to correct service: '{SERVICE}'."
        )
    if region not in _regions():
        raise SignatureError("InvalidSignatureException", f"Credential should be scoped to a valid region: {region}.")
    if not timestamp.startswith(day):
        raise SignatureError("InvalidSignatureException", "Date in Credential scope does not match the request's.")
    if key_id not in keys or "X-Amz-Security-Token" in headers:
        raise SignatureError(
            "UnrecognizedClientException", "The security token included in the request is invalid: the lab's is in .env"
        )
    signer = _SignerOfHeaders(keys[key_id], region, names)
    query = request.query_string.decode("latin-1")
    signed_request = AWSRequest(method=request.method, url=f"http://lab{request.path}?{query}", data=body)
    signed_request.context.update(headers=headers, timestamp=timestamp)
    canonical = signer.canonical_request(signed_request)
    expected = signer.signature(signer.string_to_sign(signed_request, canonical), signed_request)
    if not hmac.compare_digest(expected.encode(), parts["Signature"].encode()):
        raise SignatureError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    _check_time(timestamp, now)
    return region


def _parts(header: str) -> dict[str, str]:
    if not header:
        raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    missing = [name for name in _PARTS if not parts.get(name)]
    if algorithm != _ALGORITHM or missing:
        lacks = " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        raise SignatureError(
            "IncompleteSignatureException", lacks or f"Unsupported AWS 'algorithm': the lab takes {_ALGORITHM}."
        )
    return parts


def _scope(credential: str) -> list[str]:
    elements = credential.rsplit("/", 4)  # a name of the lab's own choice may have a slash
    if len(elements) != 5:
        raise SignatureError(
            "IncompleteSignatureException",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
        )
    return elements


def _timestamp(headers: Mapping[str, str]) -> str:
    """When it was signed, as 20261122T101112Z."""
    timestamp = headers.get("X-Amz-Date", "")
    if not timestamp and "Date" in headers:
        try:
            return parsedate_to_datetime(headers["Date"]).astimezone(UTC).strftime(SIGV4_TIMESTAMP)
        except (ValueError, OverflowError):
            timestamp = headers["Date"]
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", timestamp):
        raise SignatureError(
            "IncompleteSignatureException",
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp[:40]}'. "
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        )
    return timestamp


def _check_time(timestamp: str, now: datetime) -> None:
    try:
        signed = datetime.strptime(timestamp, SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("IncompleteSignatureException", f"'{timestamp}' is no date.") from None
    here = now.strftime(SIGV4_TIMESTAMP)
    if signed < now - SKEW:
        earliest = (now - SKEW).strftime(SIGV4_TIMESTAMP)
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature expired: {timestamp} is now earlier than {earliest} ({here} - 15 min.)",
        )
    if signed > now + SKEW:
        latest = (now + SKEW).strftime(SIGV4_TIMESTAMP)
        raise SignatureError(
            "InvalidSignatureException",
            f"Signature not yet current: {timestamp} is still later than {latest} ({here} + 15 min.)",
        )


@cache
def _regions() -> frozenset[str]:
    """Where Amazon has EMR, as botocore knows it."""
    session = boto3.Session()
    partitions = session.get_available_partitions()
    return frozenset(region for each in partitions for region in session.get_available_regions("emr", each))
