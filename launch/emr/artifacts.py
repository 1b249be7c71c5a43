"""What a run needs in its bucket: the job, and the packages of the nodes; built here, and brought there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from base import sizing
from base.paths import CACHE
from launch import needs, package, storage, transfer
from launch.dependencies import lock, maven, wheels
from launch.dependencies.lock import Platform
from launch.dependencies.wheels import Wheelhouse
from launch.emr import aws, bootstrap, run_spec
from launch.emr.request import NodeArtifacts
from launch.emr.run_spec import ClusterSpec, RunSpec
from launch.job import Job
from launch.needs import Packages
from launch.package import Package
from launch.s3_access import Access
from launch.transfer import UNKNOWN_SHA256, JobArtifacts


@dataclass(frozen=True, kw_only=True)
class Built:
    """The files of a run, on this machine."""

    made: Mapping[str, Path]
    package: Package
    wheelhouse: Wheelhouse


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """The same in the bucket: what spark-submit is given, and what the nodes install first."""

    job: JobArtifacts
    nodes: NodeArtifacts


def build(spec: RunSpec) -> Built:
    """Build model, package and wheelhouse, where the cache has not got them.

    Raises:
        ModelError, RequirementsError, FetchError: one of them cannot be had.
        OSError: the cache cannot be written.
    """
    return Built(
        made={name: each.make() for name, each in spec.job.made.items()},
        package=package.build(spec.job.entry, spec.job.modules, cache=CACHE),
        wheelhouse=packages(spec).wheelhouse(),
    )


def send(spec: RunSpec, built: Built, access: Access) -> Artifacts:
    """Bring everything to its place in the bucket, where it is not there yet; the photographs, too.

    Raises:
        StorageError: something cannot be sent.
    """
    job = send_job(spec, spec.job, built.package, built.made, access=access)
    nodes = send_packages(spec.cluster.bucket, built.wheelhouse, access, imports=_imports(spec))
    return Artifacts(job=job, nodes=nodes)


def send_job(spec: ClusterSpec, job: Job, built: Package, made: Mapping[str, Path], *, access: Access) -> JobArtifacts:
    """Bring a job and what it reads to their places in the bucket; only the lab's becomes the folders' mirror.

    Raises:
        StorageError: something cannot be sent.
    """
    return transfer.send(
        job,
        built,
        made,
        bucket=spec.cluster.bucket,
        access=access,
        owner=run_spec.owner(spec),
        prune=spec.in_emr_lab,
    )


def send_packages(bucket: str, wheelhouse: Wheelhouse, access: Access, *, imports: tuple[str, ...]) -> NodeArtifacts:
    """Bring wheelhouse and bootstrap script to their places in the bucket, where they are not there yet.

    Args:
        bucket: name.
        wheelhouse: the packages.
        access: to S3.
        imports: modules that the nodes try at the end.

    Raises:
        StorageError: one cannot be sent.
    """
    nodes = _node_artifacts(bucket, wheelhouse.sha256, imports=imports)
    storage.put(wheelhouse.path, nodes.wheelhouse, access)
    storage.put(bootstrap.SCRIPT, nodes.bootstrap, access)
    return nodes


def planned(spec: RunSpec) -> Artifacts:
    """Where `send` would bring everything, with a word in capitals for the digest of what is not built yet."""
    job, bucket = spec.job, spec.cluster.bucket
    built = package.build(job.entry, job.modules, cache=CACHE)
    found = None if job.requirements else wheels.find(wheels.JOB_LOCK.read_text(), _nodes(spec), cache=CACHE)
    sent = transfer.locate(job, built, bucket=bucket, owner=run_spec.owner(spec))
    found_by_run = (f"s3://{bucket}/artifacts/jars/{UNKNOWN_SHA256}/{maven.jar_name(each)}" for each in job.packages)
    return Artifacts(
        job=replace(sent, jars=(*sent.jars, *found_by_run)),
        nodes=_node_artifacts(bucket, found.sha256 if found else UNKNOWN_SHA256, imports=_imports(spec)),
    )


def access(spec: ClusterSpec) -> Access:
    """To the S3 of the cluster's bucket, by the key that boto3 has."""
    return Access(key=aws.key, region=spec.cluster.region, address=aws.endpoint("s3"))


def packages(spec: RunSpec) -> Packages:
    """The Python packages that the nodes install: what the job asks for, else the image pipeline's.

    Raises:
        RequirementsError, FetchError: as `needs.packages`.
    """
    usual = Packages(text=wheels.JOB_LOCK.read_text(), index_options="", target=_nodes(spec))
    return needs.packages(spec.job, _nodes(spec)) or usual


def _imports(spec: RunSpec) -> tuple[str, ...]:
    """What the nodes try to import: of packages that a job asks for, it says itself whether they do."""
    return () if spec.job.requirements else bootstrap.imported_on_nodes()


def _node_artifacts(bucket: str, wheelhouse_sha256: str, *, imports: tuple[str, ...]) -> NodeArtifacts:
    """Where wheelhouse and bootstrap script lie in the bucket, under names that stand for their content."""
    script = hashlib.sha256(bootstrap.SCRIPT.read_bytes()).hexdigest()
    return NodeArtifacts(
        wheelhouse=f"s3://{bucket}/artifacts/wheelhouse/wheelhouse-{wheelhouse_sha256[:12]}.tar",
        wheelhouse_sha256=wheelhouse_sha256,
        bootstrap=f"s3://{bucket}/artifacts/bootstrap/bootstrap-{script[:12]}.sh",
        imports=imports,
    )


def _nodes(spec: RunSpec) -> Platform:
    machine = lock.machine_here() if spec.in_emr_lab else sizing.architecture(spec.cluster.instance_type)
    return needs.of_nodes(spec.release, machine)
