"""Takes a node of the lab away, as Amazon takes back spot machines: `python -m emr_lab.endpoint.interrupt`, in the
container `emr`, which has the key that a request is signed with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from base import command_line
from base.errors import EmrlabError, UsageError
from emr_lab.endpoint import responses, signature
from emr_lab.endpoint.__main__ import CORES, PORT
from emr_lab.endpoint.operations.interruptions import MEMBERS
from emr_lab.protocol import api

ANSWER_TIMEOUT_S = 30


def main(argv: Sequence[str]) -> int:
    """Ask the endpoint; exit code 0, 1 where it refuses, 2 for a mistake in the arguments."""
    try:
        parsed = _parser().parse_args(argv)
        answer = ask(
            {
                "AfterSeconds": parsed.after_s,
                "NoticeSeconds": parsed.notice_s,
                "ReplaceAfterSeconds": parsed.replace_after_s,
                **({"Node": parsed.node} if parsed.node else {}),
            },
            key=api.read_key(),
            url=f"http://127.0.0.1:{PORT}/",
        )
    except (EmrlabError, OSError) as error:
        return command_line.fail(error)
    sys.stdout.write(words(answer))
    return 0


def ask(members: dict[str, Any], *, key: dict[str, str], url: str) -> dict[str, Any]:
    """Ask the endpoint at `url` for an interruption; `key` is of the laptop's user, DATA_….

    Raises:
        UsageError: the endpoint refuses.
        EmrlabError: it does not answer.
    """
    body = json.dumps(members).encode()
    headers = {"Content-Type": responses.CONTENT_TYPE, "X-Amz-Target": f"{responses.LAB_TARGET}SendSpotInterruption"}
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    credentials = Credentials(key["DATA_ACCESS_KEY_ID"], key["DATA_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, signature.SERVICE, os.environ.get("AWS_REGION", "eu-west-3")).add_auth(request)
    sent = urllib.request.Request(url, body, dict(request.headers.items()))  # noqa: S310 - the endpoint itself
    try:
        with urllib.request.urlopen(sent, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310
            members = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise UsageError(str(json.loads(error.read())["message"])) from error
    except (OSError, HTTPException, ValueError) as error:
        raise EmrlabError(f"the EMR lab's endpoint does not answer: {error}") from error
    return members


def words(answer: dict[str, Any]) -> str:
    """Return what will happen, a line each."""
    lines = [
        f"{answer['NoticeTime']} {answer['Node']} ({answer['Ec2InstanceId']}, {answer['ClusterId']}) gets its notice",
        f"{answer['EndTime']} it is switched off",
        f"{answer['ReplacementTime']} a machine can take its place",
    ]
    if answer["Market"] != "SPOT":
        lines.append("on Amazon an ON_DEMAND machine has no notice and is not taken back")
    return "".join(f"{line}\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(prog="python -m emr_lab.endpoint.interrupt", allow_abbrev=False)
    parser.add_argument("--node", choices=CORES)
    for flag, member in (
        ("after", "AfterSeconds"),
        ("notice", "NoticeSeconds"),
        ("replace-after", "ReplaceAfterSeconds"),
    ):
        parser.add_argument(f"--{flag}-s", type=int, default=MEMBERS[member])
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
