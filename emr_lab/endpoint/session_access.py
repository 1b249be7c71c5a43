"""Who may call a session's server: the proxy before it asks here for each call, and is told where the server is."""

from __future__ import annotations

from http import HTTPStatus

from emr_lab.endpoint import tokens
from emr_lab.endpoint.records import READY, Session
from emr_lab.endpoint.state import EndpointState


class AccessError(Exception):
    """A call that is refused: UNAUTHORIZED for who may not, FORBIDDEN for a session at its end; one line with why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def server(state: EndpointState, *, token: str, session_id: str) -> str:
    """Return host and port of the session's server, and note that it is called.

    Args:
        state: of the endpoint.
        token: the call's `x-aws-proxy-auth`.
        session_id: its `authorization`, which has to name the session too, as on EMR.

    Raises:
        AccessError: see there.
    """
    try:
        of_token = tokens.session_of(state.token_key, token, now_s=state.clock())
    except tokens.TokenError as error:
        raise AccessError(HTTPStatus.UNAUTHORIZED, str(error)) from error
    if session_id != of_token:
        raise AccessError(HTTPStatus.UNAUTHORIZED, "authorization must be the id of the session that the token is for")
    with state.lock:
        session = _session(state, of_token)
        if session is None:
            raise AccessError(HTTPStatus.FORBIDDEN, f"session {of_token} is not known any more")
        if session.server is None or session.state not in READY:
            raise AccessError(HTTPStatus.FORBIDDEN, f"session {of_token} is {session.state}: {session.message}")
        state.called_s[session.id] = state.clock()
        return session.server


def _session(state: EndpointState, session_id: str) -> Session | None:
    sessions = (session for cluster in state.store.clusters.values() for session in cluster.sessions)
    return next((session for session in sessions if session.id == session_id), None)
