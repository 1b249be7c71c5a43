"""How much a run has to do: the photographs of a folder here, or of a place in the bucket, and what must be sent."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from base.errors import UsageError
from launch import storage, transfer
from launch.emr import aws, run_spec, s3_requests
from launch.emr.run_spec import RunSpec
from launch.emr.s3_requests import Requests
from launch.job import ImageWork, is_remote
from pipeline import shards
from pipeline.names import unescape

# What stands in a plan for photographs in a bucket, which it may not list.
PLANNED_IMAGES = 10_000


# A shard without an index says only to who reads all of it how many images it holds; so large is each taken to be.
IMAGE_B = 20_000
END_B = 2**14  # of a shard: its index's last line, with the zeros behind it


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a run has to read.

    Attributes:
        images: photographs.
        size_bytes: of all of them.
        requests: of S3, to send those that must be sent, and to read all.
        in_shards: what these would be, were the folder's photographs in shards; None where they are, or lie in S3.
        upload_bytes: of those that must be sent.
    """

    images: int
    size_bytes: int
    requests: Requests
    in_shards: Requests | None = None
    upload_bytes: int = 0


def find(spec: RunSpec) -> Workload:
    """What a run has to read, with what lies in the bucket already; warns of what there is in it besides.

    Raises:
        UsageError: an input has nothing.
        ClientError, BotoCoreError: the bucket cannot be listed.
    """
    stored = stored_objects(spec)
    for name, objects in stored.items():
        if extra := extra_objects(spec, name, objects):
            sys.stderr.write(f"warning: {extra_objects_warning(spec, name, extra)}\n")
    return of(spec, stored)


def stored_objects(spec: RunSpec) -> dict[str, dict[str, int]]:
    """By each input, name and size in bytes of the objects at its place in the bucket.

    Raises:
        ClientError, BotoCoreError: the bucket cannot be listed.
    """
    return {name: _stored(spec, uri) for name, uri in _uris(spec).items() if name in spec.job.inputs}


def extra_objects(spec: RunSpec, name: str, stored: Mapping[str, int]) -> dict[str, int]:
    """Those of the `stored` objects which the folder of the input `name` has not got.

    They are the user's, so they stay, and take part in the run. In the lab, whose place is the folder's mirror, and of
    what is in S3 already there are none.
    """
    source = spec.job.inputs[name]
    if spec.in_emr_lab or is_remote(source):
        return {}
    unreadable = dict[str, str]()
    here = {file.name for file in storage.files(Path(source), unreadable)} | unreadable.keys()
    # What is hidden is no photograph, and what is empty marks a folder.
    return {
        name: size
        for name, size in stored.items()
        if size and name not in here and not name.rpartition("/")[2].startswith(".")
    }


def extra_objects_warning(spec: RunSpec, name: str, extra: Mapping[str, int]) -> str:
    """What a user must know of the `extra_objects`, and can do about them."""
    source, uri = spec.job.inputs[name], _uris(spec)[name]
    remove = shlex.join(["aws", "s3", "sync", "--delete", source, uri])
    return (
        f"{uri} holds {len(extra):,} objects that {source} has not got, like {min(extra)}; "
        f"they stay and take part in the run. If they should not: {remove}"
    )


def of(spec: RunSpec, stored: Mapping[str, Mapping[str, int]]) -> Workload:
    """What a run has to read, where its inputs have these `stored` objects in the bucket already.

    Raises:
        UsageError: an input has nothing.
    """
    if spec.job.work is not None:
        return measure(spec, stored.get(spec.job.work.input, {}))
    here, missing = dict[str, int](), dict[str, int]()
    for name, source in spec.job.inputs.items():
        if is_remote(source):
            if name in stored and not stored[name]:
                raise UsageError(f"{spec.job.words('inputs', name)} {source} holds nothing; correct the place")
            here |= {f"{name}/{file}": size for file, size in stored.get(name, {}).items()}
            continue
        for file in storage.files(Path(source), hidden_folders=False):
            here[f"{name}/{file.name}"] = file.size
            if stored.get(name, {}).get(file.name) != file.size:
                missing[f"{name}/{file.name}"] = file.size
    return Workload(
        images=0,
        size_bytes=sum(here.values()),
        requests=Requests(puts=sum(map(s3_requests.puts, missing.values())), gets=len(here)),
        upload_bytes=sum(missing.values()),
    )


