"""What a user asks of EMR, checked: first by itself, then against the account, with what it will cost."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launch import storage, transfer
from launch.emr import aws, cost, follow, free_plan, network, request
from launch.emr.aws import AwsError
from launch.emr.release import Release
from launch.emr.request import Cluster
from pipeline.settings import Settings, UsageError

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
OUT = ROOT / "out"
BUCKET_NAME = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a user asks for.

    Attributes:
        cluster: that is to be started, or what is known of the one that is `existing`.
        release: of it.
        existing: id of a cluster that runs already, or None.
        in_lab: the endpoint is the lab's: no account, no bill.
        settings: of the job; folders of this machine stand for places in the bucket.
        model, weights, image_size: of the model file to build.
        given: Spark settings in place of ours.
        max_usd: what the run may cost.
    """

    cluster: Cluster
    release: Release
    existing: str | None
    in_lab: bool
    settings: Settings
    model: str
    weights: Path | None
    image_size: int
    given: Mapping[str, str]
    max_usd: float


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Photographs and their bytes, and those that must be sent."""

    images: int
    size_bytes: int
    uploads: int
    upload_bytes: int = 0


def check(order: Order) -> None:
    """See that what is asked for can be, without a call to AWS.

    Raises:
        UsageError: a location lies where the nodes may not read or write, or the bucket's name cannot be.
        SizingError, LabError: the executors do not fit.
    """
    bucket = order.cluster.bucket
    check_bucket(bucket)
    transfer.check(order.settings)
    places = (("--input", order.settings.input, "images"), ("--output", order.settings.output, "results"))
    for flag, location, folder in places:
        if location.startswith("s3://") and not location.startswith(f"s3://{bucket}/{folder}/"):
            raise UsageError(f"{flag} {location}: the nodes may use s3://{bucket}/{folder}/…; choose a place there")
    request.executors(order.cluster, order.given)


def check_bucket(name: str) -> None:
    """See that S3 would take the bucket's name.

    Raises:
        UsageError: it would not.
    """
    if not BUCKET_NAME.fullmatch(name):
        raise UsageError(f"BUCKET={name} is no valid name; 3 to 63 of a-z, 0-9, - and ., and no s3:// before it")


def preflight(order: Order) -> Order:
    """Credentials, bucket, region, the account's plan and subnets, in this order; the order with what was found.

    Raises:
        UsageError: something is to be corrected.
        ClientError, BotoCoreError: AWS refuses.
    """
    cluster = order.cluster
    owner: dict[str, str] = {}
    if not order.in_lab:
        owner = {"ExpectedBucketOwner": str(aws.client("sts", cluster.region).get_caller_identity()["Account"])}
    try:
        s3 = aws.client("s3", cluster.region)
        place = s3.get_bucket_location(Bucket=cluster.bucket, **owner).get("LocationConstraint")
    except AwsError as error:
        if owner and aws.code(error) in {"AccessDenied", "403"}:
            raise UsageError(
                f"BUCKET={cluster.bucket} belongs to another account, or this key has no right to it; choose another"
            ) from error
        raise
    region = {None: "us-east-1", "": "us-east-1", "EU": "eu-west-1"}.get(place, place)
    if region != cluster.region and not order.in_lab:
        raise UsageError(f"BUCKET={cluster.bucket} is in {region}, the cluster would be in {cluster.region}; "
                         f"give REGION={region}")  # fmt: skip
    if order.existing:
        return replace(order, cluster=_existing(order))
    if not order.in_lab and free_plan.is_free():
        raise UsageError(aws.FREE_PLAN)
    if cluster.subnets or order.in_lab:
        return order
    try:
        subnets = network.ready(cluster.region, cluster.instance_type)
    except aws.EmrError as error:
        raise UsageError(str(error)) from error
    return replace(order, cluster=replace(cluster, subnets=subnets))


def there(order: Order) -> dict[str, int]:
    """Name and size of the objects in the folder's place in the bucket; of photographs in S3, theirs.

    Raises:
        ClientError, BotoCoreError: the bucket cannot be listed.
    """
    return _listed(order, _place(order))


def others(order: Order, there: Mapping[str, int]) -> dict[str, int]:
    """Those of the objects that are `there` which the folder has not got.

    They are the user's, so they stay, and take part in the run. In the lab, whose place is the folder's mirror, and of
    photographs that are in S3 already there are none.
    """
    source = order.settings.input
    if order.in_lab or source.startswith("s3://"):
        return {}
    left = dict[str, str]()
    here = {file.name for file in storage.files(Path(source), left)} | left.keys()
    # What is hidden is no photograph, and what is empty marks a folder.
    return {
        name: size
        for name, size in there.items()
        if size and name not in here and not name.rpartition("/")[2].startswith(".")
    }


def remark(order: Order, besides: Mapping[str, int]) -> str:
    """What a user must know of the `others`, and can do about them."""
    source, place = order.settings.input, _place(order)
    remove = shlex.join(["aws", "s3", "sync", "--delete", source, place])
    return (
        f"{place} holds {len(besides):,} objects that {source} has not got, like {min(besides)}; "
        f"they stay and take part in the run. If they should not: {remove}"
    )


def amount(order: Order, there: Mapping[str, int]) -> Amount:
    """What is to be extracted: the folder's photographs and the `others` of those `there`, or all that are there.

    Raises:
        UsageError: there is nothing.
    """
    source = order.settings.input
    if source.startswith("s3://"):
        if not there:
            raise UsageError(f"--input {source} holds nothing; bring photographs there, or give a folder")
        return Amount(images=len(there), size_bytes=sum(there.values()), uploads=0)
    sizes = {file.name: file.size for file in storage.files(Path(source))}
    besides = others(order, there)
    missing = [size for name, size in sizes.items() if there.get(name) != size]
    return Amount(
        images=len(sizes) + len(besides),
        size_bytes=sum(sizes.values()) + sum(besides.values()),
        uploads=len(missing),
        upload_bytes=sum(missing),
    )


def estimate(order: Order, found: Amount) -> cost.Estimate:
    """What the run takes and costs.

    Raises:
        CostError: the region or the instance type has no prices.
    """
    measured = cost.rate(order.model, order.image_size, runs=OUT.glob("*/run.json"))
    return cost.estimate(
        order.cluster,
        measured,
        images=found.images,
        size_bytes=found.size_bytes,
        uploads=found.uploads,
        upload_bytes=found.upload_bytes,
        running=bool(order.existing),
    )


def owner(order: Order) -> str:
    """Whose places in the bucket are meant: the lab's bucket is this machine's own, others may use AWS's too."""
    return "" if order.in_lab else transfer.mark(CACHE)


