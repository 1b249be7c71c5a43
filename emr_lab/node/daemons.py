"""YARN's and HDFS's daemons: which run on a node, how they are started, and when they are up."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from base.waiting import attempts
from emr_lab.node.processes import Process
from emr_lab.node.yarn_proxy import RESOURCE_MANAGER_PORT
from emr_lab.protocol import api

DEADLINE_S = 90.0
POLL_S = 0.2
ANSWER_TIMEOUT_S = 5.0
PRIMARY = "emr-primary"
HEAP_MB = 256
# They hardly compute: the smallest collector and the first compiler start fastest. Hadoop asks Java 17 for the opening.
_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "--add-opens=java.base/java.lang=ALL-UNNAMED")


class DaemonError(Exception):
    """A daemon does not come up: one line with the cause."""


@dataclass(frozen=True)
class Daemon:
    """A daemon of Hadoop's on a node.

    Attributes:
        name: as EMR's nodes call it.
        main: Java's class.
        heap: the variable of hadoop-env or yarn-env with its heap in MB.
        up: whether it is, on the node of this name.
        log: below /var/log, without the node's name, as on EMR.
        arguments: of its own, besides the configuration that all read.
    """

    name: str
    main: str
    heap: str
    up: Callable[[str], bool]
    log: str
    arguments: tuple[str, ...] = ()


def _namenode(_: str) -> bool:
    return bool(_bean(9870, "NameNode", "NameNodeStatus")["State"] == "active")


def _resourcemanager(_: str) -> bool:
    return bool(_ask(f"{PRIMARY}:{api.YARN_PROXY_PORT}/ws/v1/cluster/info")["clusterInfo"]["haState"] == "ACTIVE")


def _datanode(_: str) -> bool:
    """The NameNode has taken it in."""
    return all(each["ActorState"] == "RUNNING" for each in json.loads(_bean(9864, "DataNode", "DataNodeInfo")[_ACTORS]))


def _nodemanager(node: str) -> bool:
    nodes = (_ask(f"{PRIMARY}:{api.YARN_PROXY_PORT}/ws/v1/cluster/nodes?states=RUNNING")["nodes"] or {}).get("node", ())
    return any(each["nodeHostName"] == node for each in nodes)


_ACTORS = "BPServiceActorInfo"
_YARN = "org.apache.hadoop.yarn.server"
_HDFS = "org.apache.hadoop.hdfs.server"
NAMENODE = Daemon(
    "namenode", f"{_HDFS}.namenode.NameNode", "HADOOP_NAMENODE_HEAPSIZE", _namenode, "hadoop-hdfs/hadoop-hdfs-namenode"
)
RESOURCEMANAGER = Daemon(
    "resourcemanager",
    f"{_YARN}.resourcemanager.ResourceManager",
    "YARN_RESOURCEMANAGER_HEAPSIZE",
    _resourcemanager,
    "hadoop-yarn/hadoop-yarn-resourcemanager",
    # The others know it by its proxy.
    ("-D", f"yarn.resourcemanager.webapp.address=127.0.0.1:{RESOURCE_MANAGER_PORT}"),
)
DATANODE = Daemon(
    "datanode", f"{_HDFS}.datanode.DataNode", "HADOOP_DATANODE_HEAPSIZE", _datanode, "hadoop-hdfs/hadoop-hdfs-datanode"
)
NODEMANAGER = Daemon(
    "nodemanager",
    f"{_YARN}.nodemanager.NodeManager",
    "YARN_NODEMANAGER_HEAPSIZE",
    _nodemanager,
    "hadoop-yarn/hadoop-yarn-nodemanager",
)


def of(node: str, *, alone: bool, data: bool) -> tuple[Daemon, ...]:
    """Return the daemons of the node of this name, the slowest first.

    Args:
        node: its name.
        alone: it is its cluster's only node: a primary, which runs containers, too.
        data: HDFS keeps blocks on it.
    """
    masters = (RESOURCEMANAGER, NAMENODE) if node == "primary" else ()
    containers = (NODEMANAGER,) if alone or node != "primary" else ()
    return (*masters, *containers, *((DATANODE,) if data else ()))


def datanodes() -> dict[str, str]:
    """Return what the NameNode of this node says of each DataNode, by its node's name: In Service, Decommissioned.

    Raises:
        DaemonError: it does not answer.
    """
    try:
        nodes = json.loads(_bean(9870, "NameNode", "NameNodeInfo")["LiveNodes"])
        return {address.partition(":")[0]: str(each["adminState"]) for address, each in nodes.items()}
    except (OSError, HTTPException, ValueError, KeyError, IndexError) as error:
        raise DaemonError(f"the NameNode does not tell of its DataNodes: {error}") from error


def command(daemon: Daemon, *, conf: Path, home: Path, environment: Mapping[str, str]) -> list[str]:
    """Return a daemon's command line.

    Args:
        daemon: which.
        conf: HADOOP_CONF_DIR.
        home: where `jars/` and `webapps/` are.
        environment: what hadoop-env and yarn-env export.
    """
    heap_mb = environment.get(daemon.heap, str(HEAP_MB))
    classes = f"{conf}:{home}:{home}/jars/*"
    return ["java", f"-Xmx{heap_mb}m", *_JAVA, "-cp", classes, daemon.main, *daemon.arguments]


def wait(started: Mapping[Daemon, Process], *, node: str, deadline_s: float = DEADLINE_S) -> None:
    """Return when all are up.

    Raises:
        DaemonError: one has ended, or is not up in time: which, and the last line of its log.
    """
    waiting = dict(started)
    for _ in attempts(timeout_s=deadline_s, interval_s=POLL_S):
        for daemon, process in list(waiting.items()):
            if process.exit_code is not None:
                raise DaemonError(
                    f"{daemon.name} on {node} has ended with code {process.exit_code}: {last_line(process.stderr)}"
                )
            if _up(daemon, node):
                del waiting[daemon]
        if not waiting:
            return
    daemon, process = next(iter(waiting.items()))
    raise DaemonError(f"{daemon.name} on {node} is not up after {deadline_s:.0f} s: {last_line(process.stderr)}")


def last_line(log: Path) -> str:
    """Return the last line with a word in it, cut to 300 characters."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((" ".join(line.split())[:300] for line in reversed(lines) if line.strip()), "it has said nothing")


def _up(daemon: Daemon, node: str) -> bool:
    try:
        return daemon.up(node)
    except (OSError, HTTPException, ValueError, KeyError, IndexError):
        return False


def _bean(port: int, service: str, name: str) -> Any:
    """Return one of the figures of a daemon on this node."""
    return _ask(f"127.0.0.1:{port}/jmx?qry=Hadoop:service={service},name={name}")["beans"][0]


def _ask(address: str) -> Any:
    request = urllib.request.Request(f"http://{address}", headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - the lab's own nodes
        return json.loads(answer.read())


def format_namenode(*, conf: Path, home: Path) -> Sequence[str]:
    """Return the command that makes an empty HDFS."""
    return [*command(NAMENODE, conf=conf, home=home, environment={}), "-format", "-nonInteractive"]
