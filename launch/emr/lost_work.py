"""What a run lost with machines that went while it ran: the tasks that were done again, from Spark's event logs.

A machine is lost where ListInstances says INSTANCE_FAILURE, as for one on spot that Amazon took back. Of the run's
tasks the time of those counts that failed for want of their executor or of what it kept, and of those whose result was
there and had to be made again. What the run waited for executors is not counted, nor a driver that was lost itself.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from base import sizing
from base.defaults import EVENT_LOGS
from launch.emr import aws, cost
from launch.emr.request import Cluster

# Of a task that ended for the sake of its machine. https://spark.apache.org/docs/latest/monitoring.html
_OF_MACHINES = frozenset({"ExecutorLostFailure", "FetchFailed"})
_CODECS = {"zstd": "zstd", "zst": "zstd", "gz": "gzip", "lz4": "lz4"}


@dataclass(frozen=True, kw_only=True)
class LostWork:
    """What was lost.

    Attributes:
        machines: their EC2 ids.
        tasks: that failed, or were done again.
        minutes: of one task slot, that these took for nothing.
        usd: of them, at list prices.
    """

    machines: tuple[str, ...]
    tasks: int
    minutes: float
    usd: float

    def words(self) -> str:
        """As a user reads it."""
        count = f"{len(self.machines)} machine{'s' * (len(self.machines) != 1)} taken away"
        work = f"{self.tasks} tasks done again, {self.minutes:.1f} minutes of a core"
        return f"lost        {count}: {work}, ${self.usd:.4f} at list prices\n"


def lost_work(cluster: Cluster, cluster_id: str, *, emr: Any, s3: Any, since: datetime) -> LostWork | None:
    """Return what the runs on a cluster lost with machines that went after `since`; None where none did.

    Raises:
        ClientError, BotoCoreError: AWS refuses.
        CostError: the cluster has no prices.
    """
    listed = aws.pages(emr, "list_instances", "Instances", ClusterId=cluster_id)
    machines = tuple(sorted(str(each.get("Ec2InstanceId", each.get("Id"))) for each in listed if _is_lost(each, since)))
    if not machines:
        return None
    ended = defaultdict[str, list[_Task]](list)
    for log in _logs(s3, cluster.bucket, since=since):
        ended[log.application] += _tasks(log.lines)
    wasted_ms = [took_ms for tasks in ended.values() for took_ms in _wasted_ms(tasks)]
    minutes = sum(wasted_ms) / 60_000
    slots = cluster.workers * sizing.instance(cluster.instance_type).vcpu
    usd = minutes / 60 * cost.hour_usd(cluster) / slots
    return LostWork(machines=machines, tasks=len(wasted_ms), minutes=round(minutes, 2), usd=round(usd, 4))


@dataclass(frozen=True, kw_only=True)
class _Log:
    """An event log, or one of several that an application has: what it is named after, and its lines."""

    application: str
    lines: list[bytes]


def _is_lost(instance: Mapping[str, Any], since: datetime) -> bool:
    status = instance["Status"]
    end = status.get("Timeline", {}).get("EndDateTime")
    lost = status.get("StateChangeReason", {}).get("Code") == "INSTANCE_FAILURE"
    return bool(lost and end is not None and end >= since)


def _logs(s3: Any, bucket: str, *, since: datetime) -> Iterator[_Log]:
    """Yield each event log that was written after `since`; one in a form that is not known is left out."""
    import pyarrow as pa  # noqa: PLC0415 - most runs lose nothing, and it takes its time

    for each in aws.pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=EVENT_LOGS):
        folder, _, name = str(each["Key"]).removeprefix(EVENT_LOGS).rpartition("/")
        if each["LastModified"] < since or not name:
            continue
        try:
            content = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        except ClientError as error:
            if aws.code(error) != "NoSuchKey":
                raise
            continue  # of another application, which has ended since the listing and named its log anew
        codec = _CODECS.get(name.removesuffix(".inprogress").rpartition(".")[2])
        try:
            lines = pa.input_stream(io.BytesIO(content), compression=codec).read().splitlines()
        except OSError:  # a block format of Java's own
            continue
        yield _Log(application=folder or name, lines=lines)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A task that ended: which it was, how long it ran, how it ended; `by_app`: its executor went by its own fault."""

    stage: int
    partition: int
    took_ms: int
    reason: str
    by_app: bool


def _tasks(events: Iterable[bytes]) -> Iterator[_Task]:
    """Yield the tasks that ended; a last line that is not whole is none, nor is what no Spark wrote."""
    for line in events:
        if b'"SparkListenerTaskEnd"' not in line:
            continue
        try:
            event = json.loads(line)
            info, end = event["Task Info"], event["Task End Reason"]
            yield _Task(
                stage=int(event["Stage ID"]),
                partition=int(info.get("Partition ID", info["Index"])),
                took_ms=max(0, int(info["Finish Time"]) - int(info["Launch Time"])),
                reason=str(end["Reason"]),
                by_app=bool(end.get("Exit Caused By App", False)),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _wasted_ms(ended: Iterable[_Task]) -> Iterator[int]:
    """Yield the time of each task that was for nothing."""
    done: dict[tuple[int, int], int] = {}
    for task in ended:
        key = (task.stage, task.partition)
        if task.reason in _OF_MACHINES and not task.by_app:
            yield task.took_ms
        elif task.reason == "Success":
            # The one before counts: what it had made was gone.
            if key in done:
                yield done[key]
            done[key] = task.took_ms
