"""Makes nodes of the lab ready for a cluster: empties them, looks what is on them, runs the bootstrap actions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from base.releases import Release
from emr_lab.endpoint import commands, logs
from emr_lab.endpoint.nodes import LostError, NodeClient, NodeError, on_each
from emr_lab.endpoint.records import Cluster, Instance
from emr_lab.endpoint.state import EndpointState, TerminatingError

NODE_SILENCE_S = 60.0  # after which a node is lost

# A session's driver is its application master: a tenth of YARN's memory, Hadoop's default, would hold one session.
SESSION_MASTERS = {
    "Classification": "capacity-scheduler",
    "Properties": {"yarn.scheduler.capacity.maximum-am-resource-percent": "0.5"},
}


class BootstrapError(Exception):
    """A bootstrap action ended with other than 0: its number, and the nodes on which it did."""

    def __init__(self, number: int, nodes: Sequence[NodeClient]) -> None:
        super().__init__(f"bootstrap action {number} returned a non-zero return code")
        self.nodes = nodes


def reset(nodes: Sequence[NodeClient], cluster: Cluster, release: Release) -> None:
    """Empty the nodes and give them to the cluster, with its configurations.

    Raises:
        NodeError: one refuses, or has not the release on it.
    """
    configurations = cluster.request.get("Configurations", [])
    if cluster.request.get("SessionEnabled"):
        configurations = [SESSION_MASTERS, *configurations]  # the cluster's own win
    alone = len(cluster.machines()) == 1
    on_each(nodes, lambda node: node.reset(cluster.id, configurations, alone=alone))
    for node in nodes:
        _check_versions(node, release)


def bootstrap(
    state: EndpointState, cluster: Cluster, machines: Mapping[NodeClient, Instance], bucket: logs.LogBucket
) -> None:
    """Run the cluster's bootstrap actions on these machines, one action after the other, and bring their logs.

    Raises:
        BootstrapError: one ended with other than 0.
        NodeError: a node refuses, or does not answer.
        TerminatingError: the cluster is to end; what ran has been killed.
        ClosedError: the endpoint stops.
    """
    for number, action in enumerate(cluster.request.get("BootstrapActions", []), start=1):
        request = action["ScriptBootstrapAction"]
        argv = commands.script_command(request["Path"], [str(arg) for arg in request.get("Args", [])])
        folder = f"{logs.BOOTSTRAP_ACTIONS}{number}"
        started = {node: node.start(argv, env={}, logs=folder) for node in machines}
        streams = [
            stream
            for node, process in started.items()
            for stream in logs.of_process(bucket, f"node/{machines[node].ec2}/{folder}", node, process)
        ]
        codes, answered_s = dict.fromkeys(started), time.monotonic()
        try:
            while None in codes.values():
                state.pause(cluster)
                try:
                    codes = {node: node.exit_code(process) for node, process in started.items()}
                    answered_s = time.monotonic()
                except LostError:
                    if time.monotonic() - answered_s > NODE_SILENCE_S:
                        raise
        except TerminatingError:
            for node, process in started.items():
                node.kill(process)
            raise
        finally:
            for stream in streams:
                with suppress(NodeError):
                    stream.push()
        if failed := [node for node, code in codes.items() if code != 0]:
            raise BootstrapError(number, failed)


def _check_versions(node: NodeClient, release: Release) -> None:
    versions = node.versions()
    for name in ("spark", "hadoop", "scala", "python", "java"):
        expected = str(getattr(release, name))
        if not versions[name].startswith(expected):
            installed = f"{node.name} has {name} {versions[name]}"
            raise NodeError(f"{installed}, {release.label} has {expected}; build it anew")