def _place(order: Order) -> str:
    return transfer.in_bucket(order.settings, f"s3://{order.cluster.bucket}", owner=owner(order)).input


def _listed(order: Order, uri: str) -> dict[str, int]:
    """Sizes in bytes of the objects below `uri`, by their names there."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = aws.client("s3", order.cluster.region)
    found = aws.pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{prefix}/")
    return {each["Key"].removeprefix(f"{prefix}/"): int(each["Size"]) for each in found}


def _existing(order: Order) -> Cluster:
    """What the cluster that a user names is, out of its tags."""
    name = order.existing
    found = aws.client("emr", order.cluster.region).describe_cluster(ClusterId=name)["Cluster"]
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", ())}
    state = found["Status"]["State"]
    if state in follow.ENDED or state == "TERMINATING":
        raise UsageError(f"CLUSTER={name} is {state.lower()}; leave CLUSTER out to start one")
    nodes = re.fullmatch(r"([0-9]+) x (\S+)", tags.get(request.NODES_TAG, ""))
    if aws.TAG not in found.get("Tags", ()) or not nodes:
        raise UsageError(
            f"CLUSTER={name} was not started by emrlab: its nodes lack the job's packages; "
            "start one that stays with --keep, and use that"
        )
    return replace(order.cluster, workers=int(nodes[1]), instance_type=nodes[2], release=found["ReleaseLabel"])
