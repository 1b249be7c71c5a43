"""What AWS must have ready for a run or a session, asked before anything is built or sent."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from base import releases
from base.errors import UsageError
from launch.emr import aws, follow, free_plan, network, request
from launch.emr.aws import AWS_ERRORS
from launch.emr.request import Cluster
from launch.emr.run_spec import ClusterSpec

Spec = TypeVar("Spec", bound=ClusterSpec)


def preflight(spec: Spec) -> Spec:
    """Check credentials, bucket, region, the account's plan and subnets, in this order.

    Returns:
        The same, with the subnets of its cluster, or with size and release of the cluster that runs already.

    Raises:
        UsageError: something is to be corrected.
        ClientError, BotoCoreError: AWS refuses.
    """
    _check_bucket(spec)
    if spec.cluster_id:
        cluster = _running(spec, spec.cluster_id)
        return replace(spec, cluster=cluster, release=releases.find(cluster.release))
    if spec.in_emr_lab:
        return spec
    if free_plan.is_free():
        raise UsageError(aws.FREE_PLAN)
    if spec.cluster.subnets:
        return spec
    try:
        subnets = network.ready(spec.cluster.region, spec.cluster.instance_type)
    except aws.EmrError as error:
        raise UsageError(str(error)) from error
    return replace(spec, cluster=replace(spec.cluster, subnets=subnets))


def _check_bucket(spec: ClusterSpec) -> None:
    """The bucket is the caller's, and in the region of the cluster."""
    cluster = spec.cluster
    owner: dict[str, str] = {}
    if not spec.in_emr_lab:
        owner = {"ExpectedBucketOwner": str(aws.client("sts", cluster.region).get_caller_identity()["Account"])}
    try:
        s3 = aws.client("s3", cluster.region)
        constraint = s3.get_bucket_location(Bucket=cluster.bucket, **owner).get("LocationConstraint")
    except AWS_ERRORS as error:
        if owner and aws.code(error) in {"AccessDenied", "403"}:
            raise UsageError(
                f"BUCKET={cluster.bucket} belongs to another account, or this key has no right to it; choose another"
            ) from error
        raise
    region = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(constraint, constraint)
    if region != cluster.region and not spec.in_emr_lab:
        raise UsageError(f"BUCKET={cluster.bucket} is in {region}, the cluster would be in {cluster.region}; "
                         f"give REGION={region}")  # fmt: skip


def _running(spec: ClusterSpec, cluster_id: str) -> Cluster:
    """What the cluster that a user names is, out of its tags."""
    cluster = aws.client("emr", spec.cluster.region).describe_cluster(ClusterId=cluster_id)["Cluster"]
    tags = {tag["Key"]: tag["Value"] for tag in cluster.get("Tags", ())}
    state = cluster["Status"]["State"]
    if state in follow.ENDED or state == "TERMINATING":
        raise UsageError(f"CLUSTER={cluster_id} is {state.lower()}; leave CLUSTER out to start one")
    nodes = re.fullmatch(r"([0-9]+) x (\S+)", tags.get(request.NODES_TAG, ""))
    if aws.TAG not in cluster.get("Tags", ()) or not nodes:
        raise UsageError(
            f"CLUSTER={cluster_id} was not started by emrlab: its nodes lack the job's packages; "
            "start one that stays with --keep, and use that"
        )
    return replace(spec.cluster, workers=int(nodes[1]), instance_type=nodes[2], release=cluster["ReleaseLabel"])
