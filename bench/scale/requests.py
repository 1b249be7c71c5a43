"""What a photograph costs in requests, as a file and in a shard: the job on S3, counted at the server.

`python -m bench.scale.requests IMAGES` prints them. The server is moto's, behind a proxy that takes every request down;
the results go to a folder, so that all requests are the input's.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from base.paths import ROOT
from bench import job, photos
from pipeline.report_sample import EXAMPLES
from tests.s3 import proxy

BUCKET = "photographs"
KEY = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}


def count(requests: Iterable[str]) -> dict[str, int]:
    """How many of each kind there are among `METHOD /bucket/key?query`."""
    kinds = Counter(
        "LIST" if "list-type=" in request else request.partition(" ")[0] for request in requests
    )  # of S3's price list: a LIST costs what a PUT does
    return {kind: kinds[kind] for kind in ("GET", "HEAD", "LIST")}


def measure(folder: Path, images: int) -> dict[str, dict[str, int]]:
    """The requests of a run on so many photographs, as `files` and as `shards`."""
    loose, shards = photos.make(folder / "files", count=images), folder / "shards"
    packing = [sys.executable, "-m", "data.shards", "--input", str(loose), "--output", str(shards)]
    subprocess.run(packing, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        with proxy.before(f"http://{host}:{port}") as counted:
            _upload(folder, f"http://{host}:{port}")
            return {name: _run(name, counted, folder / "output" / name, images) for name in ("files", "shards")}
    finally:
        server.stop()


def _upload(folder: Path, address: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEY["AWS_REGION"],
        aws_access_key_id=KEY["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEY["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put_object(Bucket=BUCKET, Key=str(path.relative_to(folder)), Body=path.read_bytes())


def _run(name: str, counted: proxy.Proxy, output: Path, images: int) -> dict[str, int]:
    counted.clear()
    command = [sys.executable, "-m", "launch", "run", "--input", f"s3://{BUCKET}/{name}", "--output", str(output)]
    job.watch(
        [*command, "--image-size", str(job.IMAGE_SIZE)],
        environment=os.environ | KEY | {"AWS_ENDPOINT_URL_S3": counted.address},
    )
    extracted = json.loads((output / "run.json").read_text())["counts"]["extracted"]
    if extracted != images:
        raise RuntimeError(f"{extracted} of {images} photographs in {name} have features")
    return count(counted.requests)


def main(images: int) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as folder:
        counted = measure(Path(folder), images)
    sys.stdout.write(json.dumps({"images": images, "examples": min(EXAMPLES, images), **counted}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
