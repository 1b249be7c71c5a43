"""How much a run has to do: the photographs of a folder here, or of a place in the bucket, and what must be sent."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from base.errors import UsageError
from launch import storage, transfer
from launch.emr import aws, run_spec
from launch.emr.run_spec import RunSpec

# What stands in a plan for photographs in a bucket, which it may not list.
PLANNED_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Photographs and their bytes, and those of them that must be sent."""

    images: int
    size_bytes: int
    uploads: int
    upload_bytes: int = 0


def stored_objects(spec: RunSpec) -> dict[str, int]:
    """Name and size in bytes of the objects at the input's place in the bucket.

    Raises:
        ClientError, BotoCoreError: the bucket cannot be listed.
    """
    bucket, _, prefix = _input_uri(spec).removeprefix("s3://").partition("/")
    s3 = aws.client("s3", spec.cluster.region)
    objects = aws.pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{prefix}/")
    return {each["Key"].removeprefix(f"{prefix}/"): int(each["Size"]) for each in objects}


def extra_objects(spec: RunSpec, stored: Mapping[str, int]) -> dict[str, int]:
    """Those of the `stored` objects which the folder has not got.

    They are the user's, so they stay, and take part in the run. In the lab, whose place is the folder's mirror, and of
    photographs that are in S3 already there are none.
    """
    source = spec.job.settings.input
    if spec.in_emr_lab or source.startswith("s3://"):
        return {}
    unreadable = dict[str, str]()
    here = {file.name for file in storage.files(Path(source), unreadable)} | unreadable.keys()
    # What is hidden is no photograph, and what is empty marks a folder.
    return {
        name: size
        for name, size in stored.items()
        if size and name not in here and not name.rpartition("/")[2].startswith(".")
    }


def extra_objects_warning(spec: RunSpec, extra: Mapping[str, int]) -> str:
    """What a user must know of the `extra_objects`, and can do about them."""
    source, uri = spec.job.settings.input, _input_uri(spec)
    remove = shlex.join(["aws", "s3", "sync", "--delete", source, uri])
    return (
        f"{uri} holds {len(extra):,} objects that {source} has not got, like {min(extra)}; "
        f"they stay and take part in the run. If they should not: {remove}"
    )


def measure(spec: RunSpec, stored: Mapping[str, int]) -> Workload:
    """What is to be extracted: the folder's photographs and the extra objects of those `stored`, or all that are.

    Raises:
        UsageError: there is nothing.
    """
    source = spec.job.settings.input
    if source.startswith("s3://"):
        if not stored:
            raise UsageError(f"--input {source} holds nothing; bring photographs there, or give a folder")
        return Workload(images=len(stored), size_bytes=sum(stored.values()), uploads=0)
    sizes = {file.name: file.size for file in storage.files(Path(source))}
    extra = extra_objects(spec, stored)
    missing = [size for name, size in sizes.items() if stored.get(name) != size]
    return Workload(
        images=len(sizes) + len(extra),
        size_bytes=sum(sizes.values()) + sum(extra.values()),
        uploads=len(missing),
        upload_bytes=sum(missing),
    )


def planned(spec: RunSpec) -> Workload:
    """What is to be extracted as far as it can be known without a call: of photographs in S3 an assumed number."""
    if spec.job.settings.input.startswith("s3://"):
        return Workload(images=PLANNED_IMAGES, size_bytes=0, uploads=0)
    return measure(spec, {})


def _input_uri(spec: RunSpec) -> str:
    return transfer.in_bucket(spec.job.settings, spec.cluster.bucket, owner=run_spec.owner(spec)).input
