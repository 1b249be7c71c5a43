"""A session on EMR as its command line asks for it: checked, its price said, agreed to; nothing is started yet."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from base.errors import UsageError
from launch.emr import aws, command, preflight, request, run_spec, session_price, workload
from launch.emr.run_spec import ClusterSpec, RunSpec, SessionSpec
from launch.job import Job

FIRST = "emr-spark-"  # begins the labels of the releases that have sessions, from emr-spark-8.0.0 on


def agreed(parsed: argparse.Namespace, job: Job | None = None) -> SessionSpec:
    """What is asked for: a session of `--target emr` or `emr-lab`, in which the photographs of `job` are looked at.

    Raises:
        UsageError: it cannot be so, may cost more than MAX_USD, or nobody agrees to its price.
        EmrError: AWS refuses, or does not answer.
    """
    with aws.in_one_line():
        if parsed.target == command.LAB:
            aws.use_lab()
        spec = _checked(command.cluster_spec(parsed, job), job)
        limit_s = _limit_s(spec)
        work = workload.find(_with_job(spec, job)) if job else session_price.NOTHING_TO_READ
    price = session_price.find(spec, work, limit_s=limit_s)
    sys.stdout.write(session_price.words(price, in_emr_lab=spec.in_emr_lab))
    if not (parsed.yes or spec.in_emr_lab or command.agrees("open it?")):
        raise UsageError("the price is not agreed to: nothing was started")
    return SessionSpec(**vars(spec), lifetime_s=price.lifetime_s)


def _checked(spec: ClusterSpec, job: Job | None) -> ClusterSpec:
    """The same, with what AWS has ready for it, or what the cluster that runs already is.

    Raises:
        UsageError: something is to be corrected.
        ClientError, BotoCoreError: AWS refuses.
    """
    if spec.in_emr_lab:
        spec = replace(spec, cluster=replace(spec.cluster, keep=True))  # it costs nothing, and is soon there again
    _check_release(spec.cluster.release)
    if job:
        run_spec.check(_with_job(spec, job))
    else:
        run_spec.check_bucket(spec.cluster.bucket)
        request.executors(spec.cluster, spec.conf_overrides)
    return preflight.preflight(spec)


def _limit_s(spec: ClusterSpec) -> int | None:
    """After how many seconds YARN ends a session on the cluster that runs already; None: one is to be started.

    Raises:
        UsageError: it has no sessions, or no such limit.
        ClientError, BotoCoreError: AWS refuses.
    """
    if spec.cluster_id is None:
        return None
    cluster = aws.client("emr", spec.cluster.region).describe_cluster(ClusterId=spec.cluster_id)["Cluster"]
    if not cluster.get("SessionEnabled"):
        raise UsageError(f"CLUSTER={spec.cluster_id} has no sessions; name one of make session, or leave CLUSTER out")
    settings = [each.get("Properties", {}) for each in cluster.get("Configurations", ())]
    limit = next((each[request.LIFETIME] for each in settings if request.LIFETIME in each), "")
    if not limit.isdecimal():
        raise UsageError(f"CLUSTER={spec.cluster_id} has no limit to the time of its sessions; leave CLUSTER out")
    return int(limit)


def _check_release(label: str) -> None:
    if not label.startswith(FIRST):
        raise UsageError(f"RELEASE={label} has no sessions: they are there since emr-spark-8.0.0; take a later one")


def _with_job(spec: ClusterSpec, job: Job) -> RunSpec:
    return RunSpec(**vars(spec), job=job)
