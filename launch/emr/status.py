"""Looking at the clusters that emrlab started: their states, their steps, their logs; stopping a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from launch.emr import aws, follow, logs, teardown
from launch.emr.aws import EmrError
from launch.emr.request import NODES_TAG


def get_cluster(emr: Any, cluster_id: str | None) -> dict[str, Any]:
    """The cluster of this id, or the newest, as DescribeCluster gives it; only one that carries our tag.

    Raises:
        EmrError: there is none, or it is not ours.
        ClientError, BotoCoreError: AWS refuses.
    """
    if cluster_id is None:
        newest = next(teardown.clusters(emr), None)
        if newest is None:
            raise EmrError("emrlab has started no cluster here; check REGION")
        return newest
    cluster: dict[str, Any] = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    if aws.TAG not in cluster.get("Tags", ()):
        raise EmrError(f"CLUSTER={cluster_id} was not started by emrlab; it is left alone")
    return cluster


def words(emr: Any, cluster: dict[str, Any]) -> str:
    """A line for the cluster and one for each of its steps, the oldest first."""
    status = cluster["Status"]
    created = status["Timeline"]["CreationDateTime"]
    minutes = (status["Timeline"].get("EndDateTime", datetime.now(UTC)) - created).total_seconds() / 60
    nodes = next((tag["Value"] for tag in cluster["Tags"] if tag["Key"] == NODES_TAG), "?")
    lines = [
        f"{cluster['Id']}  {status['State'].lower()}, {minutes:.0f} minutes, 1 + {nodes}, {cluster['ReleaseLabel']}"
    ]
    lines += [f"  {step['Id']}  {step['Status']['State'].lower()}" for step in _steps(emr, cluster)]
    return "".join(f"{line}\n" for line in lines)


def last_log(emr: Any, s3: Any, cluster: dict[str, Any]) -> str:
    """What the cluster's last step wrote, and where the other logs are.

    Raises:
        EmrError: it has none yet.
        ClientError, BotoCoreError: AWS refuses.
    """
    steps = _steps(emr, cluster)
    place = logs.folder(cluster["LogUri"], cluster["Id"])
    if not steps:
        raise EmrError(f"cluster {cluster['Id']} has no step; its logs are in {place}/")
    parts = [
        logs.read(s3, logs.step(cluster["LogUri"], cluster["Id"], steps[-1]["Id"], name))
        for name in ("stderr", "stdout")
    ]
    if not any(part is not None for part in parts):
        raise EmrError(f"the step has no log yet: EMR brings it every five minutes; the others are in {place}/")
    return "".join(part or "" for part in parts) + f"all logs: {place}/\n"


def stop(emr: Any, cluster: dict[str, Any]) -> str:
    """Cancel what runs or waits on the cluster; returns what was done.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
    """
    running = [step["Id"] for step in _steps(emr, cluster) if step["Status"]["State"] not in follow.DONE]
    if not running:
        return f"no step runs on {cluster['Id']}\n"
    answer = emr.cancel_steps(ClusterId=cluster["Id"], StepIds=running, StepCancellationOption="TERMINATE_PROCESS")[
        "CancelStepsInfoList"
    ]
    lines = (f"{each['StepId']}: {each.get('Reason') or each['Status'].lower()}\n" for each in answer)
    return "".join(lines) + f"cluster {cluster['Id']} ends when it has no step, or after ten idle minutes\n"


def _steps(emr: Any, cluster: dict[str, Any]) -> list[dict[str, Any]]:
    steps = aws.pages(emr, "list_steps", "Steps", ClusterId=cluster["Id"])
    return sorted(steps, key=lambda step: str(step["Status"]["Timeline"]["CreationDateTime"]))
