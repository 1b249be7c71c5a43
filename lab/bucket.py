"""Makes the S3 server ready: the bucket, the users with their policies, the prefix of the event logs.

Runs in the container `init` whenever the lab starts, and changes nothing that is already so: `python3 bucket.py`, with
the keys in /run/credentials/env, the policies in the folder `policies` beside the one this file lies in, and the server
and region in AWS_ENDPOINT_URL_S3 and AWS_REGION. A policy that changed replaces the old one; users of keys that are no
longer in use are removed.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio, MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException, MinioException

BUCKET = "emrlab"
EVENT_LOGS = "spark-events/"
POLICIES = Path(__file__).parent.parent / "policies"
CREDENTIALS = Path("/run/credentials/env")
DEADLINE_S = 60
ANSWER_TIMEOUT_S = 10


def policy(name: str, *, bucket: str, folder: Path = POLICIES) -> dict[str, Any]:
    """The IAM policy document `name` (job, data or history) for `bucket`, as MinIO and AWS take it.

    Raises:
        OSError: there is no such document.
    """
    text = (folder / f"{name}.json").read_text()
    document: dict[str, Any] = json.loads(text.replace("${bucket}", bucket))
    return document


def granted(user: str, *, bucket: str, folder: Path = POLICIES) -> dict[str, Any]:
    """What `user` may do: its own policy, and for the job what EMR's nodes may besides, as far as it is about S3.

    Raises:
        OSError: a document is missing.
    """
    names = ("job", "emr/node") if user == "job" else (user,)
    statements = [each for name in names for each in policy(name, bucket=bucket, folder=folder)["Statement"]]
    of_s3 = [each for each in statements if all(action.startswith("s3:") for action in each["Action"])]
    return {"Version": "2012-10-17", "Statement": of_s3}


def prepare(keys: Mapping[str, str], *, endpoint: str, region: str) -> None:
    """Bring the server to the state that the lab needs.

    Args:
        keys: as credentials.py names them.
        endpoint: address of the server, like http://minio:9000.
        region: of the bucket.

    Raises:
        MinioException, MinioAdminException: the server refuses.
        urllib3.exceptions.HTTPError: it does not answer.
    """
    address = urlsplit(endpoint)
    root, password = keys["MINIO_ROOT_USER"], keys["MINIO_ROOT_PASSWORD"]
    http = urllib3.PoolManager(timeout=ANSWER_TIMEOUT_S, retries=False)
    secure = address.scheme == "https"
    server = Minio(address.netloc, access_key=root, secret_key=password, region=region, secure=secure, http_client=http)
    if not server.bucket_exists(BUCKET):
        server.make_bucket(BUCKET, location=region)
    # Spark's event log and the history server want the folder to be there.
    server.put_object(BUCKET, EVENT_LOGS, io.BytesIO(b""), length=0)

    admin = MinioAdmin(
        endpoint=address.netloc,
        credentials=StaticProvider(root, password),
        region=region,
        secure=secure,
        http_client=http,
    )
    key_id = "_ACCESS_KEY_ID"
    users = {name.removesuffix(key_id).lower(): keys[name] for name in keys if name.endswith(key_id)}
    for name, user in users.items():
        admin.policy_add(name, policy=granted(name, bucket=BUCKET))
        admin.user_add(user, keys[f"{name.upper()}_SECRET_ACCESS_KEY"])
        admin.policy_set(name, user=user)
    for user in json.loads(admin.user_list()):
        if user.split("-")[0] in users and user not in users.values():
            admin.user_remove(user)


def main() -> int:
    """Prepare the server, as soon as it answers; exit code 0, or 1 with the cause in one line."""
    try:
        keys = dict(line.split("=", 1) for line in CREDENTIALS.read_text().splitlines())
    except OSError as error:
        return _fail(f"{CREDENTIALS}: {error.strerror}; the container `secrets` writes it: docker compose logs secrets")
    endpoint, region = os.environ["AWS_ENDPOINT_URL_S3"], os.environ["AWS_REGION"]
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            prepare(keys, endpoint=endpoint, region=region)
        except (urllib3.exceptions.HTTPError, MinioException, MinioAdminException, OSError) as error:
            # Root may do everything: what is denied is another root.
            if re.search("InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied", str(error)):
                return _fail(f"{endpoint} still has the keys of an older .env; stop the lab and start it again")
            if not _passing(error):
                return _fail(f"{endpoint} refuses: {_line(error)}")
            if time.monotonic() > end:
                return _fail(f"no answer from {endpoint} for {DEADLINE_S} s: {_line(error)}")
            time.sleep(0.5)
        else:
            sys.stdout.write(f"{BUCKET} is ready\n")
            return 0


def _passing(error: Exception) -> bool:
    """Whether a server that is just starting may have caused it."""
    starting = re.search("NotInitialized|Status: 503|ServiceUnavailable|SlowDown", str(error))
    return isinstance(error, urllib3.exceptions.HTTPError) or starting is not None


def _line(error: Exception) -> str:
    """What the server says, without what it says around it."""
    message = re.search(r'"Message":"([^"]*)"', str(error))
    return message[1] if message else " ".join(str(error).split())[:300]


def _fail(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
