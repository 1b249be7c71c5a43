"""Clients of the nodes: of their instance controllers, and of the primary's ResourceManager."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from emr_lab.protocol import api

ANSWER_TIMEOUT_S = 20.0
PAGES_TIMEOUT_S = 3.0  # of a driver, which may be busy: a cluster's thread waits for it
# A reset and a start of the daemons have deadlines of their own, which are shorter.
CHANGE_TIMEOUT_S = 300.0
VERSIONS_TIMEOUT_S = 60.0
MOST_DIAGNOSTICS = 500
# In Hadoop's order; the others are LOST, REBOOTED, DECOMMISSIONED and SHUTDOWN.
STAYING_STATES = "NEW,RUNNING,UNHEALTHY,DECOMMISSIONING"
ALIVE_STATES = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


class NodeError(Exception):
    """A node refuses: one line with the cause."""


class LostError(NodeError):
    """A node does not answer."""


class UnknownError(NodeError):
    """A node does not know what it was asked for."""


@dataclass(frozen=True)
class NodeClient:
    """A node of the lab: its name, its instance controller's address, and the token that it asks for.

    Raises, in every method:
        NodeError: the node refuses (UnknownError: it has no such process or log), or does not answer (LostError).
    """

    name: str
    url: str
    token: str = field(repr=False)

    def cluster(self) -> str | None:
        """Return the id of the cluster that the node belongs to."""
        cluster_id = self._ask("/")["cluster"]
        return None if cluster_id is None else str(cluster_id)

    def reset(
        self, cluster: str | None, configurations: Sequence[Mapping[str, Any]] = (), *, alone: bool = False
    ) -> None:
        """Make the node as new, for the cluster of this id or for none, with RunJobFlow's Configurations.

        Args:
            cluster: its id.
            configurations: of the request.
            alone: it is its cluster's only node.
        """
        body = {"cluster": cluster, "configurations": list(configurations), "alone": alone}
        self._ask("/reset", body, timeout_s=CHANGE_TIMEOUT_S)

    def start_daemons(self, *, data: bool) -> None:
        """Start YARN's and HDFS's daemons, and wait until they are up; HDFS keeps blocks on it with `data`."""
        self._ask("/daemons", {"action": "start", "data": data}, timeout_s=CHANGE_TIMEOUT_S)

    def stop_daemons(self) -> None:
        """End YARN's and HDFS's daemons."""
        self._ask("/daemons", {"action": "stop"}, timeout_s=CHANGE_TIMEOUT_S)

    def decommission(self, timeouts_s: Mapping[str, int]) -> None:
        """On the primary: let YARN and HDFS do without these nodes, and take in all others; see `protocol.api`."""
        self._ask("/decommissioning", {"timeouts_s": dict(timeouts_s)}, timeout_s=CHANGE_TIMEOUT_S)

    def datanodes(self) -> dict[str, str]:
        """On the primary: return what HDFS says of each DataNode, by its node's name."""
        return {name: str(state) for name, state in self._ask("/decommissioning").items()}

    def interrupt(self, *, time_s: float) -> None:
        """Let the metadata service say that the node will be taken away at `time_s` since 1970."""
        self._ask("/interruption", {"time_s": time_s})

    def power_off(self) -> None:
        """Kill everything on the node, and wipe it."""
        self._ask("/power-off", {}, timeout_s=CHANGE_TIMEOUT_S)

    def versions(self) -> dict[str, str]:
        """Return the versions of spark, hadoop, scala, python and java on the node."""
        return {name: str(version) for name, version in self._ask("/versions", timeout_s=VERSIONS_TIMEOUT_S).items()}

    def start(self, argv: list[str], *, env: dict[str, str], logs: str, process: str | None = None) -> str:
        """Start a process that writes to `<logs>/stdout` and `<logs>/stderr`; return its id, which may be given."""
        request = {"argv": argv, "env": env, "stdout": f"{logs}/stdout", "stderr": f"{logs}/stderr", "id": process}
        return str(self._ask("/processes", request, timeout_s=CHANGE_TIMEOUT_S)["id"])

    def exit_code(self, process: str) -> int | None:
        """Return a process's exit code, None while it runs."""
        code = self._ask(f"/processes/{process}")["exit"]
        return None if code is None else int(code)

    def kill(self, process: str) -> None:
        """Send TERM to the process and its children, and KILL after ten seconds."""
        self._ask(f"/processes/{process}/kill", {})

    def output(self, process: str, stream: str, *, offset: int, most: int) -> bytes:
        """Return what a process wrote to `stdout` or `stderr`: from byte `offset` on, from the end where that is below
        0, `most` bytes at most.
        """
        return self._read(f"/processes/{process}/{stream}?{_span(offset, most)}")

    def log_sizes(self) -> dict[str, int]:
        """Return the size in bytes of each log, by its name below /var/log."""
        return {str(log["name"]): int(log["bytes"]) for log in self._ask("/logs")}

    def log(self, name: str, *, offset: int, most: int) -> bytes:
        """Return of the log of this name what `output` returns of a process's."""
        return self._read(f"/logs/{urllib.parse.quote(name)}?{_span(offset, most)}")

    def _ask(self, path: str, body: Any = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """GET, or POST of `body`; return the answer's JSON."""
        content = self._read(path, body, timeout_s=timeout_s)
        try:
            return json.loads(content or b"null")
        except ValueError as error:
            raise NodeError(f"{self.name} answers {path} with no JSON") from error

    def _read(self, path: str, body: Any = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        content = None if body is None else json.dumps(body).encode()
        headers = {api.TOKEN_HEADER: self.token, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", content, headers)  # noqa: S310 - the lab's own nodes
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            kind = UnknownError if error.code == 404 else NodeError
            raise kind(f"{self.name}: {_cause(error)}") from error
        except (OSError, HTTPException) as error:
            raise LostError(f"{self.name} does not answer: {getattr(error, 'reason', error)}") from error


def on_each(nodes: Collection[NodeClient], change: Callable[[NodeClient], None]) -> None:
    """Do the same on all nodes at once, and wait for the last.

    Raises:
        NodeError: the first refusal.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(change, nodes))


@dataclass(frozen=True, kw_only=True)
class Application:
    """An application as YARN sees it.

    Attributes:
        id: application_….
        state: NEW to RUNNING, then FINISHED, FAILED or KILLED.
        host: the node where its master is or will be; empty until YARN has room for that.
        diagnostics: what YARN says of it, in one line.
    """

    id: str
    state: str
    host: str
    diagnostics: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state not in ALIVE_STATES.split(",")


@dataclass(frozen=True, kw_only=True)
class YarnNode:
    """A node as the ResourceManager knows it: its state, and how many containers are on it."""

    state: str
    containers: int


@dataclass(frozen=True, kw_only=True)
class YarnLoad:
    """What waits for room in YARN: applications that have not begun, and containers."""

    applications: int
    containers: int


@dataclass(frozen=True)
class YarnClient:
    """The ResourceManager's REST API, by its proxy on the primary: its address, and the token that it asks for.

    https://hadoop.apache.org/docs/r3.4.2/hadoop-yarn/hadoop-yarn-site/ResourceManagerRest.html
    """

    url: str
    token: str = field(repr=False)

    def alive(self, tag: str | None = None) -> Iterator[str]:
        """Yield the ids of the applications that have not ended: all, or those with a tag.

        Raises:
            LostError: it does not answer.
        """
        only = f"&applicationTags={tag}" if tag else ""
        answer = self._ask(f"/ws/v1/cluster/apps?states={ALIVE_STATES}{only}")
        for application in (answer.get("apps") or {}).get("app", ()):
            yield str(application["id"])

    def find(self, tag: str) -> Application | None:
        """Return the last application that was submitted with the tag, ended or not.

        Raises:
            LostError: it does not answer.
        """
        found = (self._ask(f"/ws/v1/cluster/apps?applicationTags={tag}").get("apps") or {}).get("app", ())
        each = max(found, key=lambda each: str(each["id"]), default=None)
        if each is None:
            return None
        return Application(
            id=str(each["id"]),
            state=str(each["state"]),
            host=str(each.get("amHostHttpAddress", "")).rpartition(":")[0],
            diagnostics=" ".join(str(each.get("diagnostics", "")).split())[:MOST_DIAGNOSTICS],
        )

    def runs_jobs(self, application: str) -> bool:
        """Whether a Spark application has a job that runs, by its own REST API behind YARN's proxy.

        Raises:
            LostError: it does not answer, or not any more.
        """
        path = f"/proxy/{application}/api/v1/applications/{application}/jobs?status=running"
        return bool(self._ask(path, timeout_s=PAGES_TIMEOUT_S))

    def nodes(self) -> dict[str, YarnNode]:
        """Return by their names the nodes that have not left: also those that are leaving.

        Raises:
            LostError: it does not answer.
        """
        answer = self._ask(f"/ws/v1/cluster/nodes?states={STAYING_STATES}")
        return {
            str(each["nodeHostName"]): YarnNode(state=str(each["state"]), containers=int(each["numContainers"]))
            for each in (answer.get("nodes") or {}).get("node", ())
        }

    def masters(self) -> set[str]:
        """Return the nodes that have an application's master.

        Raises:
            LostError: it does not answer.
        """
        answer = self._ask(f"/ws/v1/cluster/apps?states={ALIVE_STATES}")
        addresses = [str(each.get("amHostHttpAddress", "")) for each in (answer.get("apps") or {}).get("app", ())]
        return {address.partition(":")[0] for address in addresses} - {""}

    def load(self) -> YarnLoad:
        """Return what waits for room.

        Raises:
            LostError: it does not answer.
        """
        metrics = self._ask("/ws/v1/cluster/metrics")["clusterMetrics"]
        return YarnLoad(applications=int(metrics["appsPending"]), containers=int(metrics["containersPending"]))

    def kill(self, application: str) -> None:
        """End an application.

        Raises:
            LostError: the ResourceManager does not answer, or refuses.
        """
        self._ask(f"/ws/v1/cluster/apps/{application}/state", {"state": "KILLED"})

    def _ask(self, path: str, body: Any = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        method = "GET" if body is None else "PUT"
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", api.TOKEN_HEADER: self.token}
        request = urllib.request.Request(f"{self.url}{path}", content, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except (OSError, HTTPException, ValueError) as error:
            raise LostError(f"the ResourceManager does not answer: {error}") from error


def _span(offset: int, most: int) -> str:
    """Return the query for a part of a file."""
    return f"{f'last={-offset}' if offset < 0 else f'offset={offset}'}&bytes={most}"


def _cause(error: urllib.error.HTTPError) -> str:
    """Return what the instance controller says, in one line."""
    content = error.read()
    try:
        text = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace") or f"HTTP {error.code}"
    return " ".join(text.split())[:300]
