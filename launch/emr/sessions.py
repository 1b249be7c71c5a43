"""Spark Connect sessions of EMR, for a client on this machine: on a cluster of Amazon's, or of the EMR lab.

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-spark-connect-sessions.html
"""

from __future__ import annotations

import hashlib
import secrets
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from base import sizing
from base.paths import CACHE
from launch import docker_lab, needs, targets
from launch.dependencies import lock, wheels
from launch.emr import account, artifacts, aws, bootstrap, cost, follow, once, request
from launch.emr.aws import AWS_ERRORS, NAME, EmrError
from launch.emr.follow import Clients, Show
from launch.emr.run_spec import SessionSpec
from launch.emr.session_price import IDLE_MINUTES

READY, OVER = frozenset({"STARTED", "IDLE", "BUSY"}), frozenset({"TERMINATING", "TERMINATED", "FAILED"})
CLUSTER_READY = ("RUNNING", "WAITING")
CLUSTER_OVER = frozenset({"TERMINATING", *follow.ENDED})
START_TIMEOUT_S = 1200.0
INTERVAL_S = (1.0, 4.0)  # between two looks at what starts: somebody waits for it
# The driver's container beside the executors: EMR's spark.driver.memory, 2048 MB, and 384 of overhead.
DRIVER_MB = 2432
# Python workers look for pyspark here, which the container of an executor does not say by itself.
SPARK_PYTHON = "/usr/lib/spark/python"
HTTPS = 443


@dataclass(frozen=True, kw_only=True)
class OpenSession:
    """A session that takes queries.

    Attributes:
        where: it is, in words.
        python: the minor version of the nodes' Python.
        spark: the version of its server.
        slots: so many tasks run at a time, at most.
        environment: what a client needs: the address with the token in it, whom to trust, and where to renew the token.
        is_open: whether it is still there.
    """

    where: str
    python: str
    spark: str
    slots: int
    environment: Mapping[str, str] = field(repr=False)
    is_open: Callable[[], bool]


@contextmanager
def opened(spec: SessionSpec, *, show: Show) -> Iterator[OpenSession]:
    """A session, terminated when the body is left; a cluster that was started for it ends with it, unless it is kept.

    In the EMR lab, which has one cluster at a time, that one is used where it has sessions and the job's packages.

    Args:
        spec: what is wanted; its cluster may run already.
        show: takes a line for the user.

    Raises:
        LabError: the EMR lab is not up.
        SizingError: the executors do not fit.
        EmrError: cluster or session do not start; AWS refuses, or does not answer.
    """
    with aws.in_one_line():
        region = spec.cluster.region
        clients = Clients(emr=aws.client("emr", region), s3=aws.client("s3", region))
        node = spec.cluster.node or sizing.instance(spec.cluster.instance_type)
        settings = {**engine_settings(node, region=region), **spec.conf_overrides}
        with (
            _cluster(spec, clients, show=show) as cluster_id,
            _session(clients, cluster_id, settings, show=show) as session_id,
        ):
            yield OpenSession(
                where=f"cluster {cluster_id}{' of the EMR lab' * spec.in_emr_lab}, session {session_id}",
                python=spec.release.python,
                spark=spec.release.spark,
                slots=spec.cluster.workers * node.vcpu,
                environment=_environment(spec, clients.emr, cluster_id, session_id),
                is_open=lambda: _is_open(clients.emr, cluster_id, session_id, show=show),
            )


def engine_settings(node: sizing.Node, *, region: str) -> dict[str, str]:
    """Return the EngineConfigurations of a session on nodes like `node`: executors that leave room for its driver."""
    beside = DRIVER_MB - sizing.APPLICATION_MASTER_MB
    shape = sizing.executors(vcpu=node.vcpu, yarn_mb=node.yarn_mb - beside)
    return {
        "spark.executor.cores": str(shape.cores),
        "spark.executor.memory": sizing.memory_text(shape.heap_mb),
        "spark.executor.memoryOverhead": sizing.memory_text(shape.overhead_mb),
        # They start with the server, and go when nobody asks for a minute; the first query need not wait for them.
        "spark.dynamicAllocation.initialExecutors": str(shape.instances),
        "spark.executorEnv.PYTHONPATH": SPARK_PYTHON,
        "spark.executorEnv.AWS_REGION": region,
        # Where the job's packages are: the server hands this Python's name to the executors.
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": targets.PYTHON,
    }


