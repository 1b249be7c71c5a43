"""The endpoint's HTTP server.

Clients reach it by AWS_ENDPOINT_URL_EMR alone. `GET /` says which release it is and which cluster has the nodes,
`GET /sessions/ca.pem` gives the certificate by which the sessions' proxy is known. `GET /sessions/authorize` is that
proxy's question, for each call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from emr_lab.endpoint import session_access, tokens
from emr_lab.endpoint.lifecycle import resume
from emr_lab.endpoint.responses import CONTENT_TYPE, answer, error
from emr_lab.endpoint.state import EndpointState

# By which it is reached: through its port on this machine, or from a container of the lab.
NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "emr"})
SILENCE_S = 60


class Handler(WSGIRequestHandler):
    """Logs only requests that the service could not answer, and gives up one that does not come to its end."""

    timeout = SILENCE_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log what the service could not answer."""
        if str(code).startswith("5"):
            super().log_request(code, size)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - http.server's
        """Answer what is no HTTP request in EMR's form; what was sent is not repeated."""
        phrase = HTTPStatus(code).phrase
        content = error("SerializationException", f"This is no request: {phrase}.", status=code).get_data()
        self.request_version = self.protocol_version  # an older one has no status and no headers
        self.send_response(code, phrase)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def serve(state: EndpointState, *, address: str, port: int) -> BaseWSGIServer:
    """Return the server, ready to serve; the clusters of `state` go on where they were."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        response = _refusal(request) or _answer(state, request)
        return response(environ, start_response)

    server = make_server(address, port, application, threaded=True, request_handler=Handler)
    resume(state)
    return server


def _refusal(request: Request) -> Response | None:
    """Return the refusal of what a web page made a browser ask: by another name that leads here, or from elsewhere."""
    host = re.sub(r":[0-9]*$", "", request.headers.get("Host", "")).lower()
    if host not in NAMES:
        return error("InvalidRequestException", f"the EMR lab is not called {host[:100]!r}", status=421)
    if "Origin" in request.headers:
        return error("AccessDeniedException", "the EMR lab answers no web page", status=403)
    if request.method not in {"GET", "HEAD", "POST"}:
        return error("UnknownOperationException", "this is Amazon EMR's JSON API only", status=405)
    return None


def _answer(state: EndpointState, request: Request) -> Response:
    if request.method == "POST":
        return answer(state, request)
    if request.path == "/sessions/authorize":
        return _authorization(state, request)
    if request.path == "/sessions/ca.pem":
        return _certificate(state.certificate)
    return _overview(state)


def _authorization(state: EndpointState, request: Request) -> Response:
    """Tell the sessions' proxy where a call goes, or why it goes nowhere, in headers."""
    token, session_id = request.headers.get("X-Aws-Proxy-Auth", ""), request.headers.get("Authorization", "")
    try:
        server = session_access.server(state, token=token, session_id=session_id)
    except session_access.AccessError as refusal:
        # Encoded as a gRPC status message is.
        return Response(status=refusal.status, headers={"X-Refusal": quote(str(refusal), safe=" ,;:()'")})
    return Response(headers={"X-Server": server, "X-Server-Token": tokens.server_token(state.token_key, session_id)})


def _certificate(path: Path) -> Response:
    """Return the certificate of the lab's own authority, by which the sessions' proxy is known."""
    try:
        return Response(path.read_bytes(), content_type="application/x-pem-file")
    except OSError as failure:
        return Response(f"the sessions' proxy has made no certificate yet: {failure.strerror}\n", status=404)


def _overview(state: EndpointState) -> Response:
    """Return which release it is, and which clusters have the nodes."""
    with state.lock:
        unfinished = [each.id for each in state.store.clusters.values() if each.ended_s is None]
    content = json.dumps({"release": state.capabilities.release.label, "clusters": unfinished})
    return Response(f"{content}\n", content_type="application/json")
