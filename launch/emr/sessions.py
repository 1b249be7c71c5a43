"""Spark Connect sessions of EMR, for a client on this machine: on a cluster of the EMR lab, or on one of Amazon's.

https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-spark-connect-sessions.html
"""

from __future__ import annotations

import hashlib
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base import compose, releases, sizing
from base.defaults import BUCKET, INSTANCE_TYPE, REGION
from base.paths import CACHE
from launch import docker_lab, needs, storage, targets
from launch.dependencies import lock, wheels
from launch.emr import account, artifacts, aws, bootstrap, request
from launch.emr.aws import AWS_ERRORS, EmrError
from launch.emr.request import Cluster
from launch.s3_access import Access

NAME = "emrlab"
READY, OVER = frozenset({"STARTED", "IDLE", "BUSY"}), frozenset({"TERMINATING", "TERMINATED", "FAILED"})
CLUSTER_READY = ("RUNNING", "WAITING")
CLUSTER_OVER = frozenset({"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"})
START_TIMEOUT_S, POLL_S = 1200.0, 1.0
# The driver's container beside the executors: EMR's spark.driver.memory, 2048 MB, and 384 of overhead.
DRIVER_MB = 2432
# Python workers look for pyspark here, which the container of an executor does not say by itself.
SPARK_PYTHON = "/usr/lib/spark/python"

Show = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OpenSession:
    """A session that takes queries.

    Attributes:
        where: it is, in words.
        python: the minor version of the nodes' Python.
        slots: so many tasks run at a time, at most.
        environment: what a client needs: the address with the token in it, and the file of who is trusted.
        is_open: whether it is still there.
    """

    where: str
    python: str
    slots: int
    environment: Mapping[str, str] = field(repr=False)
    is_open: Callable[[], bool]


@contextmanager
def in_emr_lab(*, conf_overrides: Mapping[str, str], show: Show) -> Iterator[OpenSession]:
    """A session in the EMR lab, terminated when the body is left; its cluster ends after ten idle minutes.

    A cluster of this launcher's that has sessions is used; where there is none, one is started, with the job's packages
    on its nodes.

    Args:
        conf_overrides: Spark's settings in place of ours.
        show: takes a line for the user.

    Raises:
        LabError, UsageError: the EMR lab is not up.
        SizingError: the executors do not fit.
        EmrError: cluster or session do not start; the endpoint refuses, or does not answer.
    """
    aws.use_lab()
    try:
        release = releases.find(compose.setting("RELEASE"))
        instance_type = compose.setting("INSTANCE_TYPE") or INSTANCE_TYPE
        emr = aws.client("emr", REGION)
        node = docker_lab.emr_lab_node(instance_type)
        cluster = Cluster(bucket=BUCKET, region=REGION, release=release.label, instance_type=instance_type, keep=True)
        cluster_id = _find(emr) or _start(emr, cluster, release)
        _wait_for_cluster(emr, cluster_id, show=show)
        settings = {**engine_settings(node, region=REGION), **conf_overrides}
        with _session(emr, cluster_id, settings, show=show) as session_id:
            endpoint = emr.get_session_endpoint(ClusterId=cluster_id, SessionId=session_id)
            host = docker_lab.address("sessions", 8443, start="make emr-up").removeprefix("http://")
            yield OpenSession(
                where=f"cluster {cluster_id} of the EMR lab, session {session_id}",
                python=release.python,
                slots=sizing.WORKERS * node.vcpu,
                environment={
                    "SPARK_REMOTE": url(host, token=str(endpoint["AuthToken"]), session_id=session_id),
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(_certificate(f"{aws.endpoint('emr')}/sessions/ca.pem")),
                },
                is_open=lambda: _state(emr, cluster_id, session_id)["State"] in READY,
            )
    except AWS_ERRORS as error:
        raise EmrError(aws.explain(error)) from error


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


def _find(emr: Any) -> str | None:
    """The cluster that has sessions and the job's packages, where there is one."""
    listed = aws.pages(emr, "list_clusters", "Clusters", ClusterStates=["STARTING", "BOOTSTRAPPING", *CLUSTER_READY])
    for each in listed:
        cluster = emr.describe_cluster(ClusterId=each["Id"])["Cluster"]
        if cluster.get("SessionEnabled") and request.WHEELHOUSE_TAG in {tag["Key"] for tag in cluster.get("Tags", ())}:
            return str(cluster["Id"])
    return None


