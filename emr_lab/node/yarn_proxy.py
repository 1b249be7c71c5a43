"""The proxy before the primary's ResourceManager: its pages for who reaches them, all else for the endpoint alone.

YARN without Kerberos asks nobody who he is, and its REST API runs programs for whoever can post to it. So it listens on
the node's own loopback, and what comes from elsewhere comes through here: GET and HEAD as they are, under the names of
the lab; anything else with the token of the instance controllers in the header X-Token.
"""

from __future__ import annotations

import hmac
import re
import shutil
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler

from emr_lab.node.http_server import Server
from emr_lab.protocol import api

RESOURCE_MANAGER_PORT = 8088
# By which it is reached: through its port on this machine, or from a container of the lab. Any other name is one that a
# web page has given this address, to read what is here.
NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "primary", "emr-primary"})
BODY_BYTES = 1024 * 1024
ANSWER_TIMEOUT_S = 30
# A GET that changes something.
_CHANGING = re.compile(r"/+logLevel\b", re.IGNORECASE)
_PASSED_ON = ("Accept", "Content-Type", "Host", "User-Agent", "X-XSRF-HEADER", "X-Requested-By")
_PASSED_BACK = ("Cache-Control", "Content-Length", "Content-Type", "Location")


def server(token: str, *, address: str, port: int = api.YARN_PROXY_PORT, behind: int = RESOURCE_MANAGER_PORT) -> Server:
    """Return the proxy, ready to serve; the ResourceManager is at port `behind` of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = re.sub(r":[0-9]*$", "", self.headers.get("Host", "")).lower()
            if host not in NAMES:
                self._refuse(HTTPStatus.MISDIRECTED_REQUEST, f"the lab's YARN is not called {host[:100]!r}")
            elif _CHANGING.match(self.path):
                self._refuse(HTTPStatus.FORBIDDEN, "the pages are there to be looked at")
            else:
                self._pass_on(b"")

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not hmac.compare_digest(self.headers.get(api.TOKEN_HEADER, "").encode(), token.encode()):
                self._refuse(HTTPStatus.FORBIDDEN, f"the header {api.TOKEN_HEADER} is not the lab's: ask by EMR's API")
            elif not length.isdecimal() or int(length) > BODY_BYTES:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Content-Length is to be 0 to {BODY_BYTES}")
            else:
                self._pass_on(self.rfile.read(int(length)))

        do_HEAD = do_GET  # noqa: N815 - http.server's names
        do_PUT = do_DELETE = do_POST  # noqa: N815

        def _pass_on(self, body: bytes) -> None:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            with closing(HTTPConnection("127.0.0.1", behind, timeout=ANSWER_TIMEOUT_S)) as manager:
                try:
                    manager.request(self.command, self.path, body, headers)
                    answer = manager.getresponse()
                except (OSError, HTTPException) as error:
                    self._refuse(HTTPStatus.BAD_GATEWAY, f"the ResourceManager does not answer: {error}")
                    return
                self.send_response(answer.status)
                for name in _PASSED_BACK:
                    if value := answer.getheader(name):
                        self.send_header(name, value)
                self.end_headers()
                try:
                    shutil.copyfileobj(answer, self.wfile)
                except (OSError, HTTPException):  # one of the two has left: what has come so far is all
                    self.close_connection = True

        def _refuse(self, status: HTTPStatus, message: str) -> None:
            content = f"{message}\n".encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Server((address, port), Handler)
