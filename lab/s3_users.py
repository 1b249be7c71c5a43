"""The users of the lab's S3 and their rights, as each server has them: S3 itself has no request for that.

`GRANT` has one function a server, by the name that its image carries in S3_SERVER (docker/s3/Dockerfile). Each brings
the server to the same state: the users with their keys, each allowed what its IAM statements say and nothing else.
Users and policies that others made there stay as they are: what may be removed is `former`, the key ids of users that
were made here. tests/lab/test_security.py shows what that has to come to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape

import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.signer import sign_v4_s3

from base.errors import EmrlabError

POLICY_PREFIX = "emrlab-"


@dataclass(frozen=True, kw_only=True)
class Server:
    """An S3 server with root's key: its `address` is like http://minio:9000."""

    address: str
    region: str
    root: str
    password: str = field(repr=False)
    http: urllib3.PoolManager


@dataclass(frozen=True, kw_only=True)
class User:
    """A user: its name in the lab, its key, and the IAM statements of its policy."""

    name: str
    key_id: str
    secret: str = field(repr=False)
    statements: Sequence[dict[str, Any]]


class RefusedError(EmrlabError):
    """The server does not do what root asks for: its answer, in one line."""


def minio(server: Server, users: Sequence[User], *, former: Set[str], bucket: str) -> None:  # noqa: ARG001 - its policies name the bucket
    """Users with policies of their own, by MinIO's admin API.

    Raises:
        MinioAdminException: the server refuses.
        urllib3.exceptions.HTTPError: it does not answer.
    """
    address = urlsplit(server.address)
    admin = MinioAdmin(
        endpoint=address.netloc,
        credentials=StaticProvider(server.root, server.password),
        region=server.region,
        secure=address.scheme == "https",
        http_client=server.http,
    )
    for user in users:
        name = f"{POLICY_PREFIX}{user.name}"
        admin.policy_add(name, policy={"Version": "2012-10-17", "Statement": list(user.statements)})
        admin.user_add(user.key_id, user.secret)
        admin.policy_set(name, user=user.key_id)
    for key_id in (former - {user.key_id for user in users}) & json.loads(admin.user_list()).keys():
        admin.user_remove(key_id)


def versitygw(server: Server, users: Sequence[User], *, former: Set[str], bucket: str) -> None:
    """Users by the gateway's admin API; their rights are the bucket's policy, as it has none of a user's.

    Statements of the policy that are about others stay.

    Raises:
        RefusedError: the server refuses.
        urllib3.exceptions.HTTPError: it does not answer.
    """
    for user in users:
        account = f"<Access>{escape(user.key_id)}</Access><Secret>{escape(user.secret)}</Secret><Role>user</Role>"
        status, body = _ask(server, "PATCH", "/create-user", body=f"<Account>{account}</Account>")
        if status == 409:  # it is there, perhaps with another secret
            query, changed = urlencode({"access": user.key_id}), f"<Secret>{escape(user.secret)}</Secret>"
            status, body = _ask(
                server, "PATCH", f"/update-user?{query}", body=f"<MutableProps>{changed}</MutableProps>"
            )
        _check(status, body)
    in_use = {user.key_id for user in users}
    statements = [
        {**statement, "Sid": f"{user.name}{statement['Sid']}", "Principal": {"AWS": [user.key_id]}}
        for user in users
        for statement in user.statements
    ]
    status, body = _ask(server, "GET", f"/{bucket}?policy=", body="")
    if status != 404:  # there is none yet
        _check(status, body)
        statements += [each for each in json.loads(body)["Statement"] if not _principals(each) <= former | in_use]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    _check(*_ask(server, "PUT", f"/{bucket}?policy=", body=policy))
    for key_id in sorted(former - in_use):
        status, body = _ask(server, "PATCH", f"/delete-user?{urlencode({'access': key_id})}", body="")
        if status != 404:  # it is gone already
            _check(status, body)


GRANT: dict[str, Callable[..., None]] = {"minio": minio, "versitygw": versitygw}


def _principals(statement: Mapping[str, Any]) -> set[str]:
    """Whom a bucket policy's statement is about: "*", {"AWS": "…"} or {"AWS": ["…", …]}."""
    principal = statement["Principal"]
    named = principal["AWS"] if isinstance(principal, dict) else principal
    return {named} if isinstance(named, str) else set(named)


def _ask(server: Server, method: str, path: str, *, body: str) -> tuple[int, str]:
    """Status and body of the answer to a request that root signs."""
    url, content, now = urlsplit(f"{server.address}{path}"), body.encode(), datetime.now(UTC)
    digest = sha256(content).hexdigest()
    headers: dict[str, str | list[str] | tuple[str]] = {
        "Host": url.netloc,
        "x-amz-content-sha256": digest,
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    signed = sign_v4_s3(
        method=method,
        url=url,
        region=server.region,
        headers=headers,
        credentials=StaticProvider(server.root, server.password).retrieve(),
        content_sha256=digest,
        date=now,
    )
    answer = server.http.request(
        method, url.geturl(), body=content, headers={name: str(value) for name, value in signed.items()}
    )
    return answer.status, answer.data.decode(errors="replace")


def _check(status: int, body: str) -> None:
    if status >= 300:
        raise RefusedError(f"{status} {' '.join(body.split())[:300]}")
