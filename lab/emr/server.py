"""The lab's EMR as a service: `python -m lab.emr.server`, in the container `emr`.

Clients reach it by AWS_ENDPOINT_URL_EMR alone. `GET /` says which release it is and which cluster has the nodes.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.core.request import Request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from lab import releases, sizing
from lab.emr import controller, door
from lab.emr.admission import Offer
from lab.emr.life import resume
from lab.emr.nodes import Node, Yarn
from lab.emr.records import Store
from lab.emr.responses import LabResponse, error
from lab.emr.service import Lab

PORT = 5000
STATE = Path("/var/lib/emr/state.json")
CORES = tuple(f"core-{number}" for number in range(1, sizing.WORKERS + 1))
# By which it is reached: through its port on this machine, or from a container of the lab.
NAMES = frozenset({"127.0.0.1", "localhost", "[::1]", "emr"})
SILENCE_S = 60
RESOURCE_MANAGER = f"http://primary:{door.PORT}"

_LOG = logging.getLogger(__name__)


class Handler(WSGIRequestHandler):
    """Says nothing of requests that went well; one that does not come to its end is given up."""

    timeout = SILENCE_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """A line for what the service could not answer."""
        if str(code).startswith("5"):
            super().log_request(code, size)


def serve(lab: Lab, *, address: str, port: int) -> BaseWSGIServer:
    """The server of `lab`, ready to serve; its clusters go on where they were."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        answer = _refusal(request) or (LabResponse(lab).answer(request) if request.method == "POST" else _state(lab))
        return answer(environ, start_response)

    server = make_server(address, port, application, threaded=True, request_handler=Handler)
    resume(lab)
    return server


def _refusal(request: Request) -> Response | None:
    """Of what a web page made a browser ask: under a name of its own that leads here, or from its own place."""
    host = re.sub(r":[0-9]*$", "", request.headers.get("Host", "")).lower()
    if host not in NAMES:
        return error("InvalidRequestException", f"the lab's EMR is not called {host[:100]!r}", status=421)
    if "Origin" in request.headers:
        return error("AccessDeniedException", "the lab's EMR answers no web page", status=403)
    if request.method not in {"GET", "HEAD", "POST"}:
        return error("UnknownOperationException", "this is Amazon EMR's JSON API only", status=405)
    return None


def _state(lab: Lab) -> Response:
    """Which release it is, and which cluster has the nodes."""
    with lab.lock:
        having = [each.id for each in lab.store.clusters.values() if each.ended_s is None]
    content = json.dumps({"release": lab.offer.release.label, "clusters": having})
    return Response(f"{content}\n", content_type="application/json")


def the_lab(*, state: Path = STATE, credentials: Path = controller.CREDENTIALS) -> Lab:
    """The lab that the container's variables and files describe.

    Raises:
        ReleaseError, SizingError: RELEASE or INSTANCE_TYPE is not known.
        OSError, ValueError, KeyError: the keys or the state cannot be read.
    """
    label = os.environ.get("RELEASE", "default")
    kind = sizing.instance(os.environ.get("INSTANCE_TYPE", "m5.xlarge"))
    token, key = controller.token(credentials), controller.key(credentials)
    lab = Lab(
        offer=Offer(release=releases.find(None if label == "default" else label), instance_type=kind.name, cores=CORES),
        nodes={name: Node(name, f"http://{name}:{controller.PORT}", token) for name in ("primary", *CORES)},
        yarn=Yarn(RESOURCE_MANAGER, token),
        s3=boto3.client(
            "s3",
            aws_access_key_id=key["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=key["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 3},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        ),
        store=Store(state),
        keys={key["DATA_ACCESS_KEY_ID"]: key["DATA_SECRET_ACCESS_KEY"]},
    )
    lab.store.load(now_s=lab.clock())
    return lab


def main() -> int:
    """Serve until the container is stopped; exit code 1 with one line where the service cannot start."""
    # Of an error that is not in Amazon's model, which moto takes for a mistake.
    warnings.filterwarnings("ignore", message=".*NotImplementedHere")
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        lab = the_lab()
    except (releases.ReleaseError, sizing.SizingError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"error: the lab's EMR cannot start: {error}\n")
        return 1
    server = serve(lab, address="0.0.0.0", port=PORT)  # noqa: S104 - of the container
    _LOG.info("%s at port %d", lab.offer.release.label, PORT)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
