"""The instance controller's HTTP server: emr_lab/protocol/api.py says what it answers."""

from __future__ import annotations

import hmac
import json
import os
import re
import subprocess
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from base import sizing
from emr_lab.node import daemons, processes
from emr_lab.node.controller import InstanceController, RequestError
from emr_lab.node.http_server import Server
from emr_lab.protocol import api
from emr_lab.protocol.classifications import ConfigurationError


def server(node: InstanceController, *, address: str, port: int) -> Server:
    """Return the server of `node`, ready to serve."""
    secret = api.token(node.credentials)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(_get)

        def do_POST(self) -> None:
            self._answer(_post)

        def _answer(self, act: Callable[[InstanceController, str, BaseHTTPRequestHandler], Any]) -> None:
            path = unquote(urlsplit(self.path).path)
            if path != "/" and not hmac.compare_digest(
                self.headers.get(api.TOKEN_HEADER, "").encode(), secret.encode()
            ):
                _send(self, {"error": f"the header {api.TOKEN_HEADER} is not the lab's"}, status=HTTPStatus.FORBIDDEN)
                return
            try:
                answer = act(node, path, self)
            except RequestError as error:
                _send(self, {"error": str(error)}, status=error.status)
            except (ConfigurationError, processes.ProcessError, sizing.SizingError) as error:
                _send(self, {"error": str(error)}, status=HTTPStatus.BAD_REQUEST)
            except (daemons.DaemonError, OSError, subprocess.SubprocessError) as error:
                _send(self, {"error": str(error)}, status=HTTPStatus.INTERNAL_SERVER_ERROR)
            else:
                if isinstance(answer, Path):
                    _send_file(self, answer)
                else:
                    _send(self, answer)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            # What is asked every second is not worth a line.
            if self.command != "GET":
                super().log_request(code, size)

    return Server((address, port), Handler)


def _get(node: InstanceController, path: str, _: BaseHTTPRequestHandler) -> Any:
    answers: dict[str, Callable[[], Any]] = {
        "/": node.state,
        "/versions": node.versions,
        "/decommissioning": node.datanodes,
        "/logs": lambda: [{"name": name, "bytes": size} for name, size in node.log_sizes().items()],
    }
    if path in answers:
        return answers[path]()
    if path.startswith("/logs/"):
        return node.log(path.removeprefix("/logs/"))
    if match := re.fullmatch(r"/processes/([^/]+)", path):
        process = node.process(match[1])
        code = process.exit_code  # before the sizes: what it wrote last is counted
        sizes = {"stdout_bytes": _size(process.stdout), "stderr_bytes": _size(process.stderr)}
        return {"exit": code, "pid": process.pid, **sizes}
    if match := re.fullmatch(r"/processes/([^/]+)/(stdout|stderr)", path):
        process = node.process(match[1])
        return process.stdout if match[2] == "stdout" else process.stderr
    raise _unknown(path)


def _post(node: InstanceController, path: str, request: BaseHTTPRequestHandler) -> Any:
    body = _body(request)
    if path == "/reset":
        return node.reset(body.get("cluster"), body.get("configurations") or [], alone=bool(body.get("alone")))
    if path == "/daemons":
        if body.get("action") == "start":
            node.start_daemons(data=bool(body.get("data")))
        elif body.get("action") == "stop":
            node.stop_daemons()
        else:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"action {body.get('action')!r}: choose start or stop")
        return {}
    changes: dict[str, Callable[[], None]] = {
        "/decommissioning": lambda: node.decommission(body.get("timeouts_s")),
        "/interruption": lambda: node.interrupt(body.get("time_s")),
        "/power-off": node.power_off,
    }
    if path in changes:
        changes[path]()
        return {}
    if path == "/processes":
        return {"id": node.start(body)}
    if match := re.fullmatch(r"/processes/([^/]+)/kill", path):
        process = node.process(match[1])
        processes.end([process])
        return {"exit": process.exit_code}
    raise _unknown(path)


def _unknown(path: str) -> RequestError:
    return RequestError(HTTPStatus.NOT_FOUND, f"the instance controller knows no {path}")


def _body(request: BaseHTTPRequestHandler) -> dict[str, Any]:
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or int(length) > api.BODY_BYTES:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"Content-Length {length!r} is to be 0 to {api.BODY_BYTES}")
    try:
        body = json.loads(request.rfile.read(int(length)) or b"{}")
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body is no JSON") from error
    if not isinstance(body, dict):
        raise RequestError(HTTPStatus.BAD_REQUEST, "the body is to be an object")
    return body


def _send(request: BaseHTTPRequestHandler, answer: Any, *, status: HTTPStatus = HTTPStatus.OK) -> None:
    content = json.dumps(answer).encode()
    _head(request, status, kind="application/json", length=len(content))
    request.wfile.write(content)


def _send_file(request: BaseHTTPRequestHandler, path: Path) -> None:
    """Send what is asked for of the file, as it is now: it may be growing, and who writes it may remove it."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
    if wrong := [f"{name} {number!r}" for name, number in asked.items() if not number.isdecimal()]:
        _send(request, {"error": f"{wrong[0]} is no number of bytes"}, status=HTTPStatus.BAD_REQUEST)
        return
    numbers = {name: int(number) for name, number in asked.items()}
    try:
        file = path.open("rb")
    except FileNotFoundError:
        _head(request, HTTPStatus.OK, kind="application/octet-stream", length=0)
        return
    with file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size - numbers["last"]) if "last" in numbers else numbers.get("offset", 0)
        left = min(max(0, size - start), numbers.get("bytes", size))
        file.seek(start)
        _head(request, HTTPStatus.OK, kind="application/octet-stream", length=left)
        _copy(file, request.wfile, left)


def _size(file: Path) -> int:
    """Return the bytes of what a process has written, which it may have removed."""
    return file.stat().st_size if file.exists() else 0


def _copy(source: BinaryIO, target: Any, left: int) -> None:
    while left and (part := source.read(min(left, 1024 * 1024))):
        target.write(part)
        left -= len(part)


def _head(request: BaseHTTPRequestHandler, status: HTTPStatus, *, kind: str, length: int) -> None:
    request.send_response(status)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(length))
    request.end_headers()
