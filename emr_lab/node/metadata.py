"""A node's instance metadata service, as far as it gives the role's key and tells that the node will be taken away:
version 2, on the node's own loopback.

AWS's clients ask it where they find no key elsewhere, as on EC2. The variables AWS_EC2_METADATA_SERVICE_ENDPOINT and
AWS_METADATA_ENDPOINT (obstore's name for it) say where it is here; so the key stands in no environment, and in no file
that YARN writes.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html,
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from emr_lab.node.http_server import Server

PORT = 8322
ROLE = "emrlab-node"
_TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
_TOKEN_S = 21600
_LIFE = timedelta(hours=6)
_ROLES = "/latest/meta-data/iam/security-credentials"
_SPOT = "/latest/meta-data/spot"
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def server(
    key: Callable[[], Mapping[str, str]], interruption_s: Callable[[], float | None], *, port: int = PORT
) -> Server:
    """Return the service, ready to serve.

    Args:
        key: gives AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
        interruption_s: gives the seconds since 1970 at which the node will be taken away, None where it will not.
        port: of the loopback.
    """
    session = secrets.token_urlsafe()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            if self.path == _TOKEN_PATH:
                self._say(session, more={"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": str(_TOKEN_S)})
            else:
                self._say("", status=HTTPStatus.NOT_FOUND)

        def do_GET(self) -> None:
            shown = self.headers.get("X-Aws-Ec2-Metadata-Token", "")
            if not hmac.compare_digest(shown.encode(), session.encode()):
                self._say("", status=HTTPStatus.UNAUTHORIZED)
            elif self.path.rstrip("/") == _ROLES:
                self._say(ROLE)
            elif self.path == f"{_ROLES}/{ROLE}":
                self._say(_credentials(key()))
            elif (time_s := interruption_s()) is not None and self.path.rstrip("/") in _spot(time_s):
                self._say(_spot(time_s)[self.path.rstrip("/")])
            else:
                self._say("", status=HTTPStatus.NOT_FOUND)

        def _say(self, text: str, *, status: HTTPStatus = HTTPStatus.OK, more: Mapping[str, str] | None = None) -> None:
            content = text.encode()
            self.send_response(status)
            for name, value in {**(more or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Server(("127.0.0.1", port), Handler)


def _spot(time_s: float) -> dict[str, str]:
    """Return by their paths what EC2 says of a spot instance that it takes back at `time_s`."""
    time = datetime.fromtimestamp(time_s, UTC).strftime(_TIME)
    return {
        _SPOT: "instance-action\ntermination-time",
        f"{_SPOT}/instance-action": json.dumps({"action": "terminate", "time": time}),
        f"{_SPOT}/termination-time": time,
    }


def _credentials(key: Mapping[str, str]) -> str:
    """Return the answer in EC2's form. The lab's key does not end, and so has no session token."""
    now = datetime.now(UTC)
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "AccessKeyId": key["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"],
            "Token": "",
            "LastUpdated": now.strftime(_TIME),
            "Expiration": (now + _LIFE).strftime(_TIME),
        }
    )
