"""AWS from here: its clients, made in one place, and its errors in words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.credentials import RefreshableCredentials, SharedCredentialProvider, create_credential_resolver
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from base import env_files, paths
from base.errors import EmrlabError, UsageError
from launch import docker_lab
from launch.s3_access import Key

# What boto3 raises: for what AWS answers, and for what never reached it.
AWS_ERRORS = (ClientError, BotoCoreError)

# The name of everything that this project makes in an account, and the tag by which it is found again.
NAME = "emrlab"
TAG = {"Key": "emrlab", "Value": "true"}
# AmazonEMRServicePolicy_v2 acts only on what has this tag.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-managed-iam-policies.html
EMR_TAG = {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"}
SERVICE_ROLE = f"{NAME}-service"
NODE_ROLE = f"{NAME}-node"
SECURITY_CONFIGURATION = NAME

# Which container of the lab, and which port in it, stands for a service of Amazon.
LAB = {"emr": ("emr", 5000), "s3": ("minio", 9000)}
SETUP = "make emr-setup"
FREE_PLAN = (
    "the account is on AWS's Free plan, which starts no machine of a cluster's size; upgrade it under Billing > Free "
    "Tier (what is left of the credits stays), then run again"
)

# What a cause looks like in an error of boto3 ("Code message", or "Class message") or in EMR's reason for a state, and
# what to do about it. The first that fits is said.
CAUSES = (
    (
        "NoCredentials|PartialCredentials|CredentialRetrieval",
        "no AWS credentials; run aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    ("ProfileNotFound", "AWS_PROFILE names a profile that is not in ~/.aws/config; correct it or unset it"),
    (
        "RequestTimeTooSkewed|Signature expired|Signature not yet current",
        "this machine's clock is off by minutes, and AWS refuses what it signs; set the clock and run again",
    ),
    (
        "ExpiredToken|RequestExpired|TokenRefreshRequired|SSOToken|TokenRetrieval|security token.* expired",
        "the session has expired; sign in again (aws sso login) or renew AWS_SESSION_TOKEN",
    ),
    (
        "InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidSignature|AuthFailure",
        "AWS does not know this key; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
    ),
    ("InvalidBucketName|Invalid bucket name", "no valid bucket name; 3 to 63 of a-z, 0-9, - and ."),
    ("BucketAlreadyExists", "the bucket's name belongs to another account; choose another BUCKET"),
    (
        "PermanentRedirect|MovedPermanently|^301|AuthorizationHeaderMalformed|IllegalLocationConstraint",
        "the bucket is in another region; give that one as REGION",
    ),
    ("NoSuchBucket|^404", f"the bucket does not exist; make it with {SETUP}, or correct BUCKET"),
    (
        "(?i)not eligible for (the )?free tier|free (account )?plan",
        FREE_PLAN,
    ),
    (
        "VcpuLimit|vCPU (capacity|limit)|InstanceLimit|MaxSpotInstanceCount|(?<!Request)LimitExceeded|QuotaExceeded",
        "the account's quota is too small for this cluster; raise 'Running On-Demand Standard instances' under Service "
        "Quotas > Amazon EC2, or take a smaller INSTANCE_TYPE",
    ),
    (
        "InsufficientInstanceCapacity|INSTANCE_FLEET_TIMEOUT|capacity-not-available|Spot.*capacity",
        "AWS has no such machines to give right now; run again later, without --spot, or with another INSTANCE_TYPE",
    ),
    (
        "(?i)release ?label",
        "EMR does not offer that release in this region; take another RELEASE of releases.toml",
    ),
    (
        "AccessDenied|UnauthorizedOperation|not authorized|^403",
        "access denied; the caller needs policies/emr/caller.json, and for emr-setup policies/emr/setup.json, for its "
        "--own-key policies/emr/key.json too",
    ),
    (
        "(?i)instance ?profile|service ?role|job ?flow ?role|NoSuchEntity",
        f"a role of the cluster is missing; run {SETUP}",
    ),
    ("(?i)cluster id .*not valid", "there is no such cluster in this region; check CLUSTER and REGION"),
    ("(?i)security configuration.*not", f"the security configuration is missing in this region; run {SETUP}"),
    ("(?i)subnet.*(invalid|not exist|not found|required)", f"the subnet cannot be used; run {SETUP}, or give --subnet"),
    ("OptInRequired|SubscriptionRequired", "the account is not active yet; finish its sign-up, then run again"),
    ("Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|Rate exceeded", "AWS asks to slow down; run again"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the certificate of what answers for AWS is not trusted, as where a company's proxy looks into TLS; set "
        "AWS_CA_BUNDLE to a file with its authority's",
    ),
    ("ProxyConnection", "the proxy that HTTPS_PROXY names does not answer; correct it or unset it"),
    (
        "EndpointConnection|ConnectTimeout|ReadTimeout|ConnectionClosed|SSLError|InvalidRegion",
        "no answer from AWS; check the network and REGION",
    ),
)

_THROTTLED = re.compile("Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ServiceUnavailable")
_EXPIRED = re.compile("ExpiredToken|RequestExpired|TokenRefreshRequired|SSOToken|TokenRetrieval|UnauthorizedSSO")
ONCE_READ_S = 120
KEY_KEPT = timedelta(minutes=15)  # boto3 renews what has less than that to live


class EmrError(EmrlabError):
    """A run or an account cannot be served: one line with the cause and the fix."""


class _KeyFile(SharedCredentialProvider):  # type: ignore[misc]
    """The file ~/.aws/credentials. The key of a session is read anew at each use: sign-in tools write it anew, with no
    word on its end, and boto3 itself reads it once.
    """

    def load(self) -> Any:
        """The key in the file, or None."""
        found = super().load()
        if found is None or not found.token:
            return found
        newest = found.get_frozen_credentials()

        def read() -> dict[str, Any]:
            nonlocal newest
            with suppress(BotoCoreError):  # it is being written
                now = super(_KeyFile, self).load()
                newest = now.get_frozen_credentials() if now else newest
            expires = (datetime.now(UTC) + KEY_KEPT).isoformat()
            return {**newest._asdict(), "expiry_time": expires}

        return RefreshableCredentials.create_from_metadata(read(), refresh_using=read, method=self.METHOD)


def client(service: str, region: str, *, attempts: int = 5, read_s: float = 30) -> Any:
    """A boto3 client; where it goes is for the AWS_* variables to say (AWS_ENDPOINT_URL_EMR, AWS_ENDPOINT_URL_S3).

    It sends what gets no answer in `read_s` seconds again, up to `attempts` times in all.

    Raises:
        BotoCoreError: the region or the profile cannot be.
    """
    from botocore.config import Config  # noqa: PLC0415 - as in _session

    # Servers that are not Amazon's refuse the checksums that boto3 adds of itself.
    checksums = "when_required" if endpoint(service) else "when_supported"
    config = Config(
        connect_timeout=5,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
        user_agent_extra=NAME,
    )
    return _session(region).client(service, region_name=region, config=config)


def once(service: str, region: str) -> Any:
    """A client for calls that make something anew each time that they arrive: it sends each once, and waits longer."""
    return client(service, region, attempts=1, read_s=ONCE_READ_S)


def key() -> Key:
    """The key that boto3 has now, for S3's other client; one of a session is asked for again after a while.

    Raises:
        EmrError: there is none.
    """
    credentials = _session().get_credentials()
    if credentials is None:
        raise EmrError(CAUSES[0][1])
    frozen = credentials.get_frozen_credentials()
    return Key(
        key_id=frozen.access_key,
        secret=frozen.secret_key,
        token=frozen.token,
        expires=datetime.now(UTC) + KEY_KEPT if frozen.token else None,
    )


def _session(region: str | None = None) -> Any:
    """The session that all clients share: what asks for an MFA code asks once; `region` is where STS is asked."""
    import boto3  # noqa: PLC0415 - takes a third of a second, which `launch run` need not wait for
    import botocore.session  # noqa: PLC0415 - as above

    if boto3.DEFAULT_SESSION is None:
        made = botocore.session.get_session()
        file, profile = (made.get_config_variable(name) for name in ("credentials_file", "profile"))
        resolver = create_credential_resolver(made, region_name=region)
        resolver.insert_before(_KeyFile.METHOD, _KeyFile(file, profile))
        made.register_component("credential_provider", resolver)
        boto3.setup_default_session(botocore_session=made)
    return boto3.DEFAULT_SESSION


def endpoint(service: str) -> str | None:
    """The address that the AWS_* variables give `service` in place of Amazon's own."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL")


