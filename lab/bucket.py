"""Makes the S3 server ready: the bucket, the users with their policies, the prefix of the event logs.

Runs in the container `init` whenever the lab starts, and changes nothing that is already so: `python -m lab.bucket`,
with the keys in /run/credentials/env, the policies in the folder `policies` beside the one this file lies in, the
server and region in AWS_ENDPOINT_URL_S3 and AWS_REGION, and in S3_SERVER what kind of server it is. A policy that
changed replaces the old one.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import MinioAdminException, MinioException, S3Error

from base import command_line, env_files, paths
from base.defaults import BUCKET, EVENT_LOGS
from base.waiting import attempts
from lab import s3_users

# The key ids of the users that were made here, as a JSON list. Root alone may write it.
MADE = "emrlab/users.json"
POLICIES = paths.ROOT / "policies"
CREDENTIALS = Path("/run/credentials/env")
DEADLINE_S = 60
ANSWER_TIMEOUT_S = 10
REFUSALS = (MinioException, MinioAdminException, s3_users.RefusedError)


def policy(name: str, *, bucket: str, folder: Path = POLICIES) -> dict[str, Any]:
    """The IAM policy document `name` (job, data or history) for `bucket`, as MinIO and AWS take it.

    Raises:
        OSError: there is no such document.
    """
    text = (folder / f"{name}.json").read_text()
    document: dict[str, Any] = json.loads(text.replace("${bucket}", bucket))
    return document


def granted(user: str, *, bucket: str, folder: Path = POLICIES) -> dict[str, Any]:
    """What `user` may do: its own policy, and besides for the job what EMR's nodes may, as far as it is about S3, and
    for the laptop what it may in the lab alone.

    That is HeadBucket, with which mrjob, Airflow and others begin. To S3 it is the same right as a listing of the whole
    bucket, and of that one only the lab is known to hold nothing else.

    Raises:
        OSError: a document is missing.
    """
    names = {"job": ("job", "emr/node"), "data": ("data", "lab")}.get(user, (user,))
    statements = [each for name in names for each in policy(name, bucket=bucket, folder=folder)["Statement"]]
    of_s3 = [each for each in statements if all(action.startswith("s3:") for action in each["Action"])]
    return {"Version": "2012-10-17", "Statement": of_s3}


def prepare(keys: Mapping[str, str], *, endpoint: str, region: str, kind: str = "minio") -> None:
    """Bring the server to the state that the lab needs.

    Args:
        keys: as credentials.py names them.
        endpoint: address of the server, like http://minio:9000.
        region: of the bucket.
        kind: of server, a name in s3_users.GRANT.

    Raises:
        MinioException, MinioAdminException, RefusedError: the server refuses.
        urllib3.exceptions.HTTPError: it does not answer.
    """
    root, password = keys["MINIO_ROOT_USER"], keys["MINIO_ROOT_PASSWORD"]
    http = urllib3.PoolManager(timeout=ANSWER_TIMEOUT_S, retries=False)
    address = urlsplit(endpoint)
    client = Minio(
        address.netloc,
        access_key=root,
        secret_key=password,
        region=region,
        secure=address.scheme == "https",
        http_client=http,
    )
    if not client.bucket_exists(BUCKET):
        client.make_bucket(BUCKET, location=region)
    # Spark's event log and the history server want the folder to be there.
    client.put_object(BUCKET, EVENT_LOGS, io.BytesIO(b""), length=0)

    key_id = "_ACCESS_KEY_ID"
    users = [
        s3_users.User(
            name=name,
            key_id=keys[f"{name.upper()}{key_id}"],
            secret=keys[f"{name.upper()}_SECRET_ACCESS_KEY"],
            statements=granted(name, bucket=BUCKET)["Statement"],
        )
        for name in (each.removesuffix(key_id).lower() for each in keys if each.endswith(key_id))
    ]
    server = s3_users.Server(address=endpoint, region=region, root=root, password=password, http=http)
    former, in_use = _made(client), {user.key_id for user in users}
    _record(client, before=former, now=former | in_use)
    s3_users.GRANT[kind](server, users, former=former, bucket=BUCKET)
    _record(client, before=former | in_use, now=in_use)


def _made(client: Minio) -> set[str]:
    """The users that were made here before."""
    try:
        answer = client.get_object(BUCKET, MADE)
    except S3Error as error:
        if error.code == "NoSuchKey":
            return set()
        raise
    return set(json.loads(answer.read()))


def _record(client: Minio, *, before: Set[str], now: Set[str]) -> None:
    if now != before:
        content = json.dumps(sorted(now)).encode()
        client.put_object(BUCKET, MADE, io.BytesIO(content), length=len(content))


def main() -> int:
    """Prepare the server, as soon as it answers; exit code 0, or 1 with the cause in one line."""
    try:
        keys = env_files.read(CREDENTIALS)
    except OSError as error:
        return command_line.fail(
            f"{CREDENTIALS}: {error.strerror}; the container `secrets` writes it: docker compose logs secrets"
        )
    endpoint, region = os.environ["AWS_ENDPOINT_URL_S3"], os.environ["AWS_REGION"]
    last = ""
    for _ in attempts(timeout_s=DEADLINE_S, interval_s=0.5):
        try:
            prepare(keys, endpoint=endpoint, region=region, kind=os.environ.get("S3_SERVER", "minio"))
        except (*REFUSALS, urllib3.exceptions.HTTPError, OSError) as error:
            # Root may do everything: what is denied is another root.
            if re.search("InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied", str(error)):
                return command_line.fail(
                    f"{endpoint} still has the keys of an older .env; stop the lab and start it again"
                )
            last = _line(error)
            if not _passing(error):
                return command_line.fail(f"{endpoint} refuses: {last}")
        else:
            sys.stdout.write(f"{BUCKET} is ready\n")
            return 0
    return command_line.fail(f"no answer from {endpoint} for {DEADLINE_S} s: {last}")


def _passing(error: Exception) -> bool:
    """Whether a server that is just starting may have caused it."""
    starting = re.search("NotInitialized|Status: 503|ServiceUnavailable|SlowDown", str(error))
    return isinstance(error, urllib3.exceptions.HTTPError) or starting is not None


def _line(error: Exception) -> str:
    """What the server says, without what it says around it."""
    message = re.search(r'"Message":"([^"]*)"', str(error))
    return message[1] if message else " ".join(str(error).split())[:300]


if __name__ == "__main__":
    sys.exit(main())
