"""What a run asks of Amazon: its estimate, and its requests; `emr-plan` prints them, `emr-run` sends them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from base import paths
from launch import submit, targets
from launch.emr import artifacts, cost, policies, request, run_spec
from launch.emr.artifacts import Artifacts
from launch.emr.run_spec import RunSpec
from launch.emr.workload import Workload
from launch.job import executor_settings
from pipeline.redaction import redacted_argument


def estimate(spec: RunSpec, workload: Workload) -> cost.Estimate:
    """What the run takes and costs.

    Raises:
        CostError: the region or the instance type has no prices.
    """
    running, work = spec.cluster_id is not None, spec.job.work
    if work is None:
        return cost.estimate_minutes(
            spec.cluster,
            spec.minutes,
            size_bytes=workload.size_bytes,
            requests=workload.requests,
            upload_bytes=workload.upload_bytes,
            running=running,
        )
    measured = cost.rate(work.model, work.image_size, runs=paths.OUT.glob("*/run.json"))
    return cost.estimate(
        spec.cluster,
        measured,
        images=workload.images,
        size_bytes=workload.size_bytes,
        requests=workload.requests,
        in_shards=workload.in_shards,
        upload_bytes=workload.upload_bytes,
        running=running,
    )


def step(spec: RunSpec, sent: Artifacts, agreed: cost.Estimate) -> dict[str, Any]:
    """The step: the one argument list of spark-submit, and the seconds that `max_usd` pays for.

    Raises:
        SizingError, LabError: as `request.executors`.
    """
    cluster = spec.cluster
    shape = request.executors(cluster, run_spec.asked(spec))
    own = [*spec.job.settings, *executor_settings(sent.job.env)]
    conf = targets.emr(shape, spec.conf_overrides, own=own, bucket=cluster.bucket, region=cluster.region)
    arguments = submit.arguments(
        sent.job.main,
        job_args=sent.job.job_args,
        conf=conf,
        name=spec.job.name,
        archive=sent.job.archive,
        jars=sent.job.jars,
        files=sent.job.files,
        main_class=spec.job.main_class,
    )
    limit_s = cost.step_s(agreed, max_usd=spec.max_usd, running=spec.cluster_id is not None)
    return request.spark_step(arguments, env=sent.job.env, keep=spec.cluster_stays, limit_s=limit_s)


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
    planned, job = artifacts.planned(spec), spec.job
    parts: dict[str, object] = {"RunJobFlow": _redacted(run_job_flow(spec, planned, expected))}
    if job.is_own:
        places = planned.job.places
        needed = policies.of_job(
            spec.cluster.bucket,
            reads=[places[name] for name in job.inputs],
            writes=[places[name] for name in job.outputs],
        )
        parts["Rights that this job's declaration asks for, of those of the nodes"] = needed
    parts |= {f"Rights of {who}": policy for who, policy in policies.all_of(spec.cluster.bucket).items()}
    return "".join(f"# {title}\n{json.dumps(part, indent=2)}\n\n" for title, part in parts.items())


def _redacted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _redacted(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(part) for part in value]
    return redacted_argument(value) if isinstance(value, str) else value