def url(host: str, *, token: str, session_id: str) -> str:
    """Return the address for `SparkSession.builder.remote`, as AWS's guide builds it; `host` is host and port."""
    return f"sc://{host}/;use_ssl=true;x-aws-proxy-auth={token};authorization={session_id}"


@contextmanager
def _cluster(spec: SessionSpec, clients: Clients, *, show: Show) -> Iterator[str]:
    """The id of a cluster that has sessions; one that was started here is ended when the body is left.

    One that is to stay is ended, too, where it does not come so far as to be of use: nobody would know of it. The EMR
    lab's, which bills nobody, is found again.
    """
    found = spec.cluster_id or (_find(clients.emr) if spec.in_emr_lab else None)
    cluster_id, is_ready = found or _start(spec, clients, show=show), False
    try:
        _wait_for_cluster(spec, clients, cluster_id, show=show)
        is_ready = True
        yield cluster_id
    finally:
        if found is None and not spec.in_emr_lab and not (spec.cluster.keep and is_ready):
            _end(spec, clients, cluster_id, show=show)
        elif is_ready and _takes_sessions(clients.emr, cluster_id):
            show(f"cluster {cluster_id} ends after ten idle minutes; until then it takes another session")


def _takes_sessions(emr: Any, cluster_id: str) -> bool:
    """Whether the cluster is there still; where EMR does not say, nothing is claimed."""
    with suppress(*AWS_ERRORS):
        return emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]["State"] in CLUSTER_READY
    return False


def _find(emr: Any) -> str | None:
    """The EMR lab's cluster that has sessions and the job's packages, where there is one."""
    listed = aws.pages(emr, "list_clusters", "Clusters", ClusterStates=["STARTING", "BOOTSTRAPPING", *CLUSTER_READY])
    for each in listed:
        cluster = emr.describe_cluster(ClusterId=each["Id"])["Cluster"]
        if cluster.get("SessionEnabled") and request.WHEELHOUSE_TAG in {tag["Key"] for tag in cluster.get("Tags", ())}:
            return str(cluster["Id"])
    return None


def _start(spec: SessionSpec, clients: Clients, *, show: Show) -> str:
    """A cluster that serves sessions, with the image pipeline's packages on its nodes; its id."""
    cluster = spec.cluster
    machine = lock.machine_here() if spec.in_emr_lab else sizing.architecture(cluster.instance_type)
    wheelhouse = wheels.build(wheels.JOB_LOCK.read_text(), needs.of_nodes(spec.release, machine), cache=CACHE)
    imports = bootstrap.imported_on_nodes()
    nodes = artifacts.send_packages(cluster.bucket, wheelhouse, artifacts.access(spec), imports=imports)
    if spec.in_emr_lab:
        account.ensure_in_emr_lab(cluster.region)
    asked = request.run_for_sessions(cluster, nodes, python=spec.release.python, lifetime_s=spec.lifetime_s)
    return once.run_job_flow(clients, aws.once("emr", cluster.region), asked, show=show)


def _wait_for_cluster(spec: SessionSpec, clients: Clients, cluster_id: str, *, show: Show) -> None:
    def look() -> dict[str, Any]:
        status: dict[str, Any] = clients.emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        return status

    seen = "not seen"
    for status in follow.poll(clients, look, deadline_s=START_TIMEOUT_S, show=show, interval_s=INTERVAL_S):
        state = str(status["State"])
        if state in CLUSTER_READY:
            return
        if state in CLUSTER_OVER:
            reason = status.get("StateChangeReason", {})
            raise EmrError(follow.why_ended(clients, cluster_id, reason, log_uri=spec.cluster.logs, show=show))
        if state != seen:
            seen = state
            show(f"cluster {cluster_id} is {seen}")
    raise EmrError(f"cluster {cluster_id} is {seen} after {START_TIMEOUT_S:.0f} s; run again")


def _end(spec: SessionSpec, clients: Clients, cluster_id: str, *, show: Show) -> None:
    """End the cluster, if it has not ended by itself, and say what it came to."""
    try:
        clients.emr.terminate_job_flows(JobFlowIds=[cluster_id])
    except AWS_ERRORS as error:
        show(
            f"cluster {cluster_id} cannot be ended from here: {aws.explain(error)}; it ends ten minutes after its "
            "session, or run: make emr-down"
        )
        return
    show(f"cluster {cluster_id} is ended")
    with suppress(*AWS_ERRORS):  # the bill comes from Amazon
        instances = list(aws.pages(clients.emr, "list_instances", "Instances", ClusterId=cluster_id))
        usd = cost.actual_usd(spec.cluster, instances, now=datetime.now(UTC) + timedelta(seconds=cost.END_S))
        minutes = usd / cost.hour_usd(spec.cluster) * 60
        show(cost.words_after(usd, minutes=minutes, in_emr_lab=spec.in_emr_lab).rstrip())


