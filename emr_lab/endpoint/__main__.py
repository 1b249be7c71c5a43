"""What the container `emr` runs: the endpoint, for the nodes primary, core-1 and core-2."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import boto3
from botocore.config import Config

from base import releases, sizing
from base.defaults import INSTANCE_TYPE
from base.errors import EmrlabError
from emr_lab.endpoint import tokens
from emr_lab.endpoint.nodes import NodeClient, YarnClient
from emr_lab.endpoint.records import ClusterStore
from emr_lab.endpoint.server import serve
from emr_lab.endpoint.state import EndpointState
from emr_lab.endpoint.validation import Capabilities
from emr_lab.protocol import api

PORT = 5000
STATE = Path("/var/lib/emr/state.json")
CERTIFICATE = Path("/var/lib/sessions-ca/ca.pem")  # the proxy writes it
CORES = tuple(f"core-{number}" for number in range(1, sizing.WORKERS + 1))
YARN_PROXY = f"http://primary:{api.YARN_PROXY_PORT}"

_LOG = logging.getLogger(__name__)


def restored_state(*, path: Path = STATE, credentials: Path = api.CREDENTIALS) -> EndpointState:
    """Return the state that the container's variables and files describe.

    Raises:
        ReleaseError, SizingError: RELEASE or INSTANCE_TYPE is not known.
        OSError, ValueError, KeyError: the keys cannot be read.
        StateError: the clusters cannot be read.
    """
    label = os.environ.get("RELEASE", "default")
    token, key = api.token(credentials), api.read_key(credentials)
    state = EndpointState(
        capabilities=Capabilities(
            release=releases.find(None if label == "default" else label),
            instance_type=sizing.instance(os.environ.get("INSTANCE_TYPE", INSTANCE_TYPE)).name,
            cores=CORES,
            any_release=os.environ.get("EMR_ANY_RELEASE", "") not in {"", "0"},
        ),
        nodes={name: NodeClient(name, f"http://{name}:{api.PORT}", token) for name in ("primary", *CORES)},
        yarn=YarnClient(YARN_PROXY, token),
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
        store=ClusterStore(path),
        keys={key["DATA_ACCESS_KEY_ID"]: key["DATA_SECRET_ACCESS_KEY"]},
        token_key=tokens.key(key["AWS_SECRET_ACCESS_KEY"]),
        sessions_url=_sessions_url(os.environ.get("SESSIONS_PORT", "0")),
        certificate=CERTIFICATE,
    )
    state.store.load(now_s=state.clock())
    return state


def _sessions_url(port: str) -> str:
    """Return the address of the sessions' proxy on this machine; with port 0 only Docker knows which it became."""
    return "https://127.0.0.1" + ("" if port == "443" else f":{port}")


def main() -> int:
    """Serve until the container is stopped; exit code 1 with one line where the service cannot start."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        state = restored_state()
    except (EmrlabError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"error: the EMR lab's endpoint cannot start: {error}\n")
        return 1
    server = serve(state, address="0.0.0.0", port=PORT)  # noqa: S104 - of the container
    _LOG.info("%s at port %d", state.capabilities.release.label, PORT)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
