"""The HTTP server of a node's services."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """Says nothing of a client that leaves before it has its answer: nothing is wrong, and nobody can mend it."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what else went wrong with a request."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)