def measure(spec: RunSpec, stored: Mapping[str, int]) -> Workload:
    """What is to be extracted: the folder's photographs and the extra objects of those `stored`, or all that are.

    Raises:
        UsageError: there is nothing.
    """
    source = _source(spec)
    if source.startswith("s3://"):
        if not stored:
            raise UsageError(f"--input {source} holds nothing; bring photographs there, or give a folder")
        return _of(stored, ends=_stored_ends(spec, stored), missing={})
    sizes = {file.name: file.size for file in storage.files(Path(source))}
    extra = extra_objects(spec, _work(spec).input, stored)
    missing = {name: size for name, size in sizes.items() if stored.get(name) != size}
    ends = {name: _end(Path(source, unescape(name))) for name in sizes if name.lower().endswith(shards.SUFFIX)}
    workload = _of(sizes | extra, ends=ends | _stored_ends(spec, extra), missing=missing)
    if ends:
        return workload
    return replace(workload, in_shards=s3_requests.in_shards(workload.images, workload.size_bytes))


def _of(sizes: Mapping[str, int], *, ends: Mapping[str, bytes], missing: Mapping[str, int]) -> Workload:
    """The workload of files and objects of these `sizes`, by name, with the `ends` of those that are shards."""
    images = gets = len(sizes) - len(ends)
    for name, end in ends.items():
        count = shards.count(end)
        images += max(1, sizes[name] // IMAGE_B) if count is None else count
        gets += s3_requests.shard_gets(sizes[name], is_indexed=count is not None)
    puts = sum(map(s3_requests.puts, missing.values()))
    return Workload(
        images=images,
        size_bytes=sum(sizes.values()),
        requests=Requests(puts=puts, gets=gets),
        upload_bytes=sum(missing.values()),
    )


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_B))
        return file.read()


def _stored_ends(spec: RunSpec, stored: Mapping[str, int]) -> dict[str, bytes]:
    """The ends of the shards among the `stored` objects, by a request each."""
    names = [name for name, size in stored.items() if size and name.lower().endswith(shards.SUFFIX)]
    if not names:  # a plan makes no client: it needs no account, and no profile
        return {}
    bucket, _, prefix = _input_uri(spec).removeprefix("s3://").partition("/")
    s3 = aws.client("s3", spec.cluster.region)

    def end(name: str) -> bytes:
        content = s3.get_object(Bucket=bucket, Key=f"{prefix}/{name}", Range=f"bytes=-{END_B}")["Body"].read()
        return bytes(content)

    with ThreadPoolExecutor(storage.THREADS) as pool:
        return dict(zip(names, pool.map(end, names), strict=True))


def planned(spec: RunSpec) -> Workload:
    """What is to be read as far as it can be known without a call: of photographs in S3 an assumed number."""
    if spec.job.work is not None and is_remote(_source(spec)):
        return Workload(images=PLANNED_IMAGES, size_bytes=0, requests=Requests(puts=0, gets=PLANNED_IMAGES))
    return of(spec, {})


def _work(spec: RunSpec) -> ImageWork:
    work = spec.job.work
    assert work is not None  # noqa: S101 - only image jobs come here
    return work


def _source(spec: RunSpec) -> str:
    """Where the photographs are, as it was declared."""
    return spec.job.inputs[_work(spec).input]


def _input_uri(spec: RunSpec) -> str:
    return _uris(spec)[_work(spec).input]


def _uris(spec: RunSpec) -> dict[str, str]:
    return transfer.places(spec.job, spec.cluster.bucket, owner=run_spec.owner(spec))


def _stored(spec: RunSpec, uri: str) -> dict[str, int]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = aws.client("s3", spec.cluster.region)
    objects = aws.pages(s3, "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{prefix}/")
    return {each["Key"].removeprefix(f"{prefix}/"): int(each["Size"]) for each in objects}
