"""An S3 server that fails as told: a proxy before a real one, which hits chosen requests with a fault.

A rule names requests by a pattern on `METHOD /bucket/key?query`, unquoted, and which of them, counted from 1, it hits.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import unquote, urlsplit

DELAY_S = 5.0
ANSWER = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>told to fail</Message></Error>"


class Fault(Enum):
    """What happens to a request that is hit."""

    SLOW_DOWN = "503 SlowDown, not acted upon"
    RESET = "the connection is reset, not acted upon"
    TRUNCATED = "acted upon; the answer ends before the length that it announced"
    DELAY = f"acted upon after {DELAY_S:.0f} s"
    LOST = "acted upon, and the connection reset instead of an answer"
    UNSAID = "acted upon, and the answer is 500 InternalError"
    ERROR_IN_OK = "not acted upon; the answer is 200 and names an error, as S3's to a copy and to deletions may"
    DENIED = "403 AccessDenied"
    CONFLICT = "409 ConditionalRequestConflict, not acted upon"
    HELD = "neither acted upon nor answered"


REFUSALS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.DENIED: (403, "AccessDenied"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict"),
}


@dataclass
class Rule:
    """Requests that match `pattern`: number `first` to `last` of them are hit, one in `step`.

    Attributes:
        seen: matching requests until now.
        struck: the requests that were hit.
    """

    fault: Fault
    pattern: str
    first: int = 1
    last: int = 1
    step: int = 1
    seen: int = 0
    struck: list[str] = field(default_factory=list)


class Proxy(ThreadingHTTPServer):
    """The server at `address`, which passes on to `upstream` (http://host:port) what no rule hits.

    Attributes:
        requests: every request until now.
        holding: set once a request is held.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.upstream = urlsplit(upstream)
        self.requests: list[str] = []
        self.holding = Event()
        self._rules: list[Rule] = []
        self._lock = Lock()

    def hit(self, fault: Fault, pattern: str, first: int = 1, last: int | None = None, *, step: int = 1) -> Rule:
        """Hit requests from now on."""
        rule = Rule(fault, pattern, first, last or first, step)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules and requests."""
        with self._lock:
            self._rules, self.requests = [], []
            self.holding.clear()

    def judge(self, request: str) -> Fault | None:
        """Take a request down; the fault that it is hit with. The first rule that hits it is the one that does."""
        with self._lock:
            self.requests.append(request)
            found = None
            for rule in self._rules:
                if re.search(rule.pattern, request):
                    rule.seen += 1
                    if found is None and rule.seen in range(rule.first, rule.last + 1, rule.step):
                        rule.struck.append(request)
                        found = rule.fault
            return found

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def setup(self) -> None:
        super().setup()
        self._line = HTTPConnection(self.server.upstream.hostname or "", self.server.upstream.port)

    def finish(self) -> None:
        self._line.close()
        super().finish()

    def _serve(self) -> None:
        body = self._body()
        fault = self.server.judge(f"{self.command} {unquote(self.path)}")
        if fault is Fault.HELD:
            self.server.holding.set()
            self.connection.recv(1)  # until the client has gone
            self.close_connection = True
            return
        if fault in REFUSALS:
            status, code = REFUSALS[fault]
            self._answer(status, {}, ANSWER.format(code=code).encode())
            return
        if fault is Fault.ERROR_IN_OK:
            error = ANSWER.format(code="InternalError").partition("?>")[2]
            self._answer(
                200, {}, (f"<DeleteResult>{error}</DeleteResult>" if "?delete" in self.path else error).encode()
            )
            return
        if fault is Fault.RESET:
            self._drop()
            return
        if fault is Fault.DELAY:
            time.sleep(DELAY_S)
        self._line.request(self.command, self.path, body, dict(self.headers))
        answer = self._line.getresponse()
        content = answer.read()
        if fault is Fault.LOST:
            self._drop()
        elif fault is Fault.UNSAID:
            self._answer(500, {}, ANSWER.format(code="InternalError").encode())
        elif fault is Fault.TRUNCATED:
            self._answer(answer.status, dict(answer.headers), content[: len(content) // 2], claimed=len(content) + 64)
            self.close_connection = True
        else:
            length = answer.headers["Content-Length"] if self.command == "HEAD" else None
            self._answer(answer.status, dict(answer.headers), content, claimed=int(length) if length else None)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        del self.headers["Transfer-Encoding"]
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, claimed: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if claimed is None else claimed))
        self.end_headers()
        self.wfile.write(content)

    def _drop(self) -> None:
        """A reset, which is what closing without lingering is; in an orderly way the server would close it later."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@contextmanager
def before(upstream: str) -> Iterator[Proxy]:
    """A proxy before `upstream` for the body."""
    proxy = Proxy(upstream)
    Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
