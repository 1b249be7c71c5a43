"""A ResourceManager that knows what a test tells it, behind the part of its REST API that the EMR lab asks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeYarn:
    """What the ResourceManager knows: nodes by their names, tags of applications by their ids.

    What else there is to say of an application is in `details`, and under `jobs` there what runs in it.
    """

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    applications: dict[str, str] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=lambda: {"appsPending": 0, "containersPending": 0})
    killed: list[str] = field(default_factory=list)


def resource_manager(yarn: FakeYarn) -> ThreadingHTTPServer:
    """A ResourceManager that knows what `yarn` holds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/ws/v1/cluster/nodes"):
                self.answer({"nodes": {"node": [{"nodeHostName": name, **node} for name, node in yarn.nodes.items()]}})
            elif self.path == "/ws/v1/cluster/metrics":
                self.answer({"clusterMetrics": yarn.pending})
            elif self.path.startswith("/proxy/"):
                self.answer(yarn.details[self.path.split("/")[2]].get("jobs", []))
            else:
                self.tell_applications()

        def tell_applications(self) -> None:
            tag = self.path.partition("applicationTags=")[2]
            found = [
                {"id": name, "state": "RUNNING", **yarn.details.get(name, {})}
                for name, of in list(yarn.applications.items())
                if tag in {"", of}
            ]
            if "states=" in self.path:
                found = [each for each in found if each["state"] in {"ACCEPTED", "RUNNING"}]
            self.answer({"apps": {"app": found} if found else None})

        def do_PUT(self) -> None:
            name = self.path.split("/")[-2]
            assert json.loads(self.rfile.read(int(self.headers["Content-Length"]))) == {"state": "KILLED"}
            yarn.applications.pop(name)
            yarn.killed.append(name)
            self.answer({"state": "KILLED"})

        def answer(self, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
