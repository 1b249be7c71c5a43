"""What a run asks of Amazon: its estimate, and its requests; `emr-plan` prints them, `emr-run` sends them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from base import paths
from launch import submit, targets
from launch.emr import artifacts, cost, policies, request
from launch.emr.artifacts import Artifacts
from launch.emr.run_spec import RunSpec
from launch.emr.workload import Workload
from pipeline.redaction import redacted_argument


def estimate(spec: RunSpec, workload: Workload) -> cost.Estimate:
    """What the run takes and costs.

    Raises:
        CostError: the region or the instance type has no prices.
    """
    measured = cost.rate(spec.job.model, spec.job.image_size, runs=paths.OUT.glob("*/run.json"))
    return cost.estimate(
        spec.cluster,
        measured,
        images=workload.images,
        size_bytes=workload.size_bytes,
        requests=workload.requests,
        in_shards=workload.in_shards,
        upload_bytes=workload.upload_bytes,
        running=spec.cluster_id is not None,
    )


def step(spec: RunSpec, sent: Artifacts, agreed: cost.Estimate) -> dict[str, Any]:
    """The step: the one argument list of spark-submit, and the seconds that `max_usd` pays for.

    Raises:
        SizingError, LabError: as `request.executors`.
    """
    cluster = spec.cluster
    shape = request.executors(cluster, spec.conf_overrides)
    conf = targets.emr(shape, spec.conf_overrides, bucket=cluster.bucket, region=cluster.region)
    arguments = submit.arguments(sent.job.archive, sent.job.main, job_args=sent.job.job_args, conf=conf)
    limit_s = cost.step_s(agreed, max_usd=spec.max_usd, running=spec.cluster_id is not None)
    return request.spark_step(arguments, keep=spec.cluster_stays, limit_s=limit_s)


def run_job_flow(spec: RunSpec, sent: Artifacts, agreed: cost.Estimate) -> dict[str, Any]:
    """RunJobFlow's arguments: the cluster with its first step.

    Raises:
        SizingError, LabError: as `request.executors`.
    """
    first = step(spec, sent, agreed)
    return request.run_job_flow(spec.cluster, sent.nodes, python=spec.release.python, step=first)


def text(spec: RunSpec, expected: cost.Estimate) -> str:
    """The request's JSON, without secrets, and every policy, each below a line that says what it is.

    Nothing is called or fetched: what only a run finds or builds stands as a word in capitals.
    """
    subnets = spec.cluster.subnets or (() if spec.in_emr_lab else ("SUBNETS",))
    spec = replace(spec, cluster=replace(spec.cluster, subnets=subnets))
    parts: dict[str, object] = {"RunJobFlow": _redacted(run_job_flow(spec, artifacts.planned(spec), expected))}
    parts |= {f"Rights of {who}": policy for who, policy in policies.all_of(spec.cluster.bucket).items()}
    return "".join(f"# {title}\n{json.dumps(part, indent=2)}\n\n" for title, part in parts.items())


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _redacted(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(part) for part in value]
    return redacted_argument(value) if isinstance(value, str) else value
