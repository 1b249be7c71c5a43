"""Operations on a cluster's Spark Connect sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.emr.exceptions import InvalidRequestException

from emr_lab.endpoint import session_requests, tokens
from emr_lab.endpoint.operations.emr import ACCOUNT, PAGE, Emr, Members
from emr_lab.endpoint.records import ENDED, READY, Cluster, Session


def start_session(emr: Emr, request: Members) -> dict[str, Any]:
    """Remember the session, whose server the cluster's thread starts; a ClientRequestToken of before starts none."""
    with emr.state.change():
        cluster = emr.cluster(request["ClusterId"])
        session = _of_token(emr, request)
        if session is None:
            session = session_requests.session(request, cluster, now_s=emr.state.clock())
            cluster.sessions.append(session)
            cluster.idle_since_s = None
    return {
        "Id": session.id,
        "ClusterId": cluster.id,
        "Arn": _arn(session, cluster),
        "AccountId": ACCOUNT,
        "State": "SUBMITTED",
    }


def get_session(emr: Emr, request: Members) -> dict[str, Any]:
    """One session."""
    with emr.state.lock:
        cluster, session = _find(emr, request)
        return {"Session": _describe(session, cluster)}


def get_session_endpoint(emr: Emr, request: Members) -> dict[str, Any]:
    """Where a session's server is reached, and a token that opens it for an hour."""
    with emr.state.lock:
        _, session = _find(emr, request)
        if session.state not in READY:
            raise InvalidRequestException(f"Session {session.id} is {session.state}; it has no endpoint now.")
    token = tokens.issue(emr.state.token_key, session.id, now_s=emr.state.clock())
    return {
        "Endpoint": emr.state.sessions_url,
        "AuthToken": token.text,
        "AuthTokenExpirationTime": token.expires_s,
    }


def list_sessions(emr: Emr, request: Members) -> dict[str, Any]:
    """A cluster's sessions by their states, newest first."""
    states, token, most = request.get("SessionStates"), request.get("NextToken"), request.get("MaxResults", PAGE)
    with emr.state.lock:
        cluster = emr.cluster(request["ClusterId"])
        newest_first = cluster.sessions[::-1]
        ids = [each.id for each in newest_first]
        if token and token not in ids:
            raise InvalidRequestException(f"The NextToken {token[:100]} is not valid.")
        # A session that has changed its state since the last page is left out, and moves no other.
        rest = newest_first[ids.index(token) if token else 0 :]
        found = [each for each in rest if not states or each.state in states]
        page: dict[str, Any] = {"Sessions": [_describe(each, cluster) for each in found[:most]]}
    return {**page, "NextToken": found[most].id} if len(found) > most else page


def terminate_session(emr: Emr, request: Members) -> dict[str, Any]:
    """Let the session end; one that ends already goes on doing so."""
    with emr.state.record():
        cluster, session = _find(emr, request)
        if session.state in ENDED:
            raise InvalidRequestException(f"Session {session.id} is {session.state} already.")
        if session.state != "TERMINATING":
            session.enter("TERMINATING", "Terminated by user request", now_s=emr.state.clock())
        return {"ClusterId": cluster.id, "SessionId": session.id, "State": session.state}


def _find(emr: Emr, request: Members) -> tuple[Cluster, Session]:
    """The cluster and the session that a request names. Under the lock."""
    cluster = emr.cluster(request["ClusterId"])
    session = next((each for each in cluster.sessions if each.id == request["SessionId"]), None)
    if session is None:
        raise InvalidRequestException(f"Session id '{request['SessionId'][:100]}' is not valid.")
    return cluster, session


def _of_token(emr: Emr, request: Members) -> Session | None:
    """The session that a request with the same ClientRequestToken has started. Under the lock."""
    token = request.get("ClientRequestToken")
    if token is None:
        return None
    of_region = [each for each in emr.state.store.clusters.values() if each.region == emr.region]
    sessions = [session for cluster in of_region for session in cluster.sessions]
    session = next((each for each in sessions if each.request.get("ClientRequestToken") == token), None)
    if session is not None and _asked(request) != {**session.request, "Tags": session.tags}:
        raise InvalidRequestException(
            f"ClientRequestToken {token} was used for session {session.id}, with other parameters."
        )
    return session


def _asked(request: Members) -> dict[str, Any]:
    tags = {each.get("Key", ""): each.get("Value", "") for each in request.get("Tags", [])}
    return {**request, "Tags": tags}


def _arn(session: Session, cluster: Cluster) -> str:
    return f"{cluster.arn}/session/{session.id}"


def _describe(session: Session, cluster: Cluster) -> dict[str, Any]:
    """GetSession's Session."""
    request = session.request
    copied = ("Name", "ExecutionRoleArn", "EngineConfigurations", "MonitoringConfiguration")
    times: Mapping[str, float | None] = {
        "CreatedAt": session.created_s,
        "UpdatedAt": session.updated_s,
        "StartedAt": session.started_s,
        "EndedAt": session.ended_s,
        "IdleSince": session.idle_since_s,
    }
    return {
        "Id": session.id,
        "ClusterId": cluster.id,
        "Arn": _arn(session, cluster),
        "State": session.state,
        "StateChangeReason": session.message,
        "ReleaseLabel": cluster.request["ReleaseLabel"],
        "AccountId": ACCOUNT,
        "SessionIdleTimeoutInMinutes": int(session_requests.idle_timeout_s(session) // 60),
        "Tags": [{"Key": key, "Value": value} for key, value in session.tags.items()],
        **{name: request[name] for name in copied if name in request},
        **{name: seconds for name, seconds in times.items() if seconds is not None},
    }
