"""The lab's nodes, seen from the endpoint: their instance controllers, and the primary's ResourceManager."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from emr_lab.protocol import api

ANSWER_TIMEOUT_S = 20.0
# A reset and a start of the daemons have deadlines of their own, which are shorter.
CHANGE_TIMEOUT_S = 300.0
ALIVE_STATES = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


class NodeError(Exception):
    """A node refuses: one line with the cause."""


class LostError(NodeError):
    """A node does not answer."""


class UnknownError(NodeError):
    """A node does not know what it was asked for."""


@dataclass(frozen=True)
class NodeClient:
    """A node of the lab: its name, its instance controller's address, and the token that it wants."""

    name: str
    url: str
    token: str

    def ask(self, path: str, body: Any = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """GET, or POST of `body`, and the answer's JSON.

        Raises:
            NodeError: the node refuses (UnknownError: HTTP 404), or does not answer (LostError).
        """
        content = self.read(path, body, timeout_s=timeout_s)
        try:
            return json.loads(content or b"null")
        except ValueError as error:
            raise NodeError(f"{self.name} answers {path} with no JSON") from error

    def read(self, path: str, body: Any = None, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """As `ask`, the answer's bytes."""
        content = None if body is None else json.dumps(body).encode()
        headers = {api.TOKEN_HEADER: self.token, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{urllib.parse.quote(path, safe='/?=&')}", content, headers)  # noqa: S310 - the lab's own nodes
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            kind = UnknownError if error.code == 404 else NodeError
            raise kind(f"{self.name}: {_said(error)}") from error
        except (OSError, HTTPException) as error:
            raise LostError(f"{self.name} does not answer: {getattr(error, 'reason', error)}") from error

    def start(self, argv: list[str], *, env: dict[str, str], logs: str) -> str:
        """Start a process whose output goes to `<logs>/stdout` and `<logs>/stderr`; returns its id.

        Raises:
            NodeError: it cannot be started.
        """
        asked = {"argv": argv, "env": env, "cwd": None, "stdout": f"{logs}/stdout", "stderr": f"{logs}/stderr"}
        return str(self.ask("/processes", asked)["id"])

    def exit_code(self, process: str) -> int | None:
        """Of a process, or None while it runs.

        Raises:
            NodeError: the node does not know it, or does not answer.
        """
        code = self.ask(f"/processes/{process}")["exit"]
        return None if code is None else int(code)

    def kill(self, process: str) -> None:
        """TERM for the process and its children, KILL after ten seconds.

        Raises:
            NodeError: the node does not know it, or does not answer.
        """
        self.ask(f"/processes/{process}/kill", {})


def everywhere(nodes: list[NodeClient], path: str, body: Any) -> None:
    """POST `body` to all nodes at once, and wait for their answers.

    Raises:
        NodeError: the first refusal.
    """
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: node.ask(path, body, timeout_s=CHANGE_TIMEOUT_S), nodes))


@dataclass(frozen=True)
class YarnClient:
    """The ResourceManager's REST API, by its proxy on the primary: its address, and the token that it wants.

    https://hadoop.apache.org/docs/r3.4.2/hadoop-yarn/hadoop-yarn-site/ResourceManagerRest.html
    """

    url: str
    token: str = field(repr=False)

    def alive(self, tag: str | None = None) -> Iterator[str]:
        """The ids of the applications that have not ended: all, or those with a tag.

        Raises:
            LostError: it does not answer.
        """
        only = f"&applicationTags={tag}" if tag else ""
        found = self._ask(f"/ws/v1/cluster/apps?states={ALIVE_STATES}{only}")
        for application in (found.get("apps") or {}).get("app", ()):
            yield str(application["id"])

    def kill(self, application: str) -> None:
        """End an application.

        Raises:
            LostError: the ResourceManager does not answer, or refuses.
        """
        self._ask(f"/ws/v1/cluster/apps/{application}/state", {"state": "KILLED"})

    def _ask(self, path: str, body: Any = None) -> Any:
        method = "GET" if body is None else "PUT"
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", api.TOKEN_HEADER: self.token}
        request = urllib.request.Request(f"{self.url}{path}", content, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except (OSError, HTTPException, ValueError) as error:
            raise LostError(f"the ResourceManager does not answer: {error}") from error


def _said(error: urllib.error.HTTPError) -> str:
    """The controller's own words, in one line."""
    content = error.read()
    try:
        text = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace") or f"HTTP {error.code}"
    return " ".join(text.split())[:300]