@contextmanager
def _session(clients: Clients, cluster_id: str, settings: Mapping[str, str], *, show: Show) -> Iterator[str]:
    """The id of a session that takes queries, terminated when the body is left."""
    configurations = [{"Classification": "spark-defaults", "Properties": dict(settings)}]
    # boto3 sends a call again that gets no answer: by the token it starts one session all the same.
    session_id = str(
        clients.emr.start_session(
            ClusterId=cluster_id,
            Name=NAME,
            EngineConfigurations=configurations,
            SessionIdleTimeoutInMinutes=IDLE_MINUTES,
            ClientRequestToken=secrets.token_hex(16),
        )["Id"]
    )
    try:
        _wait_for_session(clients, cluster_id, session_id, show=show)
        yield session_id
    finally:
        _terminate(clients.emr, cluster_id, session_id, show=show)


def _wait_for_session(clients: Clients, cluster_id: str, session_id: str, *, show: Show) -> None:
    def look() -> dict[str, Any]:
        return _find_session(clients.emr, cluster_id, session_id)

    seen = "not seen"
    for session in follow.poll(clients, look, deadline_s=START_TIMEOUT_S, show=show, interval_s=INTERVAL_S):
        state, said = session["State"], f"{session['State']}: {session.get('StateChangeReason', '')}"
        if state in READY:
            return
        if state in OVER:
            raise EmrError(f"session {session_id} is {said}")
        if said != seen:
            seen = said
            show(f"session {session_id} is {seen}")
    raise EmrError(f"session {session_id} is {seen} after {START_TIMEOUT_S:.0f} s; run again")


def _terminate(emr: Any, cluster_id: str, session_id: str, *, show: Show) -> None:
    try:
        if _find_session(emr, cluster_id, session_id)["State"] not in OVER:
            emr.terminate_session(ClusterId=cluster_id, SessionId=session_id)
            show(f"session {session_id} is terminated")
    except AWS_ERRORS as error:
        show(
            f"session {session_id} cannot be ended from here: {aws.explain(error)}; it ends after {IDLE_MINUTES} idle "
            "minutes"
        )


def _is_open(emr: Any, cluster_id: str, session_id: str, *, show: Show) -> bool:
    """Whether it takes queries still; where EMR does not answer just now, it is taken to."""
    try:
        session = _find_session(emr, cluster_id, session_id)
    except AWS_ERRORS as error:
        if aws.is_passing(error) or aws.is_renewable(error):
            return True
        raise
    if session["State"] in READY:
        return True
    show(f"session {session_id} is {session['State']}: {session.get('StateChangeReason', '')}")
    return False


def _find_session(emr: Any, cluster_id: str, session_id: str) -> dict[str, Any]:
    session: dict[str, Any] = emr.get_session(ClusterId=cluster_id, SessionId=session_id)["Session"]
    return session


def _environment(spec: SessionSpec, emr: Any, cluster_id: str, session_id: str) -> dict[str, str]:
    """The variables of a client."""
    endpoint = emr.get_session_endpoint(ClusterId=cluster_id, SessionId=session_id)
    if spec.in_emr_lab:
        host = docker_lab.address("sessions", 8443, start="make emr-up").removeprefix("http://")
        trusted = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(_certificate(f"{aws.endpoint('emr')}/sessions/ca.pem"))}
    else:
        address = urlsplit(str(endpoint["Endpoint"]))
        host, trusted = f"{address.hostname}:{address.port or HTTPS}", {}
    return {
        "SPARK_REMOTE": url(host, token=str(endpoint["AuthToken"]), session_id=session_id),
        **trusted,
        "EMRLAB_CLUSTER": cluster_id,
        "EMRLAB_REGION": spec.cluster.region,
    }


def _certificate(address: str) -> Path:
    """The certificate of the lab's authority in a file, for gRPC to trust; another lab's has another name."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - the lab's own endpoint
            content = answer.read()
    except OSError as error:
        raise EmrError(f"{address} does not give the certificate of the sessions: {error}; run: make emr-up") from error
    path = CACHE / "sessions" / f"ca-{hashlib.sha256(content).hexdigest()[:12]}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