def use_lab() -> None:
    """Let the lab's endpoint and S3 be meant: where they answer, and the laptop's key to S3 out of `.env`.

    Variables that name no address of the lab's have no key of the lab's, either: theirs is of the user's own account.

    Raises:
        LabError: they do not run.
        UsageError: there is no key.
    """
    found = [service for service in LAB if not endpoint(service)]
    for service in found:
        container, port = LAB[service]
        os.environ[f"AWS_ENDPOINT_URL_{service.upper()}"] = docker_lab.address(container, port, start="make emr-up")
    if found or "AWS_ACCESS_KEY_ID" not in os.environ:
        variables = env_files.read_dotenv()
        keys = {f"AWS_{name[5:]}": value for name, value in variables.items() if name.startswith("DATA_")}
        if not keys:
            raise UsageError(f"{paths.ENV_FILE} has no key to the lab's S3; run make emr-up")
        os.environ.update(keys)
        os.environ.pop("AWS_SESSION_TOKEN", None)


def pages(client: Any, operation: str, key: str, **arguments: Any) -> Iterator[Any]:
    """Every item under `key` in all pages of a listing."""
    for page in client.get_paginator(operation).paginate(**arguments):
        yield from page.get(key, ())


def code(error: Exception) -> str:
    """AWS's code for the error, or the name of boto3's class."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def explain(error: Exception) -> str:
    """What went wrong and what to do, in one line."""
    if not isinstance(error, ClientError):
        return known(f"{type(error).__name__} {error}") or f"{type(error).__name__}: {_line(str(error))}"
    answer = error.response.get("Error", {})
    message = _line(str(answer.get("Message", "")))
    words = known(f"{code(error)} {message}") or "AWS refuses"
    return f"{words} ({error.operation_name}: {code(error)}{f', {message}' if message else ''})"


@contextmanager
def in_one_line() -> Iterator[None]:
    """What AWS answers in the body, or does not, becomes the one line of an EmrError."""
    try:
        yield
    except AWS_ERRORS as error:
        raise EmrError(explain(error)) from error


def known(text: str) -> str | None:
    """The words for a cause that is known, or None."""
    return next((words for pattern, words in CAUSES if re.search(pattern, text)), None)


def is_throttled(error: Exception) -> bool:
    """Whether AWS says that it has not done this because it has too much to do; a bare status may be anybody's."""
    return isinstance(error, ClientError) and bool(_THROTTLED.search(code(error)))


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a little later: throttled, not reached, or AWS's own fault."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return is_throttled(error) or status >= 500
    return isinstance(error, (NoConnection, HTTPClientError))


def is_renewable(error: Exception) -> bool:
    """Whether a session has expired that boto3 takes up again by itself, once the user has signed in elsewhere."""
    return bool(_EXPIRED.search(code(error))) and isinstance(_session().get_credentials(), RefreshableCredentials)


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
