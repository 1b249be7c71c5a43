"""What a run came to: the job's own record, the time and the money, and the record of the run on EMR."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.emr import aws, cost, follow, logs
from launch.emr.aws import EmrError
from launch.emr.cost import Estimate
from launch.emr.follow import Clients, Show, Step
from launch.emr.lost_work import LostWork
from launch.emr.run_spec import RunSpec

RECORD = "emr.json"


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Minutes from the start, and dollars at list prices."""

    minutes: float
    usd: float


def job_record(s3: Any, uri: str) -> dict[str, Any]:
    """The job's own record of a run at `uri`; empty where there is none.

    Raises:
        EmrError: what is there is none.
        ClientError, BotoCoreError: S3 refuses.
    """
    try:
        record = json.loads(logs.read(s3, uri) or "{}")
    except ValueError as error:
        raise EmrError(
            f"{uri} is no JSON, and no record of a run: {error}; remove it, or take another OUTPUT"
        ) from error
    if not isinstance(record, dict):
        raise EmrError(f"{uri} is no record of a run; remove it, or take another OUTPUT")
    return record


def bill(spec: RunSpec, step: Step, *, started: datetime, clients: Clients, show: Show) -> Bill:
    """Wait until a one-shot cluster bills no more; what the run came to.

    Raises:
        EmrError: the cluster does not end.
        ClientError, BotoCoreError: AWS refuses.
    """
    if spec.cluster_stays:
        # Not until now: a laptop that slept through the step's end pays for nothing meanwhile.
        status = clients.emr.describe_step(ClusterId=step.cluster, StepId=step.step)["Step"]["Status"]
        ended = status["Timeline"].get("EndDateTime", datetime.now(UTC))
        minutes = max(0.0, (ended - started).total_seconds() / 60)
        usd = minutes / 60 * cost.hour_usd(spec.cluster)
        show(f"cluster {step.cluster} stays for ten idle minutes: CLUSTER={step.cluster}")
    else:
        show("the results are here; what the run cost is known when its cluster has ended")
        state = follow.wait_ended(clients, step.cluster, show=show)
        instances = list(aws.pages(clients.emr, "list_instances", "Instances", ClusterId=step.cluster))
        now = datetime.now(UTC)
        usd = cost.actual_usd(spec.cluster, instances, now=now)
        minutes = (now - started).total_seconds() / 60
        show(f"cluster {step.cluster} is {state.lower()}")
    return Bill(minutes=round(minutes, 2), usd=round(usd, 4))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A step that has ended: when it was started, what was agreed to, what it came to and lost (None: not known, or
    nothing), its packages.
    """

    step: Step
    started: datetime
    agreed: Estimate
    actual: Bill | None
    lost: LostWork | None
    wheelhouse: str


def write_record(folder: Path, spec: RunSpec, ran: Ran) -> Path:
    """Write RECORD into a `folder` on this machine, which is made where it is missing; its path.

    Raises:
        OSError: it cannot be written.
    """
    record = {
        "job": spec.job.name,
        "cluster": ran.step.cluster,
        "step": ran.step.step,
        "started": ran.started.isoformat(timespec="seconds"),
        "release": spec.release.label,
        "nodes": ran.agreed.nodes,
        "estimated": ran.agreed.as_json(),
        "actual": None if ran.actual is None else asdict(ran.actual),
        "lost": None if ran.lost is None else asdict(ran.lost),
        "billed": not spec.in_emr_lab,
        "wheelhouse": ran.wheelhouse,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
