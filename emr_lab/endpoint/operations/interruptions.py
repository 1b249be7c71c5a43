"""The lab's own operation, which on Amazon nobody can ask for: a machine is taken back, as one on spot is.

A request for it is signed like EMR's, with the target `EmrLab.SendSpotInterruption`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from emr_lab.endpoint.errors import RefusalError
from emr_lab.endpoint.operations.emr import Emr, Members
from emr_lab.endpoint.records import Cluster, Instance

LONGEST_S = 86_400
MEMBERS = {"AfterSeconds": 0, "NoticeSeconds": 120, "ReplaceAfterSeconds": 60}


def send_spot_interruption(emr: Emr, request: Members) -> dict[str, Any]:
    """Let a core or task node be told after a while that it goes, go when the notice is over, and be replaced.

    Args:
        emr: of any region: there is one cluster at a time.
        request: Node, or the last one on spot, else the last; seconds until the notice (0), from it to the end (120,
            as on EC2), and from the end until there is a machine in its place (60).

    Raises:
        RefusalError: there is no such node, or it goes already.
    """
    seconds = {name: request.get(name, default) for name, default in MEMBERS.items()}
    for name, value in seconds.items():
        if type(value) is not int or not 0 <= value <= LONGEST_S:
            raise RefusalError("ValidationException", f"{name} {value!r} is to be 0 to {LONGEST_S} seconds.")
    with emr.state.change():
        cluster, instance = _machine(emr, request.get("Node"))
        now_s = emr.state.clock()
        instance.notice_s = now_s + seconds["AfterSeconds"]
        instance.taken_s = instance.notice_s + seconds["NoticeSeconds"]
        instance.replaceable_s = instance.taken_s + seconds["ReplaceAfterSeconds"]
    return {
        "ClusterId": cluster.id,
        "Node": instance.node,
        "Ec2InstanceId": instance.ec2,
        "Market": "SPOT" if instance.spot else "ON_DEMAND",
        **{
            name: datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
            for name, time_s in (
                ("NoticeTime", instance.notice_s),
                ("EndTime", instance.taken_s),
                ("ReplacementTime", instance.replaceable_s),
            )
        },
    }


def _machine(emr: Emr, node: str | None) -> tuple[Cluster, Instance]:
    """The machine that runs on this node, or the one that a rehearsal would choose. Under the lock."""
    clusters = [each for each in emr.state.store.clusters.values() if each.state in {"RUNNING", "WAITING"}]
    if not clusters:
        raise RefusalError("ValidationException", "No cluster is running or waiting; start one, like make emr-run.")
    if node == "primary":
        raise RefusalError("ValidationException", "A cluster ends with its primary node; choose a core or task node.")
    cluster = clusters[-1]
    machines = [each for each in cluster.machines() if each.joined and each.node != "primary"]
    if chosen := [each for each in machines if node is None or each.node == node]:
        instance = max(chosen, key=lambda each: (each.spot, each.node))
        if instance.taken_s is None:
            return cluster, instance
        raise RefusalError("ValidationException", f"{instance.node} ({instance.ec2}) is being taken back already.")
    there = ", ".join(each.node for each in machines) or "none"
    raise RefusalError("ValidationException", f"{cluster.id} has no node {node or ''} to lose; it has {there}.")