def _start(emr: Any, cluster: Cluster, release: releases.Release) -> str:
    nodes_python = needs.of_nodes(release, lock.machine_here())
    wheelhouse = wheels.build(wheels.JOB_LOCK.read_text(), nodes_python, cache=CACHE)
    access = Access(key=aws.key, region=cluster.region, address=aws.endpoint("s3"))
    nodes = artifacts.node_artifacts(cluster.bucket, wheelhouse.sha256, imports=bootstrap.imported_on_nodes())
    storage.put(wheelhouse.path, nodes.wheelhouse, access)
    storage.put(bootstrap.SCRIPT, nodes.bootstrap, access)
    account.ensure_in_emr_lab(cluster.region)
    asked = request.run_job_flow(cluster, nodes, python=release.python, step={})
    return str(emr.run_job_flow(**{**asked, "Steps": [], "SessionEnabled": True})["JobFlowId"])


def _wait_for_cluster(emr: Any, cluster_id: str, *, show: Show) -> None:
    seen, deadline = "", time.monotonic() + START_TIMEOUT_S
    while True:
        status = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]["Status"]
        if status["State"] in CLUSTER_READY:
            return
        if status["State"] in CLUSTER_OVER:
            raise EmrError(f"cluster {cluster_id} is {status['State']}: {status['StateChangeReason'].get('Message')}")
        if time.monotonic() > deadline:
            raise EmrError(f"cluster {cluster_id} is {status['State']} after {START_TIMEOUT_S:.0f} s; run again")
        if status["State"] != seen:
            seen = status["State"]
            show(f"cluster {cluster_id} is {seen}")
        time.sleep(POLL_S)


@contextmanager
def _session(emr: Any, cluster_id: str, settings: Mapping[str, str], *, show: Show) -> Iterator[str]:
    """The id of a session that takes queries, terminated when the body is left."""
    configurations = [{"Classification": "spark-defaults", "Properties": dict(settings)}]
    # boto3 sends a call again that gets no answer: by the token it starts one session all the same.
    session_id = str(
        emr.start_session(
            ClusterId=cluster_id,
            Name=NAME,
            EngineConfigurations=configurations,
            ClientRequestToken=secrets.token_hex(16),
        )["Id"]
    )
    try:
        _wait_for_session(emr, cluster_id, session_id, show=show)
        yield session_id
    finally:
        _terminate(emr, cluster_id, session_id, show=show)


def _wait_for_session(emr: Any, cluster_id: str, session_id: str, *, show: Show) -> None:
    seen, deadline = "", time.monotonic() + START_TIMEOUT_S
    while True:
        session = _state(emr, cluster_id, session_id)
        state, reason = session["State"], session.get("StateChangeReason", "")
        if state in READY:
            return
        if state in OVER:
            raise EmrError(f"session {session_id} is {state}: {reason}")
        if time.monotonic() > deadline:
            raise EmrError(f"session {session_id} is {state} after {START_TIMEOUT_S:.0f} s: {reason}")
        if f"{state}: {reason}" != seen:
            seen = f"{state}: {reason}"
            show(f"session {session_id} is {seen}")
        time.sleep(POLL_S)


def _terminate(emr: Any, cluster_id: str, session_id: str, *, show: Show) -> None:
    try:
        if _state(emr, cluster_id, session_id)["State"] not in OVER:
            emr.terminate_session(ClusterId=cluster_id, SessionId=session_id)
            show(f"session {session_id} is terminated; cluster {cluster_id} ends after ten idle minutes")
    except AWS_ERRORS as error:
        show(f"session {session_id} cannot be ended from here: {aws.explain(error)}; it ends after an idle hour")


def _state(emr: Any, cluster_id: str, session_id: str) -> dict[str, Any]:
    session: dict[str, Any] = emr.get_session(ClusterId=cluster_id, SessionId=session_id)["Session"]
    return session


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
