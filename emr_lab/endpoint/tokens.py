"""The tokens that GetSessionEndpoint gives out: each opens one session, for an hour.

They are Fernet's (https://github.com/fernet/spec): encrypted and signed, with the time at which they were made. None is
kept, so they outlive a restart of the endpoint.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken

# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-spark-connect-sessions.html
LIFE_S = 3600


class TokenError(Exception):
    """A token that opens nothing: one line with the cause, without the token."""


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token, and when it ends in seconds since 1970."""

    text: str = field(repr=False)
    expires_s: float


def key(secret: str) -> bytes:
    """Return the key of the tokens, which who does not have the lab's `secret` cannot make."""
    return base64.urlsafe_b64encode(hmac.new(secret.encode(), b"session tokens", hashlib.sha256).digest())


def server_token(key: bytes, session_id: str) -> str:
    """Return what the session's server asks of who calls it: the proxy alone, as its port is open to this machine."""
    return hmac.new(key, f"server of {session_id}".encode(), hashlib.sha256).hexdigest()


def issue(key: bytes, session_id: str, *, now_s: float) -> Token:
    """Return a token for the session. It has no `=`, which Spark Connect's addresses do not take."""
    made = Fernet(key).encrypt_at_time(session_id.encode(), int(now_s))
    return Token(text=made.decode().rstrip("="), expires_s=int(now_s) + LIFE_S)


def session_of(key: bytes, text: str, *, now_s: float) -> str:
    """Return the id of the session that the token opens.

    Raises:
        TokenError: it was not made here, or has ended.
    """
    whole = text + "=" * (-len(text) % 4)
    try:
        return Fernet(key).decrypt_at_time(whole, LIFE_S, int(now_s)).decode()
    except (InvalidToken, ValueError):  # a letter that is no ASCII is a ValueError
        raise TokenError(
            "the token is not valid, or older than an hour; call GetSessionEndpoint for a new one"
        ) from None
