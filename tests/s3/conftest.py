from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests import pictures
from tests.s3.proxy import Proxy, before

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of a moto server on a port that was free."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@dataclass(frozen=True)
class Bucket:
    """A bucket of one test and the client that made it."""

    name: str
    client: Any

    def put(self, folder: Path, prefix: str) -> None:
        """Upload a folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder)}"
                self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())


@pytest.fixture
def bucket(server, monkeypatch, request) -> Bucket:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-3",
        "AWS_DEFAULT_REGION": "eu-west-3",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"test-{abs(hash(request.node.nodeid)) % 10**10}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    return Bucket(name, client)


@pytest.fixture
def proxy(server, bucket, monkeypatch) -> Iterator[Proxy]:
    """What the test's S3 is reached through; `bucket` has a way around it."""
    with before(server) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.address)
        yield made


@pytest.fixture
def run(keras_file):
    """`python -m launch run`, as a user types it, with the small model."""

    def call(source: str, target: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        args = ["--input", source, "--output", target, "--model", str(keras_file), "--image-size", "32", *more]
        return subprocess.run(
            [sys.executable, "-m", "launch", "run", *args],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    return call


@pytest.fixture
def photos(tmp_path) -> Path:
    pictures.write_set(tmp_path / "photos", classes=3, views=8)
    return tmp_path / "photos"
