"""An S3, the key to it, and the client of it: what this machine's copies to and from S3 go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Credential


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key to an S3.

    Attributes:
        key_id, secret: of the user.
        token: of a session, where the key is a temporary one.
        expires: when another is to be asked for; None: never.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """An S3 and the way to it.

    Attributes:
        key: gives the key that is right now; a run may take longer than a session.
        region: of the buckets.
        address: of the server, like http://127.0.0.1:9000; None is AWS.
    """

    key: Callable[[], Key]
    region: str
    address: str | None = None


def open_store(uri: str, access: Access, *, timeout: str = "5min") -> S3Store:
    """A client of what is below `uri` in this S3 and in no other: the user's own AWS_* variables stay out of it.

    Args:
        uri: s3://bucket/prefix.
        access: to the S3.
        timeout: of one request. Many parts share a home's uplink: each may take minutes.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")

    def key() -> S3Credential:
        current = access.key()
        return {
            "access_key_id": current.key_id,
            "secret_access_key": current.secret,
            "token": current.token,
            "expires_at": current.expires,
        }

    place: dict[str, Any] = {"aws_endpoint_url_s3": access.address} if access.address else {}
    return S3Store(
        bucket,
        prefix=prefix or None,
        region=access.region,
        virtual_hosted_style_request=not access.address,
        credential_provider=key,
        client_options={"allow_http": True, "connect_timeout": "5s", "timeout": timeout},
        # Trying again is `patiently`'s.
        retry_config={"max_retries": 0, "retry_timeout": timedelta(minutes=5)},
        **place,
    )
