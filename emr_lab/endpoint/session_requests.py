"""Turns a StartSession into a session, or refuses it with EMR's code.

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-spark-connect-sessions.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moto.emr.exceptions import InvalidRequestException, ValidationException

from emr_lab.endpoint import validation
from emr_lab.endpoint.errors import NotOfferedError
from emr_lab.endpoint.records import Cluster, Session, new_id

DEFAULT_IDLE_MINUTES, MOST_IDLE_MINUTES = 60, 24 * 60
MOST_SESSIONS = 1000  # of a cluster, at once
# Where a session's server listens: below the ports that Linux gives out by itself.
PORTS = range(15100, 15100 + MOST_SESSIONS)
# What S3LoggingConfiguration's LogTypes may name.
LOG_TYPES: Mapping[str, frozenset[str]] = {
    "SPARK_DRIVER": frozenset({"stdout", "stderr"}),
    "SPARK_EXECUTOR": frozenset({"stdout", "stderr"}),
}
# What makes a session a session; the session itself sets these.
_OWN_SETTINGS = (
    "spark.master",
    "spark.submit.",
    "spark.yarn.tags",
    "spark.yarn.maxAppAttempts",
    "spark.connect.grpc.",
    "spark.connect.authenticate.",
)
_WAITS = frozenset({"RUNNING", "WAITING"})


def session(request: Mapping[str, Any], cluster: Cluster, *, now_s: float) -> Session:
    """Return the session that StartSession's members ask for.

    Raises:
        InvalidRequestException: EMR would not start it.
        NotOfferedError: it asks for what the lab has not got.
    """
    if not cluster.request.get("SessionEnabled"):
        raise InvalidRequestException(
            f"Sessions are not enabled on cluster {cluster.id}. Start a cluster with SessionEnabled, on a release from "
            "emr-spark-8.0.0 on."
        )
    if cluster.state not in _WAITS:
        raise InvalidRequestException(
            f"Cluster {cluster.id} is {cluster.state}; a session can be started while it is RUNNING or WAITING."
        )
    if not str(request.get("Name", "")).strip():
        raise InvalidRequestException("Name is required to start a session, and must not be empty.")
    minutes = request.get("SessionIdleTimeoutInMinutes", DEFAULT_IDLE_MINUTES)
    if not 1 <= minutes <= MOST_IDLE_MINUTES:
        raise InvalidRequestException(f"SessionIdleTimeoutInMinutes must be 1 to {MOST_IDLE_MINUTES}, not {minutes}.")
    _check_engine(request.get("EngineConfigurations", []))
    _check_monitoring(request.get("MonitoringConfiguration", {}))
    try:
        validation.execution_role(request.get("ExecutionRoleArn"), cluster)
        tags = validation.tags(request.get("Tags", []))
    except ValidationException as error:  # this operation's model has no such error
        raise InvalidRequestException(error.message) from error
    taken = {each.port for each in cluster.live_sessions()}
    if len(taken) >= MOST_SESSIONS:
        raise InvalidRequestException(f"Cluster {cluster.id} has {MOST_SESSIONS} active sessions; end one first.")
    return Session(
        id=new_id("is"),
        request={name: value for name, value in request.items() if name != "Tags"},
        tags=tags,
        port=next(port for port in PORTS if port not in taken),
        created_s=now_s,
        updated_s=now_s,
        message="The session is submitted.",
    )


def idle_timeout_s(session: Session) -> float:
    """Return the seconds after which an idle session ends."""
    return 60.0 * int(session.request.get("SessionIdleTimeoutInMinutes", DEFAULT_IDLE_MINUTES))


def log_uri(session: Session) -> str | None:
    """Return where S3LoggingConfiguration wants the session's logs, or None."""
    configuration = session.request.get("MonitoringConfiguration", {}).get("S3LoggingConfiguration", {})
    return str(configuration["LogUri"]) if configuration.get("Enabled", bool(configuration)) else None


def log_types(session: Session) -> Mapping[str, frozenset[str]]:
    """Return which streams of which component S3LoggingConfiguration wants; all where it names none."""
    named = session.request.get("MonitoringConfiguration", {}).get("S3LoggingConfiguration", {}).get("LogTypes")
    return {component: frozenset(streams) for component, streams in named.items()} if named else LOG_TYPES


def _check_engine(configurations: Sequence[Mapping[str, Any]]) -> None:
    for configuration in configurations:
        name, properties = configuration.get("Classification"), configuration.get("Properties", {})
        if name != "spark-defaults" or configuration.get("Configurations"):
            raise InvalidRequestException(
                f"EngineConfigurations: {name} is no configuration of a session; only runtime configuration overrides "
                "are supported, in spark-defaults."
            )
        for key, value in properties.items():
            if not key.startswith("spark.") or "=" in key or any(each in f"{key}{value}" for each in "\r\n"):
                raise InvalidRequestException(f"EngineConfigurations: {key[:100]} is no setting of Spark.")
            if key.startswith(_OWN_SETTINGS):
                raise InvalidRequestException(f"EngineConfigurations: {key} is set by the session itself.")


def _check_monitoring(configuration: Mapping[str, Any]) -> None:
    for name in ("CloudWatchLoggingConfiguration", "ManagedLoggingConfiguration"):
        if configuration.get(name, {}).get("Enabled"):
            raise NotOfferedError(f"{name} is not in the lab; take S3LoggingConfiguration")
    of_s3 = configuration.get("S3LoggingConfiguration", {})
    if of_s3.get("Enabled", bool(of_s3)) and not validation.LOG_URI.fullmatch(of_s3.get("LogUri", "")):
        raise InvalidRequestException("S3LoggingConfiguration: LogUri must be s3://BUCKET/….")
    for component, streams in (of_s3.get("LogTypes") or {}).items():
        if unknown := set(streams) - LOG_TYPES.get(component, frozenset()):
            offered = "; ".join(f"{each}: {', '.join(sorted(of))}" for each, of in LOG_TYPES.items())
            raise InvalidRequestException(
                f"S3LoggingConfiguration: {component} has no log {unknown.pop()}; there are {offered}."
            )
        if component not in LOG_TYPES:
            raise InvalidRequestException(f"S3LoggingConfiguration: {component[:100]} is no component of a session.")
