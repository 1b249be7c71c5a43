"""What Amazon does with the clusters that moto only remembers."""

from __future__ import annotations

import gzip
import json
import threading
import time

import boto3
from moto.emr.models import emr_backends

from base.paths import CACHE
from launch import transfer
from pipeline.settings import from_args
from tests.emr.conftest import ACCOUNT, BUCKET, REGION


def moto_clusters():
    """moto's own clusters. Its server takes every request for EMR to be for us-east-1."""
    return emr_backends[ACCOUNT]["us-east-1"].clusters


def job_record(run):
    """The record that the job leaves in run.json, as far as the end of a run tells of it."""
    return {
        "run": run,
        "counts": {"listed": 6, "extracted": 5, "known": 0, "rejected": 1},
        "skipped_names": {"Thumbs.db": 1},
        "classes": 2,
        "components": 3,
        "variance_kept": 0.957,
        "accuracy": 0.75,
        "macro_f1": 0.733,
        "test_images": 4,
        "notes": [],
        "model": {"features": 1280},
    }


# What of it a run ends with.
ENDING = """\
images      6: 5 extracted, 0 already known
classes     2
rejected    1; skipped as no images: 1 Thumbs.db
components  3 of 1,280 features, 95.7% of the variance
accuracy    75.0% of 4 test images, macro F1 0.733
"""


def keys(prefix):
    """The names in the bucket that begin so."""
    s3 = boto3.client("s3", region_name=REGION)
    return [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]


def place(folder, *, in_emr_lab=False):
    """The prefix in the bucket that stands for a folder of photographs on this machine."""
    return f"images/{transfer.place(folder, owner='' if in_emr_lab else transfer.mark(CACHE))}"


def put(prefix, *names):
    """Objects of a user's own below `prefix`; a name with a slash at its end is the console's mark of a folder."""
    s3 = boto3.client("s3", region_name=REGION)
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=b"" if name.endswith("/") else b"theirs")


class Machinery:
    """What Amazon does with the clusters of moto, on a thread: bootstrap, step, logs, results, end."""

    def __init__(self, ending="COMPLETED", stderr="", results=True, stop_at=None, running_s=0.2):
        self.ending, self.stderr, self.results, self.stop_at = ending, stderr, results, stop_at
        self.running_s = running_s
        self.s3 = boto3.client("s3", region_name=REGION)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.asked = []  # Spark's arguments, a list a step
        self.clusters = moto_clusters()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(10)

    def work(self):
        done = set()
        while not self.over.wait(0.02):
            for name, cluster in list(self.clusters.items()):
                for step in list(getattr(cluster, "steps", ())):  # moto lists a cluster before it is whole
                    if step.id not in done and step.state in {"RUNNING", "PENDING"}:
                        self.serve(name, cluster, step)
                        done.add(step.id)

    def serve(self, name, cluster, step):
        args = list(step.args)
        self.asked.append(args)
        settings = from_args(args[args.index(next(arg for arg in args if arg.endswith("/main.py"))) + 1 :])
        step.state = "RUNNING"
        self.log(name, step.id, "3/9 images · 2 images/s · ETA 3 s · rejected 0\n")
        if self.stop_at:
            self.stop_at()
            return
        time.sleep(self.running_s)
        self.log(name, step.id, self.stderr)
        if self.ending == "COMPLETED" and self.results:
            bucket, _, prefix = settings.output.removeprefix("s3://").partition("/")
            contents = {name: f"{name} of {prefix}" for name in ("report.html", "predictions.csv", "metrics.json")}
            files = {result: len(content) for result, content in contents.items()}
            contents["run.json"] = json.dumps({**job_record(step.id), "files": files})
            for result, content in contents.items():
                self.s3.put_object(Bucket=bucket, Key=f"{prefix}/{result}", Body=content.encode())
        step.state = self.ending
        if not cluster.keep_job_flow_alive_when_no_steps:
            cluster.terminate()

    def log(self, cluster, step, text):
        for name, content in (("stderr", text), ("stdout", "")):
            key = f"emrlab-logs/{cluster}/steps/{step}/{name}.gz"
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(content.encode()))


class Played(Machinery):
    """What Amazon does with a step of `tests.own_job`, that ends with `code`."""

    def __init__(self, code):
        super().__init__("FAILED" if code else "COMPLETED")
        self.code = code

    def serve(self, name, cluster, step):
        self.asked.append(list(step.args))
        step.state = "RUNNING"
        ended = f"2026-11-29 INFO Step failed with exitCode {self.code} and took 3 seconds\n" * bool(self.code)
        for log, text in {"stdout": "the job's words\n", "stderr": "", "controller": ended}.items():
            key = f"emrlab-logs/{name}/steps/{step.id}/{log}.gz"
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(text.encode()))
        place = step.args[-2].removeprefix(f"s3://{BUCKET}/")
        self.s3.put_object(Bucket=BUCKET, Key=f"{place}/part-0.parquet", Body=b"rows")
        step.state = self.ending
        cluster.terminate()
