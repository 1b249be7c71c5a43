"""What a run lost with its machines: from Spark's event logs, whatever form they have."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError

from launch.emr.lost_work import lost_work
from launch.emr.request import Cluster

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
CLUSTER = Cluster(bucket="bucket", region="eu-west-3", release="emr-spark-8.1.0")


def task(stage: int, partition: int, seconds: int, reason: str = "Success", **more: Any) -> dict[str, Any]:
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": stage,
        "Task Info": {"Index": 0, "Partition ID": partition, "Launch Time": 1000, "Finish Time": 1000 + seconds * 1000},
        "Task End Reason": {"Reason": reason, **more},
    }


# Partition 2 of stage 0 was there and is made again; two ran on the machine, one more could not fetch.
TASKS = [
    task(0, 1, 60),
    task(0, 2, 30),
    task(0, 3, 40, "ExecutorLostFailure", **{"Exit Caused By App": False}),
    task(0, 4, 9000, "ExecutorLostFailure", **{"Exit Caused By App": True}),
    task(1, 2, 20, "FetchFailed"),
    task(1, 3, 9000, "ExceptionFailure"),
    task(1, 4, 9000, "TaskKilled"),
    task(0, 2, 31),
    task(0, 3, 41),
    task(1, 2, 21),
]


def log(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in ({"Event": "SparkListenerLogStart"}, *events))


def packed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue().to_pybytes())


class Pages:
    """A client whose listings are one page each, and whose objects are in memory."""

    def __init__(self, key: str, items: list[dict[str, Any]], objects: Mapping[str, bytes | None]) -> None:
        self.key, self.items, self.objects = key, items, objects

    def get_paginator(self, _: str) -> Pages:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{self.key: self.items}]

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        assert Bucket == "bucket"
        content = self.objects[Key]
        if content is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(content)}


def machine(name: str, *, code: str = "", minutes: float | None = None) -> dict[str, Any]:
    line = {} if minutes is None else {"EndDateTime": START + timedelta(minutes=minutes)}
    return {"Ec2InstanceId": name, "Status": {"StateChangeReason": {"Code": code}, "Timeline": line}}


def found(machines: list[dict[str, Any]], objects: Mapping[str, bytes | None], *, age_s: float = 0.0) -> Any:
    listed = [{"Key": name, "LastModified": START + timedelta(seconds=60 - age_s)} for name in objects]
    emr, s3 = Pages("Instances", machines, {}), Pages("Contents", listed, objects)
    return lost_work(CLUSTER, "j-1", emr=emr, s3=s3, since=START)


LOST = [
    machine("i-2", code="INSTANCE_FAILURE", minutes=5),
    machine("i-1"),
    machine("i-0", code="CLUSTER_TERMINATED", minutes=9),
]
LOGS = ["eventlog_v2_application_1/events_1_application_1.zstd", "application_1", "application_1.inprogress"]


@pytest.mark.parametrize("name", LOGS)
def test_the_tasks_that_were_for_nothing_are_counted(name):
    content = packed(log(*TASKS), "zstd") if name.endswith("zstd") else log(*TASKS)
    another = log(task(0, 1, 5), task(0, 2, 5))
    lost = found(LOST, {f"spark-events/{name}": content, "spark-events/": b"", "spark-events/application_2": another})
    assert (lost.machines, lost.tasks, lost.minutes) == (("i-2",), 3, 1.5)
    assert 0 < lost.usd < 0.01
    assert lost.words().startswith("lost        1 machine taken away: 3 tasks done again, 1.5 minutes of a core, $0.00")


def test_a_run_that_lost_no_machine_reads_no_log():
    machines = [machine("i-1"), machine("i-0", code="INSTANCE_FAILURE", minutes=-1)]
    assert found(machines, {"spark-events/x": b"{"}) is None


def test_a_log_that_is_named_anew_meanwhile_and_lines_of_nobodys_count_nothing():
    odd: list[dict[str, Any]] = [
        {"Event": "SparkListenerTaskEnd"},
        {"Event": "SparkListenerTaskEnd", "Task Info": 3},
        task(0, 1, 1) | {"Stage ID": []},
    ]
    logs = {"spark-events/application_1": log(*TASKS, *odd), "spark-events/application_2.inprogress": None}
    assert found(LOST, logs).tasks == 3


def test_a_machine_that_never_had_an_instance_is_called_by_its_id():
    lost = {**machine("", code="INSTANCE_FAILURE", minutes=3), "Id": "ci-1"}
    del lost["Ec2InstanceId"]
    assert found([lost], {}).machines == ("ci-1",)


def test_logs_of_other_runs_and_lines_that_are_not_whole_count_nothing():
    assert found(LOST, {"spark-events/application_0": log(*TASKS)}, age_s=3600).tasks == 0
    cut = log(*TASKS, task(0, 3, 42))[:-20]
    assert found(LOST, {"spark-events/application_1": cut}).tasks == 3
    assert found(LOST, {"spark-events/application_1.lz4": b"LZ4Block\x00\x01"}).tasks == 0
