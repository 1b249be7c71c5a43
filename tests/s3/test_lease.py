"""One run at a time: the lease on an output in a bucket, written on condition alone."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import timedelta
from threading import Event

import obstore
import pytest
from moto.s3.models import s3_backends
from obstore.exceptions import GenericError, PreconditionError

from pipeline import interrupt, lease
from pipeline.settings import RunError

NAME = "results/out/_incomplete/owner.json"
ANOTHER = lease.Owner("11111111", "anna", "laptop", 4711, "another boot pid:[1]", "99")


@pytest.fixture
def output(bucket):
    return f"s3://{bucket.name}/results/out"


@pytest.fixture
def left(bucket):
    """A lease that another owner left, silent for so many seconds by the server's clock."""

    def leave(owner: lease.Owner | bytes, *, silent_s: float) -> None:
        content = owner if isinstance(owner, bytes) else json.dumps(dataclasses.asdict(owner)).encode()
        bucket.client.put_object(Bucket=bucket.name, Key=NAME, Body=content)
        key = next(iter(s3_backends.values()))["aws"].buckets[bucket.name].keys[NAME]
        key.last_modified -= timedelta(seconds=silent_s)

    return leave


@pytest.fixture
def there(bucket):
    """Names below the output."""
    return lambda: [e["Key"] for e in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", ())]


def owner_in(bucket) -> dict[str, object]:
    owner: dict[str, object] = json.loads(bucket.client.get_object(Bucket=bucket.name, Key=NAME)["Body"].read())
    return owner


def take(output: str, run: str = "22222222") -> None:
    with lease.hold(output, run) as confirm:
        confirm()


def test_a_second_run_is_refused_and_the_owner_named(bucket, output, there):
    with lease.hold(output, "11111111") as confirm:
        confirm()
        with pytest.raises(
            RunError, match=rf"belongs to run 11111111 .*\(process {os.getpid()}\), it still runs; wait"
        ):
            take(output)
        confirm()
        assert owner_in(bucket)["run"] == "11111111"
    assert there() == []
    take(output)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_given_back_after_a_failure(output, there, error):
    with pytest.raises(error), lease.hold(output, "11111111"):
        raise error
    assert there() == []


def gone() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.mark.parametrize(
    ("change", "is_free"),
    [
        ({}, False),
        ({"pid": gone}, True),
        ({"began": lambda: "1"}, True),
        ({"pid": gone, "machine": lambda: "another boot pid:[1]"}, False),
        ({"pid": gone, "machine": lambda: ""}, False),
    ],
)
def test_an_owner_whose_process_is_seen_to_be_gone_is_dead_at_once(output, left, there, change, is_free):
    me = dataclasses.replace(lease.this_process("11111111"), **{name: new() for name, new in change.items()})
    left(me, silent_s=0)
    if is_free:
        take(output)
    else:
        with pytest.raises(RunError, match="belongs to run 11111111"):
            take(output)
        assert there() == [NAME], "a refused run leaves nothing"


@pytest.mark.parametrize("content", [ANOTHER, b"{", b"[]", b'{"run": "x", "more": 1}'])
def test_another_machines_owner_is_dead_after_a_minute_by_the_servers_clock(output, left, content):
    left(content, silent_s=50)
    with pytest.raises(RunError, match=r"heard of 5\d s ago; if it is dead, run again when it was silent for 60 s"):
        take(output)
    left(content, silent_s=62)
    take(output)


def test_an_owner_that_slept_learns_of_its_successor_and_leaves_it_alone(bucket, output, left):
    with lease.hold(output, "22222222") as confirm:
        left(ANOTHER, silent_s=0)
        for _ in range(2):
            with pytest.raises(RunError, match="taken over by another run"):
                confirm()
    assert owner_in(bucket)["run"] == ANOTHER.run


def test_an_owner_whose_lease_was_removed_learns_of_it(bucket, output):
    with lease.hold(output, "22222222") as confirm:
        bucket.client.delete_object(Bucket=bucket.name, Key=NAME)
        with pytest.raises(RunError, match="taken over by another run, or cleared"):
            confirm()


@pytest.mark.parametrize("error", [PreconditionError("412 at the second try"), GenericError("reset")])
def test_an_answer_that_is_lost_costs_nobody_the_lease(output, there, monkeypatch, error):
    real, broken = obstore.put, Event()

    def put(*args, **kwargs):
        answer = real(*args, **kwargs)
        if broken.is_set():
            broken.clear()
            raise error
        return answer

    monkeypatch.setattr(obstore, "put", put)
    if isinstance(error, PreconditionError):
        broken.set()
    with lease.hold(output, "22222222") as confirm:
        confirm()
        broken.set()
        if isinstance(error, GenericError):
            with pytest.raises(GenericError):
                confirm()
        confirm()
    assert there() == []


def test_the_owner_writes_it_anew_while_it_works(output, monkeypatch):
    real, often, puts = obstore.put, Event(), []

    def put(*args, **kwargs):
        puts.append(args)
        if len(puts) > 5:
            often.set()
        return real(*args, **kwargs)

    monkeypatch.setattr(obstore, "put", put)
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)
    with lease.hold(output, "22222222") as confirm:
        assert often.wait(60)
        confirm()


def test_what_spark_does_for_an_owner_that_was_taken_over_is_cancelled(output, left, monkeypatch):
    cancelled = Event()
    monkeypatch.setattr(interrupt, "cancel_jobs", cancelled.set)
    monkeypatch.setattr(lease, "RENEWED_EVERY_S", 0.01)

    def work():
        with lease.hold(output, "22222222"):
            left(ANOTHER, silent_s=0)
            assert cancelled.wait(60)
            raise ValueError("Job aborted")

    with pytest.raises(RunError, match="taken over by another run"):
        work()
